from django.urls import include, path
from rest_framework.routers import DefaultRouter
from rooms.views import Bookings, Rooms

router = DefaultRouter()
router.register("rooms", Rooms)
router.register("bookings", Bookings)

urlpatterns = [
    path("ready/", include("safemigrations.console.urls")),  # for the probe of a rollout
    path("api/", include(router.urls)),
]
