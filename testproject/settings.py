"""The shop of a team that uses safemigrations."""

import os

from testproject.postgres import settings_for

INSTALLED_APPS = ["safemigrations", "testproject.shop"]
# The demo says in the environment which database each of its processes uses.
DATABASE = settings_for(os.environ.get("SHOP_CONNINFO", ""), os.environ.get("SHOP_DATABASE", "shop"))
DATABASE["OPTIONS"]["application_name"] = "shop"
DATABASES = {"default": DATABASE | {"CONN_MAX_AGE": None}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
SAFEMIGRATIONS = {"GATE_WATCH": 1}  # seconds: what the demo plays in seconds takes a team minutes
