"""The exports in a browser, which only compliance may start."""

import json
from typing import Any

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from killswitch.accounts.models import Role
from tests import factories
from tests.accounts.people import events
from tests.audit.export.export_helpers import fill, nothing_can_be_written

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.both_databases,
]
ADDRESSES = ["/audit/export.csv", "/audit/export.jsonl"]


@pytest.fixture
def compliance() -> Client:
    client = Client(headers={"User-Agent": "Firefox"}, raise_request_exception=False)
    client.force_login(factories.person(Role.COMPLIANCE))
    return client


def _content(response: Any) -> bytes:
    assert isinstance(response, StreamingHttpResponse)
    content: bytes = response.getvalue()
    return content


@pytest.mark.parametrize("address", ADDRESSES)
def test_compliance_gets_the_whole_selection_as_a_file(compliance: Client, address: str) -> None:
    fill(30)
    response = compliance.get(f"{address}?kind=FINISHED&before=3")
    content = _content(response)
    assert response.status_code == 200
    layout = address.rpartition(".")[2]
    assert response["Content-Disposition"].startswith('attachment; filename="killswitch-audit-')
    assert response["Content-Disposition"].endswith(f'.{layout}"')
    assert response["Content-Type"].startswith({"csv": "text/csv", "jsonl": "application/"}[layout])
    assert "no-store" in response["Cache-Control"]
    assert content.count(b"FINISHED") == 30 + 2  # and the filter in the first and last line
    (event,) = events("EXPORTED")
    assert event.actor == "Carl Ito (carl)"
    assert json.loads(event.data) == {
        "address": "127.0.0.1",
        "filter": {"kind": "FINISHED"},
        "format": layout,
        "user_agent": "Firefox",
    }
    assert len(events("EXPORT_COMPLETED")) == 1


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("role", [Role.RISK_OFFICER, Role.ADMINISTRATOR])
def test_other_roles_are_denied(address: str, role: Role) -> None:
    client = Client()
    client.force_login(factories.person(role))
    assert client.get(address).status_code == 403
    assert len(events("DENIED")) == 1
    assert events("EXPORTED") == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_invalid_filter_is_explained_and_kept_without_an_export(
    compliance: Client, address: str
) -> None:
    response = compliance.get(f"{address}?from=x%3Cb%3E&actor=Olga&exchnage=KRAKEN")
    page = response.content.decode()
    assert response.status_code == 400
    assert "From: “x&lt;b&gt;” is not a time." in page
    assert "There is no filter named exchnage." in page
    assert "from=x%3Cb%3E&amp;actor=Olga&amp;exchnage=KRAKEN" in page
    assert events("EXPORTED") == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_export_that_cannot_be_recorded_is_refused(compliance: Client, address: str) -> None:
    with nothing_can_be_written():
        response = compliance.get(address)
        assert response.status_code == 503
        assert "Content-Disposition" not in response.headers
        assert "The export was not started" in response.content.decode()


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_a_get_request_starts_an_export(compliance: Client, address: str) -> None:
    assert compliance.head(address).status_code == 405
    assert compliance.post(address).status_code == 405
    assert events("EXPORTED") == []
