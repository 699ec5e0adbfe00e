"""Mounted at `/alarms/`."""

from django.urls import path

from killswitch.console import alarm_views

app_name = "alarms"
urlpatterns = [
    path("<int:alarm_id>/acknowledge/", alarm_views.acknowledge, name="acknowledge"),
]
