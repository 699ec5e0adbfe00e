"""What an attacker sends has no effect: no script runs, no cancel is sent, no data leaks."""

import re
from io import BytesIO
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from killswitch.accounts.models import Role, User
from killswitch.cancels.confirmation import MAX_EXCHANGES
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.states import Status
from killswitch.console.middleware import MAX_BODY_BYTES
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.runtime.revisions import next_revision
from tests import factories
from tests.browser import scenes
from tests.console.press_helpers import EVERYWHERE, HTMX, key_in, path_of, press, question
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

NASTY = """"'><script>alert(1)</script><img src=x onerror=alert(1)>{{1234*4321}}{% now 'Y' %}"""
TURNED = "safe\u202egnp.exe"
PAGES = ("/", "/requests/", EVERYWHERE, "/poll/?show=console&show=ready&known=0")


def everything_nasty(olga: User) -> CancelRequest:
    """Foreign and typed text in every place that a page shows."""
    olga.full_name = NASTY[:100]
    olga.save()
    exchange = factories.exchange("KRAKEN/" + NASTY, name=NASTY, caveat=NASTY + TURNED, orders=3)
    UncoveredExchange.objects.create(exchange_id=NASTY + TURNED, open_orders=1)
    Observation.objects.filter(id=1).update(error=NASTY + TURNED, revision=next_revision())
    request = factories.press(olga, exchange, reason=NASTY + TURNED).requests.get()
    factories.bring(request, Status.RESIDUAL)
    CancelRequest.objects.filter(pk=request.pk).update(
        conclusion=NASTY,
        reject_reason=NASTY,
        message=NASTY + TURNED,
        rejected_message=NASTY,
    )
    Batch.objects.update(gesture=NASTY, address="127.0.0.1")
    Attempt.objects.update(
        body=NASTY.encode(), transport_error=NASTY, message=NASTY, reject_reason=NASTY
    )
    names = ("symbol", "side", "price", "status", "client_order_id", "exchange_order_id")
    ResidualOrder.objects.update(**dict.fromkeys(names, NASTY[:40]))
    return request


def test_foreign_words_act_on_no_page(officer: Client, olga: User) -> None:
    request = everything_nasty(olga)
    more = (
        f"/requests/{request.uuid}/",
        f"/batches/{request.batch.uuid}/",
        path_of(request.configured_exchange),
        f"{path_of(request.configured_exchange)}?reason={NASTY}",
        f"/poll/?show=request:{request.uuid}&show=batch:{request.batch.uuid}&known=0",
        f"/poll/?show=dialog:{request.batch.uuid}&show=requests:newest&known=0",
    )
    for path in (*PAGES, *more):
        text = html(officer.get(path))
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
        assert "5332114" not in text, path
        # A field holds what was typed; what is read is shown with its marks.
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", text), path
        # No attribute is left early: what was quoted stays inside its quotes.
        bare = re.sub(r'"[^"]*"|\'[^\']*\'', "", re.sub(r">[^<]*<", "><", text))
        assert not re.search(r"<[^>]*\son\w+\s*=", bare), path


def test_a_reason_that_changes_the_direction_of_text_shows_it(officer: Client, olga: User) -> None:
    exchange = factories.exchange("KRAKEN")
    press(officer, path_of(exchange), reason=TURNED)
    assert "safe\\u202egnp.exe" in html(officer.get("/requests/"))


@pytest.mark.parametrize(
    "query",
    [
        "show=request:%00",
        "show=batch:%00",
        "show=dialog:{}",
        "show=log:%00:1",
        "show=requests:%00",
        "known=-1&show=console",
        "known=%D9%A1&show=console",
        "known=99999999999999999999999999&show=console",
        "known=1e9&show=console",
        "known=&show=",
        "show=" + "a" * 3000,
    ],
)
def test_an_invalid_poll_is_answered(officer: Client, query: str) -> None:
    factories.exchange("KRAKEN")
    assert officer.get(f"/poll/?{query}", headers=HTMX).status_code in {200, 204}


@given(
    shown=st.lists(st.text(max_size=60), max_size=8),
    known=st.text(max_size=25),
)
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_poll_takes_any_text(officer: Client, shown: list[str], known: str) -> None:
    fields: dict[str, Any] = {"show": shown, "known": known}
    assert officer.get("/poll/", fields, headers=HTMX).status_code in {200, 204}


