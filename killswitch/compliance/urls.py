"""Addresses of the audit log, as pages and as files."""

from django.urls import path

from killswitch.compliance import export_views, views

urlpatterns = [
    path("", views.log, name="audit"),
    path("events/<int:seq>/", views.event, name="audit_event"),
    path("outcomes/", views.outcomes_by_day, name="audit_outcomes"),
    path("review/", views.reviews, name="audit_review"),
    path("sign-offs/", views.sign_offs, name="audit_sign_offs"),
    path("sign-offs/<int:seq>/", views.sign_off, name="audit_sign_off"),
    path("export.csv", export_views.export_csv, name="export_csv"),
    path("export.jsonl", export_views.export_jsonl, name="export_jsonl"),
]
