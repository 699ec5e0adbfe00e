"""The pages of allauth that exist here; all its other pages are not found.

allauth uses these names to lead from one page to another.
"""

from django.urls import path

from killswitch.accounts import views
from killswitch.accounts.mfa import views as mfa_views

urlpatterns = [
    path("login/", views.sign_in, name="account_login"),
    path("logout/", views.sign_out, name="account_logout"),
    path("password/change/", views.change_password, name="account_change_password"),
    path("password/again/", views.confirm_password, name="account_reauthenticate"),
    path("second-factor/", mfa_views.overview, name="mfa_index"),
    path("second-factor/code/", mfa_views.enter_code, name="mfa_authenticate"),
    path("second-factor/set-up/", mfa_views.set_up, name="mfa_activate_totp"),
    path("second-factor/turn-off/", mfa_views.turn_off, name="mfa_deactivate_totp"),
    path(
        "second-factor/recovery-codes/",
        mfa_views.recovery_codes,
        name="mfa_view_recovery_codes",
    ),
    path(
        "second-factor/recovery-codes/file/",
        mfa_views.recovery_codes_file,
        name="mfa_download_recovery_codes",
    ),
    path(
        "second-factor/recovery-codes/renew/",
        mfa_views.renew_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
]
