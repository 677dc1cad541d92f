from site_of_bookings.celery import app

__all__ = ["app"]
