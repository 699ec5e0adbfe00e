"""An auditor derives every Hold from an export alone, as docs/auditors.md describes."""

import json
from pathlib import Path
from typing import Any

import pytest

from killswitch.audit.models import EventKind
from killswitch.holds.models import Episode, Hold
from tests.audit.export.export_helpers import Exported, exported
from tests.holds import hold_factories
from tests.stack import ROOT
from tools import verify_export

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


@pytest.fixture
def export(settings: Any, tmp_path: Path, unpublished: None) -> Exported:
    settings.KILLSWITCH_HOME = tmp_path
    hold_factories.every_state()
    return exported()


def test_an_export_has_every_kind_and_passes_its_check(export: Exported, tmp_path: Path) -> None:
    kinds = {event["kind"] for event in export.events}
    assert {kind for kind in EventKind if kind.startswith("HOLD_")} <= kinds
    path = tmp_path / "export.jsonl"
    path.write_bytes(export.content)
    assert verify_export.main([str(path)]) in {0, 2}  # 2: no key of another source was given


def test_the_auditors_page_explains_every_kind() -> None:
    page = (ROOT / "docs" / "auditors.md").read_text()
    kinds = [kind for kind in EventKind if kind.startswith("HOLD_")]
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []


def test_the_states_follow_from_the_events(export: Exported) -> None:
    states: dict[str, str] = {}
    episodes: dict[str, list[dict[str, Any]]] = {}
    for event in export.events:
        data = json.loads(event["data"])
        match event["kind"]:
            case "HOLD_STARTED" | "HOLD_RELEASE_WITHDRAWN" | "HOLD_RELEASE_LAPSED":
                states[data["hold"]] = "ACTIVE"
            case "HOLD_RELEASE_REQUESTED":
                states[data["hold"]] = "RELEASE_REQUESTED"
            case "HOLD_RELEASED":
                states[data["hold"]] = "RELEASED"
            case "HOLD_EPISODE":
                episodes.setdefault(data["hold"], []).append(data)
    assert states == {str(hold.uuid): hold.state for hold in Hold.objects.all()}
    for hold in Hold.objects.all():
        ended = episodes.get(str(hold.uuid), [])
        running = Episode.objects.filter(hold=hold, request__finished_at=None)
        assert len(ended) + running.count() == hold.episode_count
        seen = [*(data["orders_seen"] for data in ended)]
        assert sum(seen) + sum(running.values_list("orders_seen", flat=True)) == hold.orders_seen


def test_a_request_of_a_hold_says_so_in_its_first_and_its_last_event(export: Exported) -> None:
    requests: dict[str, dict[str, dict[str, Any]]] = {}
    for event in export.events:
        if event["request_id"]:
            data = json.loads(event["data"])
            requests.setdefault(event["request_id"], {})[event["kind"]] = data
    for kinds in requests.values():
        origin = kinds["REQUESTED"]["origin"]
        assert ("held" in kinds["REQUESTED"]) is (origin == "HOLD")
        assert kinds.get("FINISHED", {"origin": origin})["origin"] == origin
        assert ("HOLD_EPISODE" in kinds) is (origin == "HOLD" and "FINISHED" in kinds)
