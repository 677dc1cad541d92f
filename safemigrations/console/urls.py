"""URLs for the project's own: path("ready/", include("safemigrations.console.urls"))."""

from __future__ import annotations

from django.urls import path

from .views import ready

app_name = "safemigrations"
urlpatterns = [path("", ready, name="ready")]
