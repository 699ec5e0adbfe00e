"""The console, the pages of exchanges, the poller, and the alarms."""

from django.urls import include, path

from killswitch.console import alarm_views, display, help_pages, views

alarms = [
    path("", alarm_views.list_alarms, name="list"),
    path("acknowledge/", alarm_views.acknowledge_selected, name="acknowledge_selected"),
    path("<int:alarm_id>/acknowledge/", alarm_views.acknowledge, name="acknowledge"),
]

urlpatterns = [
    path("", views.home, name="console"),
    path("exchanges/<int:pk>/", views.exchange, name="exchange"),
    path("poll/", views.poll, name="poll"),
    path("display/", display.change, name="display"),
    path("help/", help_pages.reference, name="help"),
    path("help/first-day/", help_pages.first_day, name="first_day"),
    path("alarms/", include((alarms, "alarms"))),
]
