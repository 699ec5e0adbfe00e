"""Any value is read as a scenario or refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.simulator.faults import FAULTS, read_fault, read_sequence
from killswitch.simulator.http import DeliveryMode
from killswitch.simulator.parameters import InvalidFault
from killswitch.simulator.scenarios import Call, Scenario

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_NAMES = [
    "fault",
    "status",
    "reason",
    "message",
    "severity",
    "seconds",
    "delay",
    "carried_out",
    "repeat",
    "part",
    "interval",
    "when",
    "leaves",
    "after",
    "by",
    "kind",
    "length",
    "bytes",
    "body",
    "body_base64",
    "headers",
    "location",
    "retry_after",
]


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_given_by_its_name_alone(name: str, call: Call) -> None:
    assert read_fault(name, call=call).name == name
    assert read_fault({"fault": name}, call=call).name == name


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_carried_out_or_not(name: str, carried_out: bool) -> None:
    scenario = read_fault({"fault": name, "carried_out": carried_out}, call=Call.CANCEL)
    assert scenario.cancel_effect.carried_out is carried_out


@pytest.mark.parametrize(
    "invalid",
    [
        {"fault": "nonsense"},
        {},
        None,
        7,
        {"fault": "slow", "second": 1},
        {"fault": "slow", "seconds": -1},
        {"fault": "slow", "seconds": float("nan")},
        {"fault": "slow", "seconds": "1"},
        {"fault": "drip", "part": "tail"},
        {"fault": "reject", "status": True},
        {"fault": "reject", "status": 100},
        {"fault": "raw", "body_base64": "???"},
        {"fault": "raw", "headers": {"X": "a\r\nb"}},
        {"fault": "reset", "when": "before_reading", "carried_out": True},
    ],
)
def test_an_invalid_fault_is_refused_with_a_reason(invalid: object) -> None:
    with pytest.raises(InvalidFault, match=r"\w"):
        read_fault(invalid, call=Call.CANCEL)


def test_only_the_last_of_a_sequence_can_be_repeated() -> None:
    again = {"fault": "ok", "repeat": True}
    assert len(read_sequence(["silent", again], call=Call.LIST)) == 2
    with pytest.raises(InvalidFault, match="repeat"):
        read_sequence([again, "silent"], call=Call.LIST)


@pytest.mark.parametrize("invalid", ["silent", None, {"fault": "ok"}, 1])
def test_a_sequence_is_a_list(invalid: object) -> None:
    with pytest.raises(InvalidFault):
        read_sequence(invalid, call=Call.LIST)


def test_a_refusal_leaves_the_orders_unless_the_fault_says_otherwise() -> None:
    fault = {"fault": "reject", "reason": "EXCHANGE_RESPONSE_TIMEOUT", "status": 504}
    assert not read_fault(fault, call=Call.CANCEL).cancel_effect.carried_out
    assert read_fault(fault | {"carried_out": True}, call=Call.CANCEL).cancel_effect.carried_out


def test_any_fault_can_be_late() -> None:
    assert read_fault({"fault": "not_json", "delay": 2}, call=Call.LIST).delivery.delay_s == 2
    assert read_fault({"fault": "silent"}, call=Call.LIST).delivery.mode is DeliveryMode.SILENT


@given(fault=_JSON, call=st.sampled_from(Call))
def test_any_json_is_a_scenario_or_refused(fault: object, call: Call) -> None:
    _is_a_scenario_or_refused(fault, call)


@given(
    name=st.sampled_from(sorted(FAULTS)),
    parameters=st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=3),
    call=st.sampled_from(Call),
)
def test_any_parameters_of_a_fault_are_a_scenario_or_refused(
    name: str, parameters: dict[str, object], call: Call
) -> None:
    _is_a_scenario_or_refused(parameters | {"fault": name}, call)


def _is_a_scenario_or_refused(fault: object, call: Call) -> None:
    try:
        scenario: Scenario | None = read_fault(fault, call=call)
    except InvalidFault:
        scenario = None
    assert scenario is None or scenario.name in FAULTS
