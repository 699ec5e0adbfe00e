"""The addresses of the exports, before those of everything else."""

from django.urls import include, path

from killswitch.audit import export_views
from killswitch.console import errors

urlpatterns = [
    path("audit/export.csv", export_views.export_csv, name="export_csv"),
    path("audit/export.jsonl", export_views.export_jsonl, name="export_jsonl"),
    path("", include("killswitch.urls")),
]

handler400, handler403 = errors.bad_request, errors.forbidden
handler404, handler500 = errors.not_found, errors.failed
