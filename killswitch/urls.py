"""Every address of the system."""

from django.urls import include, path

from killswitch.compliance.evidence_views import evidence

urlpatterns = [
    path("", include("killswitch.console.urls")),
    path("", include("killswitch.cancels.urls")),
    path("batches/<uuid:uuid>/evidence/", evidence, name="evidence"),
    path("", include("killswitch.holds.urls")),
    path("", include("killswitch.break_glass.urls")),
    path("audit/", include("killswitch.compliance.urls")),
    path("", include("killswitch.readiness.urls")),
    path("accounts/", include("killswitch.accounts.urls")),
    path("", include("killswitch.administration.urls")),
]

handler400 = "killswitch.console.error_views.bad_request"
handler403 = "killswitch.console.error_views.forbidden"
handler404 = "killswitch.console.error_views.not_found"
handler500 = "killswitch.console.error_views.failed"
