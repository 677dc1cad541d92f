"""How a step gets the locks of its tables, so that no query waits long behind it."""
