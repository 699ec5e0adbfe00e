"""Mounted at `/alarms/`."""

from django.urls import path

from killswitch.alarms import views

app_name = "alarms"
urlpatterns = [
    path("<int:alarm_id>/acknowledge/", views.acknowledge, name="acknowledge"),
]
