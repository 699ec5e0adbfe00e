"""Warns about a misconfigured proxy: once for each problem in each process, not on each request."""

import structlog

log = structlog.get_logger(__name__)
_logged_problems: set[str] = set()


def warn_once(problem: str, **facts: str | int) -> None:
    """Log what is wrong and what arrived; `problem` is a sentence without foreign text."""
    if problem not in _logged_problems:
        _logged_problems.add(problem)
        log.warning("proxy_misconfigured", problem=problem, **facts)
