"""Faults by name: reads the small declarative values that scripts are made of into plans.

A fault is a name or `{"fault": name, …parameters}`. Every fault also takes `delay` (seconds before
the answer), `carried_out` (whether the orders are really cancelled) and, as the last of a sequence,
`repeat`. Where `carried_out` is not given, orders are cancelled if the answer looks like 200, and
stay if it is a refusal, an error, a silence or a broken connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from killswitch.simulator import faulty_answers as answers
from killswitch.simulator.parameters import InvalidFault, Parameters
from killswitch.simulator.scenarios import (
    EVERYTHING,
    NOTHING,
    Builder,
    Call,
    CancelEffect,
    Delivery,
    DeliveryMode,
    Effect,
    Scenario,
)

Fault = str | Mapping[str, object]
_RESETS = {
    "before_reading": DeliveryMode.RESET,
    "after_reading": DeliveryMode.RESET,
    "mid_answer": DeliveryMode.RESET_MID_ANSWER,
}


def read_sequence(given: object, *, call: Call) -> tuple[Scenario, ...]:
    """What the next calls meet; raises NotAFault, with the reason."""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise InvalidFault(f"{call}: {given!r:.100} is no list of faults")
    plans = tuple(read_fault(fault, call=call) for fault in given)
    if any(plan.repeat for plan in plans[:-1]):
        raise InvalidFault("repeat: only the last fault of a sequence can be repeated")
    return plans


def read_fault(given: object, *, call: Call) -> Scenario:
    """One fault; raises NotAFault, with the reason, for an unknown name or parameter."""
    parameters = Parameters({"fault": given} if isinstance(given, str) else given)
    name = parameters.text("fault")
    if name not in FAULTS:
        raise InvalidFault(f"fault: {name!r:.100} is none of {', '.join(FAULTS)}")
    plan = FAULTS[name](parameters, call)
    plan = replace(
        plan,
        name=name,
        repeat=parameters.flag("repeat"),
        cancelling=_cancelling(parameters, usual=plan.cancelling),
        delivery=_delivery(parameters, usual=plan.delivery),
    )
    parameters.refuse_the_rest()
    return plan


def _cancelling(parameters: Parameters, *, usual: CancelEffect) -> CancelEffect:
    if not parameters.flag("carried_out", default=usual.carried_out):
        return NOTHING
    return usual if usual.carried_out else EVERYTHING


def _delivery(parameters: Parameters, *, usual: Delivery) -> Delivery:
    return replace(usual, delay=parameters.seconds("delay", default=usual.delay))


def _ok(_parameters: Parameters, _call: Call) -> Scenario:
    return Scenario()


def _slow(parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(delivery=Delivery(delay=parameters.seconds("seconds", default=1.0)))


def _silent(_parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(delivery=Delivery(manner=DeliveryMode.SILENT), cancelling=NOTHING)


def _drip(parameters: Parameters, _call: Call) -> Scenario:
    part = parameters.one_of("part", allowed=("status", "headers", "body"), default="body")
    interval = parameters.seconds("interval", default=1.0)
    return Scenario(
        delivery=Delivery(manner=DeliveryMode.DRIP, dripped_part=part, interval=interval)
    )


def _endless(_parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(delivery=Delivery(manner=DeliveryMode.ENDLESS))


def _reset(parameters: Parameters, _call: Call) -> Scenario:
    # The exchange is named in the request, so "before reading" can only mean: before acting on it.
    # The client sees the same in both cases, a reset without one byte of an answer.
    when = parameters.one_of("when", allowed=tuple(_RESETS), default="after_reading")
    if when == "before_reading" and parameters.flag("carried_out"):
        raise InvalidFault("carried_out: a request that was not read cannot be carried out")
    return Scenario(delivery=Delivery(manner=_RESETS[when]), cancelling=NOTHING)


def _half_body(_parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(delivery=Delivery(manner=DeliveryMode.HALF_BODY))


def _close(_parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(delivery=Delivery(manner=DeliveryMode.CLOSE), cancelling=NOTHING)


def _partial(parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(cancelling=CancelEffect(leaves=parameters.whole("leaves", default=3)))


def _acknowledged_only(_parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(cancelling=NOTHING)


def _come_back(parameters: Parameters, _call: Call) -> Scenario:
    after = parameters.seconds("after", default=1.0)
    return Scenario(cancelling=CancelEffect(effect=Effect.COMES_BACK, after=after))


def _return_to_new(_parameters: Parameters, _call: Call) -> Scenario:
    return Scenario(cancelling=CancelEffect(effect=Effect.VENUE_REFUSES))


def _grouped(parameters: Parameters, _call: Call) -> Scenario:
    names = ("exchange_id", "exchange_name")
    return Scenario(grouped_by=parameters.one_of("by", allowed=names, default="exchange_id"))


FAULTS: Mapping[str, Builder] = {
    "ok": _ok,
    "message": answers.message,
    "reject": answers.reject,
    "empty": answers.empty,
    "unknown_shape": answers.unknown_shape,
    "not_json": answers.not_json,
    "oversized": answers.oversized,
    "endless": _endless,
    "bad_request": answers.bad_request,
    "unauthorised": answers.refused(status=401, text="Invalid API key"),
    "forbidden": answers.refused(status=403, text="Forbidden"),
    "not_found": answers.refused(status=404, text="Not found"),
    "too_many": answers.too_many,
    "redirect": answers.redirect,
    "server_error": answers.server_error,
    "hostile": answers.hostile,
    "raw": answers.raw,
    "slow": _slow,
    "silent": _silent,
    "drip": _drip,
    "reset": _reset,
    "half_body": _half_body,
    "close": _close,
    "partial": _partial,
    "acknowledged_only": _acknowledged_only,
    "come_back": _come_back,
    "return_to_new": _return_to_new,
    "grouped": _grouped,
}
