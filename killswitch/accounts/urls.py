"""The pages of allauth that exist here; all its other pages are not found.

allauth uses these names to lead from one page to another.
"""

from django.urls import include, path

from killswitch.accounts import views
from killswitch.accounts.mfa import views as mfa

second_factor = [
    path("", mfa.overview, name="mfa_index"),
    path("code/", mfa.enter_code, name="mfa_authenticate"),
    path("set-up/", mfa.set_up, name="mfa_activate_totp"),
    path("turn-off/", mfa.turn_off, name="mfa_deactivate_totp"),
    path("recovery-codes/", mfa.recovery_codes, name="mfa_view_recovery_codes"),
    path("recovery-codes/file/", mfa.recovery_codes_file, name="mfa_download_recovery_codes"),
    path("recovery-codes/renew/", mfa.renew_recovery_codes, name="mfa_generate_recovery_codes"),
]

urlpatterns = [
    path("login/", views.sign_in, name="account_login"),
    path("logout/", views.sign_out, name="account_logout"),
    path("password/change/", views.change_password, name="account_change_password"),
    path("password/again/", views.confirm_password, name="account_reauthenticate"),
    path("second-factor/", include(second_factor)),
]
