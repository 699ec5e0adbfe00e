"""Every event is described in a short sentence, also those that earlier versions wrote."""

import json
from typing import Any

import pytest

from killswitch.audit.descriptions import MAX_CHARS, describe, descriptions
from killswitch.audit.models import AuditEvent, EventKind


def sentence(kind: str, data: Any) -> str:
    return describe(AuditEvent(kind=kind, data=json.dumps(data)))


def test_every_kind_has_a_description() -> None:
    assert set(descriptions) == set(EventKind)


def test_every_kind_fits_its_column() -> None:
    """SQLite would store a longer one, and PostgreSQL would refuse the event."""
    max_length = AuditEvent._meta.get_field("kind").max_length
    assert max_length
    assert max(map(len, EventKind.values)) <= max_length


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (EventKind.STARTED, {"host": "ks1", "programs": ["web", "watchdog"]}, "2 programs on ks1."),
        (
            EventKind.REQUESTED,
            {"everywhere": True, "open_before": 1, "reason": "Limit breach"},
            "Part of a cancel on all enabled exchanges; 1 open order before the request."
            " Reason: “Limit breach”",
        ),
        (EventKind.REQUESTED, {"everywhere": False}, "Cancel on this exchange. No reason given."),
        (
            EventKind.PUBLISH_FAILED,
            {"why": "connection refused"},
            "The watchdog picks up these requests instead (connection refused).",
        ),
        (
            EventKind.TAKEN_OVER,
            {"dead_holder": "h:1"},
            "Taken over from a process that did not finish.",
        ),
        (
            EventKind.TAKEN_OVER,
            {"dead_holder": ""},
            "Taken over because no process was working on it.",
        ),
        (
            EventKind.ATTEMPT,
            {"number": 2, "outcome": "NOT_DELIVERED", "transport_error": "refused"},
            "Attempt 2: not delivered. “refused”",
        ),
        (
            EventKind.ATTEMPT,
            {"number": 1, "outcome": "UNKNOWN", "http_status": 504, "duration_us": 11_800_000},
            "Attempt 1: no usable response, HTTP 504, 11.8 s.",
        ),
        (
            EventKind.FINISHED,
            {"conclusion": "No open orders are left.", "attempts": 1, "reads": 2},
            "No open orders are left. 1 attempt, 2 checks.",
        ),
        (
            EventKind.REASON_COMPLETED,
            {"reason": "Runaway algorithm"},
            "Reason added afterwards: “Runaway algorithm”",
        ),
        (
            EventKind.HOLD_STARTED,
            {"batch": "b", "open_orders": 3, "reason": "Runaway algorithm"},
            "Held with a cancel; 3 open orders at the time. Reason: “Runaway algorithm”",
        ),
        (
            EventKind.HOLD_STARTED,
            {"batch": None, "open_orders": None, "reason": ""},
            "Held without a separate cancel. No reason given.",
        ),
        (
            EventKind.HOLD_EPISODE,
            {
                "number": 3,
                "orders_seen": 17,
                "orders_cancelled": 1500,
                "longest_life_ms": 1204,
                "symbols": ["BTC-USD", "ETH-USD", "C", "D", "E", "F"],
            },
            "Episode 3: 17 orders seen, 1,500 no longer listed after a cancel, longest open 1.2 s."
            " BTC-USD, ETH-USD, C, D, E and 1 more.",
        ),
        (
            EventKind.HOLD_EPISODE,
            {"number": 1, "orders_seen": 0, "orders_cancelled": 0, "began_blind": True},
            "Episode 1: 0 orders seen, 0 no longer listed after a cancel, began blind.",
        ),
        (
            EventKind.HOLD_BLIND,
            {"error": "HTTP 500"},
            "The open orders cannot be read (HTTP 500). Cancels should still be sent.",
        ),
        (
            EventKind.HOLD_SEES_AGAIN,
            {"seconds": 31},
            "The open orders can be read again after 31 s.",
        ),
        (
            EventKind.HOLD_RELEASE_REQUESTED,
            {"reason": "Flat", "open_orders": 1, "persons_required": 2},
            "Reason: “Flat”; 1 open order. Another person must confirm it.",
        ),
        (
            EventKind.HOLD_RELEASE_WITHDRAWN,
            {"requested_by": "Olga Ray (olga)"},
            "The release requested by Olga Ray (olga) was withdrawn; the Hold stays in force.",
        ),
        (
            EventKind.HOLD_RELEASE_LAPSED,
            {"requested_by": "os:risk"},
            "The release requested by os:risk was not confirmed in time; the Hold stays in force.",
        ),
        (
            EventKind.HOLD_RELEASED,
            {
                "requested_by": "Olga Ray (olga)",
                "reason": "Flat",
                "note": "Agreed",
                "persons_required": 2,
                "episodes": 3,
                "orders_seen": 17,
                "orders_cancelled": 15,
            },
            "Requested by Olga Ray (olga): “Flat” Note: “Agreed” 3 episodes, 17 orders seen,"
            " 15 no longer listed after a cancel.",
        ),
        (
            EventKind.HOLD_RELEASED,
            {"requested_by": "os:risk", "reason": "Flat", "persons_required": 1},
            "Requested by os:risk: “Flat” One risk officer was enough.",
        ),
        (
            EventKind.ALARM_RAISED,
            {"title": "BITMEX: unknown.", "detail": "x"},
            "BITMEX: unknown. x",
        ),
        (EventKind.ALARM_RAISED, {"title": "Stuck", "detail": "For 5 s."}, "Stuck. For 5 s."),
        (
            EventKind.ALARM_RAISED,
            {"title": "BITMEX: rejected.", "detail": "The EMS rejected it.\nStatus: REJECTED"},
            "BITMEX: rejected. The EMS rejected it.",
        ),
        (
            EventKind.ALARM_TOLD,
            {"alarm": 3, "place": "1: json"},
            "Alarm 3 was sent to channel 1: json.",
        ),
        (EventKind.ALARM_ACKNOWLEDGED, {"alarm": 3}, "Alarm 3 was acknowledged."),
        (
            EventKind.ALARM_ACKNOWLEDGED,
            {"alarm": 3, "note": "Desk called.", "by_person_concerned": True},
            "Alarm 3 was acknowledged by the person concerned, after confirming their password,"
            " because no other risk officer exists. Note: “Desk called.”",
        ),
        (
            EventKind.ALARM_RESOLVED,
            {"alarm": 3, "resolution": "The request has ended: rejected."},
            "Alarm 3 resolved itself. The request has ended: rejected.",
        ),
        (
            EventKind.ALARM_OVERDUE,
            {"alarm": 3, "minutes": 10, "escalates": True, "place": "2: slack"},
            "Alarm 3 was not acknowledged for 10 min; channel 2: slack is being notified.",
        ),
        (
            EventKind.ALARM_OVERDUE,
            {"alarm": 3, "minutes": 20, "escalates": True, "place": ""},
            "Alarm 3 was not acknowledged for 20 min; there is no further channel to notify.",
        ),
        (
            EventKind.ALARM_OVERDUE,
            {"alarm": 3, "minutes": 10, "escalates": False, "place": ""},
            "Alarm 3 was not acknowledged for 10 min.",
        ),
        (EventKind.SIGNED_IN, {"address": "10.0.0.1"}, "From address 10.0.0.1."),
        (EventKind.SIGNED_OUT, {}, ""),
        (
            EventKind.SIGN_IN_FAILED,
            {"username": "olga", "why": "wrong password", "count": 10, "address": "10.0.0.1"},
            "Wrong password, user olga. Attempt 10 within an hour. From address 10.0.0.1.",
        ),
        (
            EventKind.DENIED,
            {"method": "GET", "path": "/audit/", "permission": "audit", "count": 1},
            "Tried GET /audit/ without the permission audit.",
        ),
        (
            EventKind.EXCHANGE_CHANGED,
            {"changes": {"caveat": ["old", ""], "enabled": [True, False]}},
            "known limits old → (empty); enabled yes → no.",
        ),
        (EventKind.EXCHANGE_ADDED, {"name": "Kraken"}, "Kraken."),
        (
            EventKind.EXCHANGE_ADDED,
            {"name": "", "origin": "configuration"},
            "Added from the configuration.",
        ),
        (
            EventKind.ROLE_CHANGED,
            {"person": "Olga Ray (olga)", "changes": {"role": [None, "COMPLIANCE"]}},
            "Olga Ray (olga): role Compliance.",
        ),
        (EventKind.PASSWORD_CHANGED, {"person": "Olga Ray (olga)"}, "Olga Ray (olga)."),
        (
            EventKind.RECOVERY_CODE_USED,
            {"person": "Olga Ray (olga)", "left": 9},
            "Olga Ray (olga); codes left: 9.",
        ),
        (
            EventKind.GUARDS_PUT_BACK,
            {"found": [f"trigger {number}" for number in range(7)]},
            "Problems: trigger 0; trigger 1; trigger 2; trigger 3; trigger 4 and 2 more.",
        ),
        (
            EventKind.RESTORED,
            {"restored_seq": 12, "proven_seq": 10, "lost_seq": 20, "reason": "The disk failed"},
            "The log continues after event 12. Events after 10, up to 20, may be lost. Reason: “The"
            " disk failed”",
        ),
        (
            EventKind.RESTORED,
            {"restored_seq": 12, "proven_seq": 10, "lost_seq": 0, "reason": "Drill"},
            "The log continues after event 12. Reason: “Drill”",
        ),
        (
            EventKind.EXPORTED,
            {"format": "csv", "filter": {"kind": "DENIED"}},
            "CSV: Access denied.",
        ),
        (EventKind.EXPORTED, {"format": "jsonl", "filter": {}}, "JSONL: the whole log."),
        (
            EventKind.EXPORTED,
            {"format": "jsonl", "filter": {"exchange_id": "KRAKEN", "colour": 7}},
            "JSONL: exchange_id KRAKEN, colour 7.",
        ),
        (
            EventKind.REQUESTS_EXPORTED,
            {"count": 1200, "filter": {"outcome": "not_confirmed", "from": "2026-11-22"}},
            "1,200 requests as CSV: outcome not_confirmed, from 2026-11-22.",
        ),
        (EventKind.REQUESTS_EXPORTED, {"count": 0, "filter": {}}, "0 requests as CSV: no filter."),
        (
            EventKind.EXPORT_COMPLETED,
            {"export": 7, "count": 1200},
            "1,200 events; the export started in event 7.",
        ),
        (
            EventKind.QUERIED,
            {"events": [3, 4], "own": [4], "note": "Why?"},
            "Events 3, 4. Includes the reviewer's own actions. “Why?”",
        ),
        (
            EventKind.PERIOD_SIGNED_OFF,
            {"first_seq": 1, "last_seq": 90, "review": {"unreviewed": 1200}},
            "Events 1 to 90; 1,200 not reviewed.",
        ),
    ],
)
def test_an_event_is_described_from_its_data(kind: EventKind, data: Any, expected: str) -> None:
    assert sentence(kind, data) == expected


def test_a_long_description_is_cut_and_marked() -> None:
    text = sentence(EventKind.ALARM_RAISED, {"title": "x" * 400, "detail": ""})
    assert len(text) == MAX_CHARS
    assert text.endswith("x…")


@pytest.mark.parametrize("kind", [*EventKind, "OF_TOMORROW"])
@pytest.mark.parametrize(
    "data", [[], 17, "text", {"conclusion": ["x"], "changes": [1], "count": 0}]
)
def test_unusual_data_never_raises(kind: str, data: Any) -> None:
    text = sentence(kind, data)
    assert text == "" or kind != "OF_TOMORROW"
