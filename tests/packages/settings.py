"""The settings of a project that has one of the packages, which the environment names."""

from __future__ import annotations

import os
from importlib import import_module

from testproject.postgres import settings_for

from .apps import PACKAGES

PACKAGE = os.environ["PACKAGE"]

if PACKAGE == "oscar":
    globals().update({name: value for name, value in vars(import_module("oscar.defaults")).items() if name.isupper()})

SECRET_KEY = "packages"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.packages.urls"
SITE_ID = 1
STATIC_URL, MEDIA_URL = "/static/", "/media/"
LANGUAGE_CODE, LANGUAGES = "en", [("en", "English")]
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
WAGTAIL_SITE_NAME, WAGTAILADMIN_BASE_URL = "packages", "http://localhost"
CMS_CONFIRM_VERSION4 = True
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    *(["allauth.account.middleware.AccountMiddleware"] if PACKAGE == "allauth" else []),
]
PROCESSORS = ("template.context_processors.request", "contrib.auth.context_processors.auth")
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [f"django.{name}" for name in PROCESSORS]},
    }
]
CONTRIB = (
    "contenttypes",
    "auth",
    "sessions",
    "messages",
    "sites",
    "admin",
    "staticfiles",
    "postgres",
    "humanize",
    "flatpages",
    "redirects",
)
INSTALLED_APPS = [
    *([] if os.environ["PACKAGE_APPS"] == "stock" else ["safemigrations"]),
    *(f"django.contrib.{name}" for name in CONTRIB),
    *PACKAGES[PACKAGE],
]
DATABASES = {"default": settings_for(os.environ["SAFEMIGRATIONS_TEST_DSN"], os.environ["PACKAGE_DATABASE"])}
