"""Pages of Django's admin, one a module: they show what there is, and let people steer it by POST."""
