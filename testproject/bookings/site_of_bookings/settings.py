import os

from psycopg.conninfo import conninfo_to_dict

SECRET_KEY = os.environ.get("SECRET_KEY", "only for this example")
DEBUG = "DEBUG" in os.environ
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "site_of_bookings.urls"

INSTALLED_APPS = [
    "safemigrations",  # first: its makemigrations calls that of django-linear-migrations
    "django_linear_migrations",
    "pgtrigger",
    "rest_framework",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rooms",
]

_address = conninfo_to_dict(os.environ.get("DATABASE_URL", "postgresql:///bookings"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _address.get("dbname", "bookings"),
        "USER": _address.get("user", ""),
        "PASSWORD": _address.get("password", ""),
        "HOST": _address.get("host", ""),
        "PORT": _address.get("port", ""),
    }
}

REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [], "UNAUTHENTICATED_USER": None}
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "memory://")
SAFEMIGRATIONS = {
    "RELEASE": os.environ.get("GIT_SHA", ""),  # what messages call this release
}
