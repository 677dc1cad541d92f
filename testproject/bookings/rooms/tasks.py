from celery import shared_task

from rooms.models import Booking


@shared_task
def refuse_old() -> int:
    """Nobody has agreed to these."""
    return Booking.objects.filter(status="asked", nights=0).update(status="refused")
