"""What django-tenants' commands do with ours, one schema after the other. Imported only where it is installed."""
