"""The only three pages of allauth that exist here; everything else of it is not found."""

from django.urls import path

from killswitch.accounts import views

urlpatterns = [
    path("login/", views.sign_in, name="account_login"),
    path("logout/", views.sign_out, name="account_logout"),
    path("password/change/", views.change_password, name="account_change_password"),
]
