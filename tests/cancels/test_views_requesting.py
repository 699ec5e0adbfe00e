"""Requesting a cancel: what is recorded, what is answered, and what is refused."""

from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels import press_keys
from killswitch.cancels.models import Batch, CancelRequest
from tests import factories
from tests.console.press_helpers import EVERYWHERE, HTMX, key_in, path_of, press, question
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_a_request_is_recorded_with_person_reason_address_and_gesture(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN/JOHN", orders=14)
    reason = ["Runaway algorithm", "strategy 7"]
    answer = press(officer, path_of(exchange), reason=reason, gesture="dialog")
    batch = Batch.objects.get()
    assert answer.status_code == 202
    assert batch.reason == "Runaway algorithm: strategy 7"
    assert (batch.by_name, batch.gesture, batch.address) == (
        "Olga Ray (olga)",
        "dialog",
        "127.0.0.1",
    )
    assert (
        AuditEvent.objects.filter(kind=EventKind.REQUESTED, exchange_id="KRAKEN/JOHN").count() == 1
    )


def test_the_answer_shows_the_request_with_its_status_on_one_element(officer: Client) -> None:
    answer = press(officer, path_of(factories.exchange("KRAKEN")))
    uuid = CancelRequest.objects.get().uuid
    assert f'data-request-id="{uuid}" data-status="REQUESTED"' in html(answer)


def test_a_plain_browser_is_redirected_to_the_page_of_the_batch(officer: Client) -> None:
    answer = press(officer, path_of(factories.exchange("KRAKEN")), htmx=False)
    assert answer.status_code == 303
    assert answer["Location"] == f"/batches/{Batch.objects.get().uuid}/"
    assert "0 of 1 confirmed" in html(officer.get(answer["Location"]))


def test_cancel_all_requests_every_enabled_exchange(officer: Client) -> None:
    for name in ("KRAKEN", "GEMINI", "KRAKEN/JOHN"):
        factories.exchange(name)
    factories.exchange("OFF", enabled=False)
    assert press(officer, EVERYWHERE).status_code == 202
    exchange_ids = set(CancelRequest.objects.values_list("exchange_id", flat=True))
    assert exchange_ids == {"KRAKEN", "GEMINI", "KRAKEN/JOHN"}


def test_only_the_named_exchanges_are_requested(officer: Client) -> None:
    one, _, three = (factories.exchange(name) for name in ("A", "B", "C"))
    press(officer, f"{EVERYWHERE}?exchange={one.pk}&exchange={three.pk}")
    assert set(CancelRequest.objects.values_list("exchange_id", flat=True)) == {"A", "C"}


def test_the_same_key_is_the_same_request_and_offers_a_fresh_key(officer: Client) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    key = key_in(question(officer, path))
    press(officer, path, key=key)
    for htmx in (True, False):
        again = press(officer, path, key=key, htmx=htmx)
        assert again.status_code == 202
        assert "Already requested at" in html(again)
        assert key_in(html(again)) != key
    assert Batch.objects.count() == 1
    press(officer, path, key=key_in(html(again)))
    assert Batch.objects.count() == 2


def test_the_key_of_another_target_or_person_is_refused(officer: Client, olga: User) -> None:
    one, two = factories.exchange("KRAKEN"), factories.exchange("GEMINI")
    other_target = key_in(question(officer, path_of(two)))
    other_person = press_keys.make(user_id=olga.pk + 1, target=str(one.pk))
    for key in (other_target, other_person):
        for htmx in (True, False):
            answer = press(officer, path_of(one), key=key, htmx=htmx)
            assert answer.status_code == 409
            assert "No cancel was sent." in html(answer)
    assert Batch.objects.count() == 0


@pytest.mark.parametrize("key", ["", "forged", "a:b:c", "\x00", "é" * 20, "x" * 100_000])
def test_an_invalid_key_leads_back_to_the_filled_confirmation(officer: Client, key: str) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    answer = press(officer, path, key=key, reason=["Drill", "of the month"])
    page = html(answer)
    assert answer.status_code == 400
    assert "<option selected>Drill</option>" in page
    assert 'value="of the month"' in page
    assert Batch.objects.count() == 0
    assert press(officer, path, key=key_in(page)).status_code == 202


def test_a_disabled_exchange_is_not_recorded(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    key = key_in(question(officer, path_of(exchange)))
    exchange.enabled = False
    exchange.save()
    answer = press_with(officer, path_of(exchange), key)
    assert answer.status_code == 409
    assert "Disabled here: KRAKEN." in html(answer)
    assert Batch.objects.count() == 0


def test_a_recorded_request_is_recognised_after_its_exchange_was_disabled(
    officer: Client,
) -> None:
    exchange = factories.exchange("KRAKEN")
    key = key_in(question(officer, path_of(exchange)))
    assert press_with(officer, path_of(exchange), key).status_code == 202
    exchange.enabled = False
    exchange.save()
    again = press_with(officer, path_of(exchange), key)
    assert again.status_code == 202
    assert "Already requested at" in html(again)
    forged = press_with(officer, path_of(exchange), "forged")
    assert (forged.status_code, Batch.objects.count()) == (409, 1)


def test_a_mistyped_name_in_the_address_never_means_all(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    answer = officer.get(f"{EVERYWHERE}?Exchange={exchange.pk}")
    assert answer.status_code == 404
    assert "This address contains an unknown part" in html(answer)


def test_cancel_all_leaves_out_an_exchange_that_was_disabled_meanwhile(
    officer: Client,
) -> None:
    one, _ = factories.exchange("KRAKEN"), factories.exchange("GEMINI")
    key = key_in(question(officer, EVERYWHERE))
    one.enabled = False
    one.save()
    assert press_with(officer, EVERYWHERE, key).status_code == 202
    assert CancelRequest.objects.get().exchange_id == "GEMINI"


def test_named_exchanges_leave_out_one_that_was_disabled_meanwhile(officer: Client) -> None:
    one, two = factories.exchange("KRAKEN"), factories.exchange("GEMINI")
    path = f"{EVERYWHERE}?exchange={one.pk}&exchange={two.pk}"
    key = key_in(question(officer, path))
    one.enabled = False
    one.save()
    assert press_with(officer, path, key).status_code == 202
    assert CancelRequest.objects.get().exchange_id == "GEMINI"


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(reason=st.text(max_size=2000))
def test_no_reason_refuses_a_kill(officer: Client, reason: str) -> None:
    exchange = factories.exchange(f"EXCHANGE{Batch.objects.count()}")
    sent = reason.encode("utf-8", "replace").decode()
    answer = press(officer, path_of(exchange), reason=sent)
    assert answer.status_code == 202
    assert len(Batch.objects.latest("id").reason) <= 500


def test_an_altered_reason_is_shown_as_altered(officer: Client) -> None:
    answer = press(officer, path_of(factories.exchange("KRAKEN")), reason="x" * 3000)
    assert "the reason was shortened, or control characters were removed" in html(answer)


@pytest.mark.parametrize("path", [EVERYWHERE, "/exchanges/1/cancel-all/"])
def test_wrong_methods_get_405(officer: Client, path: str) -> None:
    answer = officer.put(path)
    assert answer.status_code == 405
    assert set(answer["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_only_a_risk_officer_can_cancel(compliance: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    ada = Client()
    ada.force_login(factories.person(Role.ADMINISTRATOR))
    for client in (compliance, ada):
        for headers in ({}, HTMX):
            assert client.post(path_of(exchange), headers=headers).status_code == 403
            assert client.post(EVERYWHERE, headers=headers).status_code == 403
    assert Batch.objects.count() == 0


def test_a_session_that_has_ended_sends_no_cancel(db: None) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    anonymous = Client()
    plain = anonymous.post(path, {"reason": "Drill"})
    part = anonymous.post(path, {"reason": "Drill"}, headers=HTMX)
    assert plain.status_code == 302
    assert "Drill" in plain["Location"]
    assert (part.status_code, part["HX-Trigger"]) == (401, "session-expired")
    assert Batch.objects.count() == 0


def test_an_outdated_page_comes_back_filled_and_sends_no_cancel(olga: User) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(olga)
    exchange = factories.exchange("KRAKEN")
    for headers in ({}, HTMX):
        fields = {"key": "old", "reason": ["Venue incident", "feed down"]}
        answer = careful.post(path_of(exchange), fields, headers=headers)
        page = html(answer)
        assert answer.status_code == 403
        assert "<option selected>Venue incident</option>" in page
        assert 'value="feed down"' in page
        assert "no cancel was sent" in page
    assert Batch.objects.count() == 0
    fields = {"key": key_in(page), "csrfmiddlewaretoken": _token(page)}
    assert careful.post(path_of(exchange), fields).status_code == 303


def test_an_outdated_page_of_a_disabled_exchange_is_refused(olga: User) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(olga)
    answer = careful.post(path_of(factories.exchange("OFF", enabled=False)), {})
    assert answer.status_code == 409


def test_another_outdated_page_gets_an_error_page(olga: User) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(olga)
    answer = careful.post("/accounts/password/change/", {})
    assert answer.status_code == 403
    assert "out of date" in html(answer)


def test_trusted_proxies_give_the_address_of_a_request(officer: Client, settings: Any) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    path = path_of(factories.exchange("KRAKEN"))
    fields = {"key": key_in(question(officer, path))}
    officer.post(path, fields, headers={"X-Forwarded-For": "6.6.6.6, 10.1.2.3"})
    assert Batch.objects.get().address == "10.1.2.3"


def press_with(client: Client, path: str, key: str) -> Any:
    """Send the form with an earlier key."""
    return client.post(path, {"key": key}, headers=HTMX)


def _token(page: str) -> str:
    return page.split('name="csrfmiddlewaretoken" value="')[1].split('"', maxsplit=1)[0]
