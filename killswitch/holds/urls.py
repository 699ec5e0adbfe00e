"""Holding an exchange, and releasing it."""

from django.urls import path

from killswitch.holds import views

urlpatterns = [
    path("exchanges/<int:pk>/hold/", views.hold, name="hold"),
    path("exchanges/<int:pk>/release/", views.release, name="release"),
]
