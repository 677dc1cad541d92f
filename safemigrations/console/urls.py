"""URLs for the project's own: path("ready/", include("safemigrations.console.urls"))."""

from __future__ import annotations

from django.urls import path

from .views import metrics, ready

app_name = "safemigrations"
urlpatterns = [path("", ready, name="ready"), path("metrics/", metrics, name="metrics")]
