"""Reads the compose file as it stands, and turns each service into a `podman run`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^{}]*))?\}")  # without another one inside
SECONDS = re.compile(r"(\d+)s")


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service; `settings` are those of the compose file, with variables filled in."""

    name: str
    settings: Mapping[str, Any]

    @property
    def image(self) -> str:
        return str(self.settings["image"])

    @property
    def environment(self) -> dict[str, str]:
        variables = self.settings.get("environment", {}).items()
        return {name: "" if value is None else str(value) for name, value in variables}

    @property
    def healthcheck(self) -> Sequence[str]:
        """Return the command that checks its health, empty without one."""
        kind, *words = self.settings.get("healthcheck", {}).get("test", ["NONE"])
        return ["sh", "-c", *words] if kind == "CMD-SHELL" else [str(word) for word in words]

    @property
    def stop_timeout_s(self) -> int:
        return _seconds(self.settings.get("stop_grace_period", "10s"))

    def arguments(self, *, hosts: Sequence[str]) -> Iterator[str]:
        """Yield the arguments of `podman run`; all services share the network of this machine."""
        settings = self.settings
        yield from ("--name", self.name, "--network", "host")
        for host in hosts:
            yield from ("--add-host", f"{host}:127.0.0.1")
        for name, value in self.environment.items():
            yield from ("--env", f"{name}={value}")
        for path in settings.get("tmpfs", ()):
            yield from ("--tmpfs", path)
        for volume in settings.get("volumes", ()):
            yield from ("--volume", volume)
        for capability in settings.get("cap_drop", ()):
            yield from ("--cap-drop", capability)
        for option in settings.get("security_opt", ()):
            yield from ("--security-opt", option.replace(":true", ""))
        for name, flag in (("read_only", "--read-only"), ("init", "--init")):
            if settings.get(name):
                yield flag
        if "user" in settings:
            yield from ("--user", settings["user"])
        yield self.image
        yield from map(str, settings.get("command", ()))


def services(path: Path, *, variables: Mapping[str, str]) -> dict[str, Service]:
    """Return the services by name. Raises `SystemExit` for a variable that must be set."""

    def value_of(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if name in variables:
            return variables[name]
        if kind == "?":
            missing.append(f"{name}: {text}")
        return text or ""

    missing: list[str] = []
    text, count = path.read_text(), 1
    while count:  # a default may contain variables
        text, count = VARIABLE.subn(value_of, text)
    if missing:
        raise SystemExit("\n".join(missing))
    text = text.replace("$$", "$")
    content = yaml.safe_load(text)
    return {
        name: Service(name=name, settings=settings)
        for name, settings in content["services"].items()
    }


def _seconds(text: str) -> int:
    match = SECONDS.fullmatch(text)
    return int(match[1]) if match else 10