def test_asking_for_the_same_thing_a_thousand_times_brings_it_once(officer: Client) -> None:
    factories.exchange("KRAKEN")
    text = html(officer.get("/poll/?known=0" + "&show=console" * 900, headers=HTMX))
    assert text.count("data-exchange-id") == 1


def test_a_request_never_reaches_only_the_first_exchanges_that_it_names(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    too_many = f"{EVERYWHERE}?{'&'.join([f'exchange={exchange.pk}'] * (MAX_EXCHANGES + 1))}"
    answer = officer.get(too_many)
    assert answer.status_code == 404
    assert f"An address can name at most {MAX_EXCHANGES} exchanges" in html(answer)
    assert officer.post(too_many, {"key": "x"}).status_code == 404


def test_a_retry_works_for_as_many_exchanges_as_one_address_names(
    officer: Client, olga: User
) -> None:
    exchanges = [factories.exchange(f"E{number}") for number in range(MAX_EXCHANGES + 1)]
    batch = factories.press(olga, *exchanges)
    at = batch.asked_at
    batch.requests.update(status=Status.REJECTED, first_claimed_at=at, finished_at=at)
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    found = re.search(r'<form class="again js-only" method="post" action="([^"]+)"', page)
    assert found
    answer = officer.post(found[1].replace("&amp;", "&"), {"key": key_in(page)}, headers=HTMX)
    assert answer.status_code == 202
    assert Batch.objects.latest("id").requests.count() == MAX_EXCHANGES


def test_a_key_opens_nothing_but_what_it_was_made_for(officer: Client, olga: User) -> None:
    one, two = factories.exchange("KRAKEN"), factories.exchange("GEMINI")
    key = key_in(question(officer, path_of(one)))
    some = f"{EVERYWHERE}?exchange={one.pk}&exchange={two.pk}"
    for path in (path_of(two), EVERYWHERE, some):
        assert officer.post(path, {"key": key}, headers=HTMX).status_code == 409
    bob = Client()
    bob.force_login(factories.person(Role.RISK_OFFICER, username="bob", full_name="Bob"))
    assert bob.post(path_of(one), {"key": key}, headers=HTMX).status_code == 409
    assert Batch.objects.count() == 0
    assert officer.post(path_of(one), {"key": key}, headers=HTMX).status_code == 202
    assert officer.post(path_of(two), {"key": key}, headers=HTMX).status_code == 409
    assert Batch.objects.count() == 1


def test_fields_of_the_form_cannot_change_the_target(officer: Client) -> None:
    one, two = factories.exchange("KRAKEN"), factories.exchange("GEMINI")
    press(officer, path_of(one), exchange=[one.pk, two.pk], everywhere="1", by="1", pk=two.pk)
    assert [request.exchange_id for request in CancelRequest.objects.all()] == ["KRAKEN"]


@pytest.mark.parametrize(
    "named", ["", "0", "-1", "1.0", "1e3", "٣", "1 OR 1=1", "9" * 9, "9" * 30, "%00", "None"]
)
def test_an_invalid_number_never_means_all_exchanges(officer: Client, named: str) -> None:
    factories.exchange("KRAKEN")
    path = f"{EVERYWHERE}?exchange={named}"
    assert officer.get(path).status_code == 404
    assert officer.post(path, {"key": "x"}).status_code == 404
    assert Batch.objects.count() == 0


def test_a_selection_of_none_never_means_all_exchanges(officer: Client) -> None:
    """Without scripts, the button next to the boxes works before one is ticked."""
    exchange = factories.exchange("KRAKEN")
    path = f"{EVERYWHERE}?selection=1"
    for answer in (officer.get(path), officer.post(path, {"key": "x"})):
        assert answer.status_code == 404
        assert "No exchange is selected. No cancel was sent." in html(answer)
    one = question(officer, f"{path}&exchange={exchange.pk}")
    assert "Cancel all on KRAKEN" in one
    form = re.search(r'<form id="selection".*?</form>', html(officer.get("/")), re.DOTALL)
    assert form
    assert '<input type="hidden" name="selection" value="1">' in form[0]


def test_an_address_in_a_form_is_never_an_error(officer: Client, olga: User) -> None:
    batch = factories.press(olga, factories.exchange("KRAKEN"))
    back = "/requests/\r\nSet-Cookie: x=y?reason=Störung ✓"
    for path, fields in (
        ("/display/", {"next": back}),
        (f"/batches/{batch.uuid}/reason/", {"reason": "Drill", "back": back}),
    ):
        answer = officer.post(path, fields)
        assert answer.status_code == 303, path
        assert answer["Location"].startswith("/"), path
        assert "x" not in answer.cookies, path


@pytest.mark.parametrize("key", ["", "\x00", "a:b:c", "é" * 9000, "x" * 100_000])
def test_no_key_of_any_shape_breaks_the_page(officer: Client, key: str) -> None:
    exchange = factories.exchange("KRAKEN")
    answer = officer.post(path_of(exchange), {"key": key, "gesture": "\x00" * 999}, headers=HTMX)
    assert answer.status_code == 400
    assert key_in(html(answer))
    assert Batch.objects.count() == 0


def test_a_request_carries_any_gesture_and_user_agent(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    key = key_in(question(officer, path_of(exchange)))
    officer.post(
        path_of(exchange),
        {"key": key, "gesture": "\x00\x1b[31m\u202e" * 400},
        headers=HTMX | {"User-Agent": "\x1b[31m" + "x" * 9000},
    )
    batch = Batch.objects.get()
    assert len(batch.gesture) <= 100
    assert "\x1b" not in batch.user_agent


def test_a_body_that_no_form_here_sends_is_not_even_read(olga: User, settings: Any) -> None:
    """Also without signing in: Django would keep a file of any size on disk."""
    stranger = Client(headers={"Cookie": f"{settings.CSRF_COOKIE_NAME}={'a' * 32}"})
    for path in ("/accounts/login/", EVERYWHERE, "/nowhere/"):
        file = BytesIO(b"a" * (MAX_BODY_BYTES + 1))
        answer = stranger.post(path, {"csrfmiddlewaretoken": "a" * 32, "file": file})
        assert answer.status_code == 413
        assert "no cancel was sent" in html(answer)


def test_an_invalid_content_length_is_no_error(officer: Client) -> None:
    assert officer.get("/", CONTENT_LENGTH="many").status_code == 200


def test_without_the_token_of_the_page_no_cancel_is_requested(olga: User) -> None:
    exchange = factories.exchange("KRAKEN")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(olga)
    key = key_in(question(strict, path_of(exchange)))
    for headers in ({}, HTMX, {"Referer": "https://evil/"}):
        answer = strict.post(path_of(exchange), {"key": key}, headers=headers)
        assert answer.status_code == 403
        assert "no cancel was sent. Please confirm again" in html(answer)
    answer = strict.post(
        path_of(exchange), {"key": key}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "no cancel was sent" in html(answer)
    assert 'name="key"' not in html(answer)
    assert strict.post("/alarms/1/acknowledge/").status_code == 403
    assert strict.post("/accounts/logout/").status_code == 403
    assert Batch.objects.count() == 0


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options", "trace"])
@pytest.mark.parametrize("path", ["/", "/poll/", EVERYWHERE, "/requests/", "/healthz", "/readyz"])
def test_a_method_that_is_not_used_does_nothing(officer: Client, method: str, path: str) -> None:
    factories.exchange("KRAKEN")
    assert getattr(officer, method)(path).status_code == 405
    assert Batch.objects.count() == 0


def test_a_method_in_disguise_is_the_method_that_it_came_with(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    key = key_in(question(officer, path_of(exchange)))
    disguised = {"X-HTTP-Method-Override": "POST"} | HTMX
    answer = officer.get(path_of(exchange), {"key": key, "_method": "POST"}, headers=disguised)
    assert answer.status_code == 200
    assert Batch.objects.count() == 0


def test_every_page_forbids_frames_scripts_of_others_and_guessing(
    officer: Client, olga: User
) -> None:
    exchange = factories.exchange("KRAKEN")
    paths = ("/", "/poll/", "/requests/", path_of(exchange), EVERYWHERE, "/nowhere/", "/readyz")
    answers = {
        path: officer.get(path)
        for path in (*paths, "/accounts/password/change/", "/accounts/logout/")
    }
    answers["a method that is not used"] = officer.put("/")
    answers["too large"] = officer.post("/", b"x" * (MAX_BODY_BYTES + 1), "text/plain")
    assert [answers[name].status_code for name in list(answers)[-2:]] == [405, 413]
    for path, answer in answers.items():
        headers = answer.headers
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "same-origin", path


def test_no_page_with_figures_or_keys_is_kept_by_a_cache(officer: Client, olga: User) -> None:
    request = factories.press(olga, factories.exchange("KRAKEN")).requests.get()
    paths = (
        "/",
        "/poll/",
        "/requests/",
        path_of(request.configured_exchange),
        EVERYWHERE,
        "/nowhere/",
    )
    for path in (*paths, f"/requests/{request.uuid}/", f"/batches/{request.batch.uuid}/"):
        assert "no-store" in officer.get(path).headers["Cache-Control"], path
    again = officer.post(path_of(request.configured_exchange), {"key": "forged"})
    assert "no-store" in again.headers["Cache-Control"]


def test_a_missing_request_has_a_sentence_of_ours(officer: Client) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    for path in (f"/requests/{unknown}/", f"/batches/{unknown}/"):
        answer = officer.get(path)
        assert answer.status_code == 404
        assert "There is no request with this ID." in html(answer)
        assert "matches the given query" not in html(answer)


@pytest.mark.parametrize(
    "path", ["/", "/requests/", EVERYWHERE, "/audit/", "/administration/people/", "/poll/"]
)
def test_a_visitor_who_has_not_signed_in_sees_no_data(olga: User, path: str) -> None:
    """The same answer whether or not there is something: a way to sign-in."""
    request = factories.press(olga, factories.exchange("SECRET-VENUE")).requests.get()
    stranger = Client()
    guesses = (
        path,
        path_of(request.configured_exchange),
        f"{path_of(request.configured_exchange)}9",
        "/exchanges/999/",
    )
    for guess in (*guesses, f"/requests/{request.uuid}/", f"/requests/{olga.pk}/"):
        answer = stranger.get(guess)
        assert answer.status_code in {302, 404}
        assert "SECRET-VENUE" not in html(answer)
    existing = stranger.get(path_of(request.configured_exchange))
    missing = stranger.get("/exchanges/999999/cancel-all/")
    assert existing.status_code == missing.status_code == 302


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_machines_read_names_no_exchange_person_or_secret(
    olga: User, settings: Any, path: str
) -> None:
    settings.EMS_API_KEY = "secret-key-of-the-ems"
    scenes.console(olga)
    Observation.objects.filter(id=1).update(error="HTTP 401")
    text = html(Client().get(path))
    exchange_ids = [exchange.exchange_id for exchange in Exchange.objects.all()]
    for word in (*exchange_ids, "olga", "Olga", settings.EMS_API_KEY, settings.SECRET_KEY):
        assert not re.search(rf"\b{re.escape(word)}\b", text), word


def test_signing_in_gives_a_new_session(olga: User, settings: Any) -> None:
    victim = Client()
    victim.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    victim.get("/accounts/login/")
    fields = {"login": "olga", "password": factories.PASSWORD}
    assert victim.post("/accounts/login/", fields).status_code == 302
    session = victim.cookies[settings.SESSION_COOKIE_NAME]
    assert session.value != "a" * 32
    assert session["httponly"]
    assert session["samesite"] == "Lax"
    attacker = Client()
    attacker.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    assert attacker.get("/").status_code == 302


@pytest.mark.parametrize(
    "url", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(olga: User, url: str) -> None:
    fields = {"login": "olga", "password": factories.PASSWORD, "next": url}
    answer = Client().post("/accounts/login/", fields)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_a_poll_names_no_page_of_others_as_the_way_back() -> None:
    for shown in ("https://evil.example/x", "//evil.example/x", "javascript:alert(1)"):
        answer = Client().get("/poll/", headers=HTMX | {"HX-Current-URL": shown})
        assert answer.status_code == 401
        assert "evil" not in answer.headers["X-Sign-In"]
        assert "javascript" not in answer.headers["X-Sign-In"]


def test_headers_of_an_answer_contain_no_line_of_the_request(officer: Client) -> None:
    answer = officer.get("/requests/?before=1%0d%0aSet-Cookie:x=y")
    assert "x" not in answer.cookies
    answer = officer.get("/poll/?known=0%0d%0aX-Ready:READY", headers=HTMX)
    assert "\n" not in str(answer.headers)
