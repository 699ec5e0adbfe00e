"""Faults by name: scripts are made of small declarative values, which are read into scenarios.

A fault is a name or `{"fault": name, …parameters}`. Every fault also takes `delay` (seconds before
the answer), `carried_out` (whether the orders are really cancelled) and, as the last of a sequence,
`repeat`. Where `carried_out` is not given, orders are cancelled if the answer looks like 200, and
stay if it is a refusal, an error, silence or a broken connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from killswitch.simulator import answers, faulty_answers
from killswitch.simulator.faulty_answers import Builder, accepted, refused
from killswitch.simulator.http import Delivery, DeliveryMode, Outgoing
from killswitch.simulator.parameters import InvalidFault, Parameters
from killswitch.simulator.scenarios import EVERYTHING, NOTHING, Call, CancelEffect, Scenario

Fault = str | Mapping[str, object]
_RESET_TIMES = ("before_reading", "after_reading", "mid_answer")


def read_sequence(faults: object, *, call: Call, tag: str = "") -> list[Scenario]:
    """Return the scenarios of the next calls. Raises InvalidFault with the reason."""
    if not isinstance(faults, Sequence) or isinstance(faults, str | bytes):
        raise InvalidFault(f"{call}: {faults!r:.100} is not a list of faults")
    scenarios = [replace(read_fault(fault, call=call), tag=tag) for fault in faults]
    if any(scenario.repeat for scenario in scenarios[:-1]):
        raise InvalidFault("repeat: only the last fault of a sequence can be repeated")
    return scenarios


def read_fault(fault: object, *, call: Call) -> Scenario:
    """Return the scenario of one fault. Raises InvalidFault with the reason."""
    parameters = Parameters({"fault": fault} if isinstance(fault, str) else fault)
    name = parameters.text("fault")
    if name not in FAULTS:
        raise InvalidFault(f"fault: {name!r:.100} is not one of {', '.join(FAULTS)}")
    fault_or_builder = FAULTS[name]
    scenario = (
        fault_or_builder
        if isinstance(fault_or_builder, Scenario)
        else fault_or_builder(parameters, call)
    )
    effect, delivery = scenario.cancel_effect, scenario.delivery
    if not parameters.flag("carried_out", default=effect.carried_out):
        effect = NOTHING
    elif not effect.carried_out:
        effect = EVERYTHING
    scenario = replace(
        scenario,
        name=name,
        repeat=parameters.flag("repeat"),
        cancel_effect=effect,
        delivery=replace(delivery, delay_s=parameters.seconds("delay", default=delivery.delay_s)),
    )
    parameters.reject_unknown(name)
    return scenario


def _drip(parameters: Parameters, _call: Call) -> Scenario:
    part = parameters.one_of("part", allowed=("status", "headers", "body"), default="body")
    interval_s = parameters.seconds("interval", default=1.0)
    return Scenario(
        delivery=Delivery(mode=DeliveryMode.DRIP, dripped_part=part, interval_s=interval_s)
    )


def _reset(parameters: Parameters, _call: Call) -> Scenario:
    # The exchange is named in the request, so "before reading" can only mean: before acting on it.
    # The client sees the same in both cases, a reset without one byte of an answer.
    when = parameters.one_of("when", allowed=_RESET_TIMES, default="after_reading")
    if when == "before_reading" and parameters.flag("carried_out"):
        raise InvalidFault("carried_out: a request that was not read cannot be carried out")
    mode = DeliveryMode.RESET_MID_ANSWER if when == "mid_answer" else DeliveryMode.RESET
    return Scenario(delivery=Delivery(mode=mode), cancel_effect=NOTHING)


# A fault without parameters is a scenario; the others are made of their parameters.
FAULTS: Mapping[str, Scenario | Builder] = {
    "ok": Scenario(),
    "message": faulty_answers.message,
    "reject": faulty_answers.reject,
    "empty": accepted(Outgoing()),
    "unknown_shape": accepted(Outgoing(body=b'{"result": "accepted", "queue": [17]}')),
    "not_json": accepted(answers.page(title="Welcome")),
    "oversized": faulty_answers.oversized,
    "endless": Scenario(delivery=Delivery(mode=DeliveryMode.ENDLESS)),
    "bad_request": faulty_answers.bad_request,
    "unauthorised": refused(answers.error(401, "Invalid API key")),
    "forbidden": refused(answers.error(403, "Forbidden")),
    "not_found": refused(answers.error(404, "Not found")),
    "too_many": faulty_answers.too_many,
    "redirect": faulty_answers.redirect,
    "server_error": faulty_answers.server_error,
    "hostile": faulty_answers.hostile,
    "raw": faulty_answers.raw,
    "slow": lambda parameters, _call: Scenario(
        delivery=Delivery(delay_s=parameters.seconds("seconds", default=1.0))
    ),
    "silent": Scenario(delivery=Delivery(mode=DeliveryMode.SILENT), cancel_effect=NOTHING),
    "drip": _drip,
    "reset": _reset,
    "half_body": Scenario(delivery=Delivery(mode=DeliveryMode.HALF_BODY)),
    "close": Scenario(delivery=Delivery(mode=DeliveryMode.CLOSE), cancel_effect=NOTHING),
    "partial": lambda parameters, _call: Scenario(
        cancel_effect=CancelEffect(leaves=parameters.whole("leaves", default=3))
    ),
    "acknowledged_only": Scenario(cancel_effect=NOTHING),
    "come_back": lambda parameters, _call: Scenario(
        cancel_effect=CancelEffect(comes_back_after_s=parameters.seconds("after", default=1.0))
    ),
    "return_to_new": Scenario(cancel_effect=CancelEffect(venue_refuses=True)),
    "grouped": lambda parameters, _call: Scenario(
        grouped_by=parameters.one_of(
            "by", allowed=("exchange_id", "exchange_name"), default="exchange_id"
        )
    ),
}
