import pgtrigger
from django.db import models


class Room(models.Model):
    name = models.CharField(max_length=50, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)


class Booking(models.Model):
    room = models.ForeignKey(Room, models.PROTECT, related_name="bookings")
    guest = models.CharField(max_length=100)
    nights = models.PositiveIntegerField()
    status = models.CharField(max_length=10, default="asked")

    class Meta:
        triggers = [
            pgtrigger.FSM(
                name="status",
                field="status",
                transitions=[("asked", "agreed"), ("asked", "refused"), ("agreed", "over")],
            ),
        ]
