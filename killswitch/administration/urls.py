"""The addresses of administrators."""

from django.urls import URLPattern, URLResolver, include, path

from killswitch.administration import exchange_views, group_views, people_views, runbook_views

exchanges = [
    path("", exchange_views.exchanges, name="administration_exchanges"),
    path("add/", exchange_views.add, name="add_exchange"),
    path("<int:pk>/", exchange_views.change, name="change_exchange"),
    path("<int:pk>/disable/", exchange_views.disable, name="disable_exchange"),
    path("<int:pk>/enable/", exchange_views.enable, name="enable_exchange"),
]
groups = [
    path("", group_views.groups, name="administration_groups"),
    path("add/", group_views.add, name="add_group"),
    path("<int:pk>/", group_views.change, name="change_group"),
    path("<int:pk>/remove/", group_views.remove, name="remove_group"),
]
people = [
    path("", people_views.people, name="administration_people"),
    path("add/", people_views.add, name="add_person"),
    path("<int:pk>/", people_views.change, name="change_person"),
    path("<int:pk>/role/", people_views.role, name="change_role"),
    path("<int:pk>/password/", people_views.password, name="set_password"),
    path("<int:pk>/second-factor/", people_views.second_factor, name="reset_second_factor"),
    path("<int:pk>/disable/", people_views.disable, name="disable_person"),
    path("<int:pk>/enable/", people_views.enable, name="enable_person"),
]
administration: list[URLPattern | URLResolver] = [
    path("", exchange_views.start, name="administration"),
    path("exchanges/", include(exchanges)),
    path("groups/", include(groups)),
    path("people/", include(people)),
    path("runbook/", runbook_views.runbook, name="administration_runbook"),
]

urlpatterns = [
    path("administration/", include(administration)),
    # Bookmarks of the pages that were here before.
    path("admin/", exchange_views.start),
    path("admin/<path:old_page>", exchange_views.start),
]
