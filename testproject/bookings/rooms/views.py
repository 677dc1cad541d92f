from rest_framework import viewsets

from rooms.models import Booking, Room
from rooms.serializers import BookingSerializer, RoomSerializer


class Rooms(viewsets.ModelViewSet):
    queryset = Room.objects.order_by("name")
    serializer_class = RoomSerializer


class Bookings(viewsets.ModelViewSet):
    queryset = Booking.objects.select_related("room").order_by("pk")
    serializer_class = BookingSerializer
