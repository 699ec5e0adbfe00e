"""The kill: its confirmation and the pages of its outcome."""

from django.urls import path

from killswitch.cancels import list_views, request_views, views

urlpatterns = [
    path("exchanges/<int:pk>/cancel-all/", views.cancel_one, name="cancel_one"),
    path("cancel-all/", views.cancel_everywhere, name="cancel_all"),
    path("batches/<uuid:uuid>/", views.show_batch, name="batch"),
    path("batches/<uuid:uuid>/reason/", request_views.complete_reason, name="reason"),
    path("requests/", list_views.list_requests, name="requests"),
    path("requests/export.csv", list_views.export_requests, name="requests_csv"),
    path("requests/<uuid:uuid>/", views.show_request, name="request"),
    path("requests/<uuid:uuid>/orders.csv", request_views.download_orders, name="orders_csv"),
]
