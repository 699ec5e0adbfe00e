"""The log as pages."""

from django.urls import path

from killswitch.audit import views

urlpatterns = [path("", views.log, name="audit")]
