"""The addresses of break glass."""

from django.urls import path

from killswitch.break_glass import views

urlpatterns = [
    path("break-glass/", views.break_glass, name="break_glass"),
    path("break-glass/<uuid:uuid>/", views.show_press, name="break_glass_press"),
]
