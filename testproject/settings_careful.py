"""The shop of a team that uses Django alone, with care: who migrates gives up a lock after two seconds."""

import sys

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASE

INSTALLED_APPS = ["testproject.shop"]
if "migrate" in sys.argv:
    DATABASE["OPTIONS"]["options"] = "-c lock_timeout=2s"
DATABASES = {"default": DATABASE | {"CONN_MAX_AGE": None}}
