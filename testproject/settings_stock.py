"""The same shop with Django alone."""

from testproject.settings import *  # noqa: F403

INSTALLED_APPS = ["testproject.shop"]
