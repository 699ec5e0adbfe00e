"""Addresses of the audit log, as pages and as files."""

from django.urls import path

from killswitch.audit.export.formats import ExportFormat
from killswitch.compliance import views
from killswitch.compliance.export_views import export_log
from killswitch.compliance.query_views import queries
from killswitch.compliance.review_views import reviews

urlpatterns = [
    path("", views.log, name="audit"),
    path("events/<int:seq>/", views.event, name="audit_event"),
    path("outcomes/", views.outcomes_by_day, name="audit_outcomes"),
    path("review/", reviews, name="audit_review"),
    path("queries/", queries, name="audit_queries"),
    path("sign-offs/", views.sign_offs, name="audit_sign_offs"),
    path("sign-offs/<int:seq>/", views.sign_off, name="audit_sign_off"),
    path("export.csv", export_log, {"layout": ExportFormat.CSV}, name="export_csv"),
    path(
        "export-readable.csv",
        export_log,
        {"layout": ExportFormat.READABLE_CSV},
        name="export_readable_csv",
    ),
    path("export.jsonl", export_log, {"layout": ExportFormat.JSONL}, name="export_jsonl"),
]
