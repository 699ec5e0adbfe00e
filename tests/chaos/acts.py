"""What is done to the system: each act breaks something, and most give it back by themselves."""

import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psutil
import psycopg

from tests.chaos.hosts import ROLES, Installation

HANG_S = (1.0, 4.0)
EMS_FAULTS: Sequence[list[dict[str, Any]]] = (
    [{"fault": "server_error", "status": 503}] * 3,
    [{"fault": "silent", "carried_out": True}],
    [{"fault": "reset", "carried_out": True}],
    [{"fault": "close"}] * 2,
    [{"fault": "half_body", "carried_out": True}],
    [{"fault": "slow", "seconds": 1}],
    [{"fault": "partial", "leaves": 1}],
    [{"fault": "reject", "reason": "INVALID_TYPE"}],
)

Act = Callable[[Installation, random.Random], None]


def kill_a_program(system: Installation, dice: random.Random) -> None:
    _signal(_program(system, dice)[:1], signal.SIGKILL)


def kill_a_web_process(system: Installation, dice: random.Random) -> None:
    _signal(dice.choice(system.hosts).processes("web")[1:2], signal.SIGKILL)


def terminate_a_program(system: Installation, dice: random.Random) -> None:
    _signal(_program(system, dice)[:1], signal.SIGTERM)


def hang_a_program(system: Installation, dice: random.Random) -> None:
    _hang(_program(system, dice), dice)


def end_all_database_sessions(system: Installation, _dice: random.Random) -> None:
    with (
        suppress(psycopg.Error),
        psycopg.connect(system.postgresql.get_uri(), autocommit=True) as database,
    ):
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def crash_postgresql(system: Installation, dice: random.Random) -> None:
    process = psutil.Process(system.postgresql.get_pid())
    process.send_signal(signal.SIGQUIT)  # at once, with a recovery at the next start
    process.wait(timeout=30)
    time.sleep(dice.uniform(0, 3))
    system.postgresql.start()


def hang_postgresql(system: Installation, dice: random.Random) -> None:
    main = psutil.Process(system.postgresql.get_pid())
    _hang([main, *main.children(recursive=True)], dice)


def crash_redis(system: Installation, dice: random.Random) -> None:
    system.redis.kill()
    time.sleep(dice.uniform(0, 3))
    system.redis.start()


def empty_redis(system: Installation, _dice: random.Random) -> None:
    with system.redis.client() as client:
        client.flushall()


def hang_redis(system: Installation, dice: random.Random) -> None:
    if system.redis.process:
        _hang([psutil.Process(system.redis.process.pid)], dice)


def disturb_the_ems(system: Installation, dice: random.Random) -> None:
    faults = dice.choice(EMS_FAULTS)
    for exchange_id in system.exchange_ids:
        system.ems.script(exchange_id, cancel=faults)


def disturb_the_lists(system: Installation, dice: random.Random) -> None:
    for exchange_id in dice.sample(system.exchange_ids, 5):
        system.ems.script(exchange_id, list=[{"fault": "server_error", "status": 500}] * 3)


ACTS: Sequence[Act] = (
    kill_a_program,
    kill_a_program,  # twice as likely
    kill_a_web_process,
    terminate_a_program,
    hang_a_program,
    end_all_database_sessions,
    crash_postgresql,
    hang_postgresql,
    crash_redis,
    empty_redis,
    hang_redis,
    disturb_the_ems,
    disturb_the_lists,
)


def name_of(act: Act) -> str:
    return act.__name__.replace("_", " ")


def _program(system: Installation, dice: random.Random) -> list[psutil.Process]:
    return dice.choice(system.hosts).processes(dice.choice(ROLES))


def _hang(processes: Sequence[psutil.Process], dice: random.Random) -> None:
    _signal(processes, signal.SIGSTOP)
    time.sleep(dice.uniform(*HANG_S))
    _signal(processes, signal.SIGCONT)


def _signal(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
