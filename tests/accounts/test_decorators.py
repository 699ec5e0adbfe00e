"""Every role at every address, taken from the URL configuration itself."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from killswitch.accounts.models import Role, User
from killswitch.accounts.permissions import ROLES, Permission, has_permission
from killswitch.alarms.models import Alarm
from killswitch.audit.chain import NewEvent, head
from killswitch.audit.models import EventKind
from killswitch.cancels.confirmation import Target
from killswitch.cancels.services import PressContext, request_cancel
from killswitch.exchanges.models import Exchange, ExchangeGroup
from tests import factories
from tests.accounts.people import events
from tests.audit.log import record

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

# A new public page must be listed here as well.
PUBLIC_ROUTES = {
    "",  # leads administrators to their pages, and guards the console for the others
    "accounts/login/",
    "accounts/logout/",
    "accounts/second-factor/code/",
    "break-glass/",  # opened by the officer's cookie alone, without the database
    "break-glass/<uuid:uuid>/",
    "break-glass/sent/",
    "healthz",
    "readyz",
    "metrics",
}
# Who may open what, written down a second time: a view with the wrong permission is found here.
EVERY_ROLE = {
    "audit/queries/",
    "accounts/password/change/",
    "accounts/password/again/",
    "accounts/second-factor/",
    "accounts/second-factor/set-up/",
    "accounts/second-factor/turn-off/",
    "accounts/second-factor/recovery-codes/",
    "accounts/second-factor/recovery-codes/file/",
    "accounts/second-factor/recovery-codes/renew/",
    "display/",
    "help/",
    "help/first-day/",
    "telephone-cards/",
    "telephone-cards/<int:pk>/",
    "telephone-cards/copy/",
}
RISK_OFFICERS = {
    "alarms/<int:alarm_id>/acknowledge/",
    "alarms/acknowledge/",
    "batches/<uuid:uuid>/reason/",
    "cancel-all/",
    "exchanges/<int:pk>/cancel-all/",
    "exchanges/<int:pk>/hold/",
    "exchanges/<int:pk>/release/",
    "telephone-cards/<int:pk>/telephoned/",
}
COMPLIANCE = {
    "audit/",
    "audit/events/<int:seq>/",
    "audit/export-readable.csv",
    "audit/export.csv",
    "audit/export.jsonl",
    "audit/outcomes/",
    "audit/review/",
    "audit/sign-offs/",
    "audit/sign-offs/<int:seq>/",
}
# The rest is open to risk officers and compliance, or below these to administrators only.
ADMINISTRATORS = ("administration/", "admin/")
SAMPLES = {
    "int": "1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "path": "1",
    "str": "x",
    "slug": "x",
}


def _views(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    for entry in patterns:
        part = str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _views(entry.url_patterns, prefix + part)
        else:
            yield prefix + part, "/" + prefix + _sample(entry), entry.callback


def _sample(entry: URLPattern) -> str:
    route = str(entry.pattern)
    return re.sub(r"<(?:(\w+):)?\w+>", lambda match: SAMPLES[match[1] or "str"], route)


def _rows(person: User) -> dict[str, object]:
    """Create one row of each kind. A new address with a parameter needs its row here."""
    exchange = Exchange.objects.create(exchange_id="KRAKEN")
    officer = person if person.role == Role.RISK_OFFICER else factories.person(Role.RISK_OFFICER)
    target = Target(exchanges=[exchange])
    batch = request_cancel(
        target=target, key=target.key(user_id=officer.pk), press=PressContext(user=officer)
    ).batch
    alarm = Alarm.objects.create(kind="OUTCOME", subject="s", title="t", raised_at=batch.asked_at)
    group = ExchangeGroup.objects.create(name="Desk A")
    record(NewEvent(kind=EventKind.PERIOD_SIGNED_OFF))
    return {
        "exchanges/<int:pk>": exchange.pk,
        "telephone-cards/<int:pk>": exchange.pk,
        "batches/<uuid:uuid>": batch.uuid,
        "requests/<uuid:uuid>": batch.requests.get().uuid,
        "break-glass/<uuid:uuid>": batch.uuid,
        "alarms/<int:alarm_id>": alarm.pk,
        "audit/events/<int:seq>": head().seq,
        "audit/sign-offs/<int:seq>": head().seq,
        "administration/exchanges/<int:pk>": exchange.pk,
        "administration/groups/<int:pk>": group.pk,
        "administration/people/<int:pk>": person.pk,
        "admin/<path:old_page>": "accounts/user/",
    }


def _real(route: str, rows: dict[str, object]) -> str:
    [(start, row)] = [(start, row) for start, row in rows.items() if route.startswith(start)]
    return "/" + start.partition("<")[0] + str(row) + route.removeprefix(start)


VIEWS = list(_views(get_resolver().url_patterns))
GUARDED = [
    view
    for view in VIEWS
    if getattr(view[2], "permission", "") in set(Permission) - {Permission.PUBLIC}
]


def test_every_view_has_a_permission() -> None:
    unmarked = [route for route, _, view in VIEWS if not hasattr(view, "permission")]
    assert unmarked == []


def test_only_known_pages_are_public() -> None:
    routes = {route.rstrip("/") for route, _, view in VIEWS if view.permission == Permission.PUBLIC}
    assert routes <= {route.rstrip("/") for route in PUBLIC_ROUTES}
    assert "accounts/login" in routes


def test_each_address_is_open_to_its_roles_only() -> None:
    found = {route: ROLES[view.permission] for route, _, view in GUARDED}
    for route, roles in found.items():
        if route in EVERY_ROLE:
            expected = set(Role)
        elif route in RISK_OFFICERS:
            expected = {Role.RISK_OFFICER}
        elif route in COMPLIANCE:
            expected = {Role.COMPLIANCE}
        elif route.startswith(ADMINISTRATORS):
            expected = {Role.ADMINISTRATOR}
        else:
            expected = {Role.RISK_OFFICER, Role.COMPLIANCE}
        assert roles == expected, route
    assert found.keys() >= EVERY_ROLE | RISK_OFFICERS | COMPLIANCE


@pytest.mark.parametrize(
    ("route", "path", "role"),
    [
        pytest.param(route, path, role, id=f"{route} {role}")
        for route, path, view in GUARDED
        for role in Role
        if role in ROLES[view.permission]
    ],
)
def test_a_role_is_let_in_where_the_table_says_so(
    route: str, path: str, role: Role, settings: Any, tmp_path: Any
) -> None:
    """With real rows: a 404 for a placeholder would not show whether the role may enter."""
    settings.KILLSWITCH_HOME = tmp_path
    person = factories.person(role)
    client = Client(raise_request_exception=False)
    client.force_login(person)
    rows = _rows(person)
    path = _real(route, rows) if "/<" in route else path
    response = client.get(path)
    if response.status_code == 405:
        response = client.post(path, {"reason": "runaway algorithm"})
    assert response.status_code in {200, 302, 303, 422}  # 422: let in, with an incomplete form
    assert "/accounts/login/" not in response.headers.get("Location", "")
    assert response.status_code != 200 or "no-store" in response["Cache-Control"]
    assert events("DENIED") == []


@pytest.mark.parametrize("role", Role)
def test_a_role_is_refused_everywhere_else(role: Role) -> None:
    person = factories.person(role)
    client = Client(raise_request_exception=False)
    client.force_login(person)
    part = {"HX-Request": "true"}
    refused = [path for _, path, view in GUARDED if role not in ROLES[view.permission]]
    for path in refused:
        for answer in (client.get(path), client.post(path), client.delete(path)):
            assert answer.status_code == 403, path
        answer = client.get(path, headers=part)
        assert answer.status_code == 403, path
        assert answer["Content-Type"].startswith("text/plain"), path
    recorded = events("DENIED")  # the others at the same address are repetitions
    assert [json.loads(event.data)["path"] for event in recorded] == refused
    assert {(event.actor, event.role) for event in recorded} == {(person.full_text, role)}


def test_an_anonymous_request_is_led_to_sign_in_and_records_no_event() -> None:
    for _, path, _ in GUARDED:
        for answer in (Client().get(path), Client().post(path)):
            assert answer.status_code == 302, path
            assert answer["Location"].startswith("/accounts/login/"), path
        part = Client(headers={"HX-Request": "true"}).get(path)
        assert part.status_code == 401, path
        assert part["HX-Trigger"] == "session-expired", path
    assert events("DENIED") == []


def test_administrators_cannot_cancel_and_compliance_cannot_change() -> None:
    open_to_all = {Permission.PUBLIC, Permission.SIGNED_IN}
    administrator, compliance, officer = (
        {permission for permission in set(Permission) - open_to_all if role in ROLES[permission]}
        for role in (Role.ADMINISTRATOR, Role.COMPLIANCE, Role.RISK_OFFICER)
    )
    assert administrator == {Permission.ADMINISTER}
    assert not compliance & {Permission.CANCEL, Permission.ACKNOWLEDGE}
    assert not officer & {Permission.ADMINISTER, Permission.EXPORT}
    assert not officer & {Permission.AUDIT, Permission.REVIEW}
    assert set(ROLES) == set(Permission)


def test_a_person_who_is_switched_off_has_no_permission() -> None:
    person = User(username="x", role=Role.RISK_OFFICER, is_active=False)
    assert not any(has_permission(person, permission) for permission in Permission)
    assert not has_permission(None, Permission.CONSOLE)


def test_a_person_is_named_in_the_log_by_both_names() -> None:
    longest = User(username="u" * 60, full_name="f" * 120, role=Role.COMPLIANCE)
    assert longest.actor.name == f"{'f' * 120} ({'u' * 60})"
    assert len(longest.actor.name) <= 200
    assert longest.actor.role == "COMPLIANCE"
    assert User(username="olga", role=Role.RISK_OFFICER).actor.name == "olga"


def test_a_hundred_denials_are_three_events_that_say_how_many() -> None:
    client = Client()
    client.force_login(factories.person(Role.ADMINISTRATOR))
    for _ in range(100):
        assert client.get("/cancel-all/").status_code == 403
    assert [
        f'"count":{n}' in event.data
        for event, n in zip(events("DENIED"), (1, 10, 100), strict=True)
    ] == [True, True, True]


def test_a_denial_at_another_page_is_an_event_of_its_own() -> None:
    client = Client()
    client.force_login(factories.person(Role.ADMINISTRATOR))
    client.get("/exchanges/1/cancel-all/")
    client.get("/exchanges/2/cancel-all/")
    client.get("/cancel-all/")
    paths = [event.data for event in events("DENIED")]
    assert len(paths) == 2
    assert '"path":"/exchanges/1/cancel-all/"' in paths[0]
    assert '"path":"/cancel-all/"' in paths[1]
