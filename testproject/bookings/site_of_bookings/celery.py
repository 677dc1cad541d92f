import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_of_bookings.settings")

app = Celery("bookings")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()  # finds the task that works on backfills, too
