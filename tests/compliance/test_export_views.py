"""The exports in a browser, which only compliance may start."""

import csv
import hashlib
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from killswitch.accounts.models import Role
from killswitch.audit.descriptions import describe
from killswitch.audit.export.export import ExportNotRecorded
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent
from tests import factories
from tests.accounts.people import events
from tests.audit import request_factories
from tests.audit.export.export_helpers import fill, nothing_can_be_written
from tests.audit.request_factories import START
from tools import verify_export

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
    assert "From: “x&lt;b&gt;” is not a day." in page
    assert "There is no filter “exchnage”. Check the link." in page
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


class TestTheReadableCsv:
    """`/audit/export-readable.csv`, which people open in a spreadsheet."""

    def rows(self, client: Client, query: str = "") -> list[dict[str, str]]:
        text = _content(client.get(f"/audit/export-readable.csv{query}")).decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))

    def test_it_begins_with_column_names_and_has_words_times_requester_and_reason(
        self, compliance: Client
    ) -> None:
        request_factories.request(0, at=START, status="REJECTED", reason="Fat finger")
        request_factories.request(1, at=START, status="RESIDUAL", reason="")
        requested, attempt, finished, *_, residual = self.rows(compliance)[:6]
        assert finished == {
            "Event number": "3",
            "Time (UTC)": "2026-03-02 09:30:00.400000",
            "Event": "Request finished",
            "Description": "Concluded that it is REJECTED. 1 attempt, 2 checks.",
            "User": "System",
            "Role": "",
            "Exchange": "KRAKEN",
            "Status": "Rejected",
            "Not confirmed": "yes",
            "Open again, event": "",
            "Reject reason": "EXCHANGE_UNREACHABLE",
            "Requested by": "Olga Ray (olga)",
            "Reason": "Fat finger",
            "Open orders before": "",
            "Open orders after": "0",
            "Attempts": "1",
            "Checks": "2",
            "Request ID": request_factories.uuid(0),
            "Event type": "FINISHED",
            "Status code": "REJECTED",
            "Hash": AuditEvent.objects.get(seq=3).hash,
        }
        assert requested["Role"] == "Risk officer"
        assert requested["Open orders before"] == "14"
        assert (requested["Status"], attempt["Status"]) == ("", "")
        assert residual["Open orders after"] == "3"
        assert datetime.fromisoformat(finished["Time (UTC)"])

    def test_it_selects_what_the_page_selects_and_runs_no_formula(self, compliance: Client) -> None:
        fill(6)
        wanted = EventFilter(exchange="kraken", kind="FINISHED").events()
        rows = self.rows(compliance, "?exchange=kraken&kind=FINISHED")
        assert [int(row["Event number"]) for row in rows] == list(
            wanted.order_by("seq").values_list("seq", flat=True)
        )
        text = _content(compliance.get("/audit/export-readable.csv")).decode("utf-8-sig")
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        assert any(cell.startswith("'=cmd") for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]

    def test_it_is_recorded_at_its_start_and_at_its_end(self, compliance: Client) -> None:
        fill(1)
        response = compliance.get("/audit/export-readable.csv?actor=olga")
        assert response["Content-Disposition"].endswith('.readable.csv"')
        content = _content(response)
        (start,), (end,) = events("EXPORTED"), events("EXPORT_COMPLETED")
        assert json.loads(start.data)["format"] == "readable.csv"
        assert json.loads(start.data)["filter"] == {"person_contains": "olga"}
        assert json.loads(end.data)["sha256"] == hashlib.sha256(content).hexdigest()
        assert describe(start) == "CSV for reading: by or requested by “olga”."


@pytest.mark.parametrize("address", ["/audit/export.csv", "/audit/export-readable.csv"])
def test_a_spreadsheet_shows_that_an_export_has_failed(compliance: Client, address: str) -> None:
    """The server ends the answer like a complete one, so a browser cannot report it."""
    fill(1)
    response = compliance.get(address)
    assert isinstance(response, StreamingHttpResponse)
    received: list[bytes] = []
    with nothing_can_be_written(), pytest.raises(ExportNotRecorded):
        received.extend(response)
    assert received[-1].startswith(b'"INCOMPLETE: ')


@pytest.mark.parametrize("address", [*ADDRESSES, "/audit/export-readable.csv"])
def test_an_export_with_a_mistyped_name_is_refused(compliance: Client, address: str) -> None:
    fill(3)
    response = compliance.get(f"{address}?exchange=krakn")
    assert response.status_code == 400
    assert "No event has “krakn”. Did you mean “KRAKEN" in response.content.decode()
    assert not events("EXPORTED")


@pytest.mark.parametrize(
    "query", ["exchange=kraken", "actor=olga", "status=not+confirmed", "reject_reason=sum"]
)
def test_a_filtered_export_passes_the_check_of_auditors(
    compliance: Client, tmp_path: Path, query: str
) -> None:
    fill(6)
    path = tmp_path / "export.jsonl"
    path.write_bytes(_content(compliance.get(f"/audit/export.jsonl?{query}")))
    assert verify_export.main([str(path)]) == 0
