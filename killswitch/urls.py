"""Every address of the system."""

from django.contrib import admin
from django.urls import include, path

from killswitch.console import views

urlpatterns = [
    path("", views.home, name="console"),
    path("poll/", views.poll, name="poll"),
    path("", include("killswitch.cancels.urls")),
    path("alarms/", include("killswitch.alarms.urls")),
    path("audit/", include("killswitch.audit.urls")),
    path("", include("killswitch.readiness.urls")),
    path("accounts/", include("killswitch.accounts.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "killswitch.console.errors.bad_request"
handler403 = "killswitch.console.errors.forbidden"
handler404 = "killswitch.console.errors.not_found"
handler500 = "killswitch.console.errors.failed"
