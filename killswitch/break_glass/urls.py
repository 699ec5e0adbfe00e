"""The addresses of break glass."""

from django.urls import path

from killswitch.break_glass import views
from killswitch.break_glass.telephone import views as telephone_views

urlpatterns = [
    path("break-glass/", views.break_glass, name="break_glass"),
    path("break-glass/sent/", views.show_sent, name="break_glass_sent"),
    path("break-glass/<uuid:uuid>/", views.show_press, name="break_glass_press"),
    path("telephone-cards/", telephone_views.show_cards, name="telephone_cards"),
    path("telephone-cards/copy/", telephone_views.download_copy, name="telephone_copy"),
    path("telephone-cards/<int:pk>/", telephone_views.show_card, name="telephone_card"),
    path("telephone-cards/<int:pk>/telephoned/", telephone_views.telephoned, name="telephoned"),
]
