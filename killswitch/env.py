"""Reads settings from the environment; a wrong value ends the start with its name and a hint."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\]")


def text(name: str, default: str = "") -> str:
    """The variable without surrounding white space; an empty one counts as not set."""
    return os.environ.get(name, "").strip() or default


def seconds(
    name: str, default: float, *, lowest: float, highest: float, unit: str = "seconds"
) -> float:
    """A number of seconds, or of another unit, within bounds."""
    value = text(name)
    if not value:
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not lowest <= number <= highest:
        raise ImproperlyConfigured(
            f"{name}={value!r}: give a number of {unit} from {lowest:g} to {highest:g}."
        )
    return number


def integer(name: str, default: int, *, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    value = text(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not lowest <= int(value) <= highest:
        raise ImproperlyConfigured(
            f"{name}={value!r}: give a whole number from {lowest} to {highest}."
        )
    return int(value)


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """One of a few words."""
    value = text(name, default).lower()
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r}: give one of {', '.join(allowed)}.")
    return value


def url(name: str, *, schemes: tuple[str, ...]) -> str:
    """A URL with one of the schemes, or nothing. It is not repeated: it may hold a secret."""
    value = text(name)
    if value and not _is_url(value, schemes=schemes):
        starts = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ImproperlyConfigured(
            f"{name} must be a URL that starts with {starts}, and whose port, if any, is a number"
            " up to 65535."
        )
    return value


def hosts(name: str, default: str) -> list[str]:
    """Host names as browsers send them; another notation would match no address ever."""
    names = text(name, default).split()
    if wrong := [one for one in names if not HOST.fullmatch(one)]:
        raise ImproperlyConfigured(
            f"{name}: {wrong[0]!r} is no host name. Give host names separated by white space,"
            " without scheme, port or path, e.g. killswitch.example.com; IPv6 like [::1]."
        )
    return names


def _is_url(value: str, *, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # reading it is what tries it
    except ValueError:
        return False
    return parts.scheme in schemes


def home(name: str, default: Path) -> Path:
    """The one directory that everything is written to, made when it is not there."""
    path = Path(text(name, str(default))).absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name}: the directory {path} cannot be made ({error.strerror})."
            " Name one that this user may write to."
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(
            f"{name}: the directory {path} cannot be written to by this user."
        )
    return path


def kept_secret(path: Path) -> str:
    """A random secret made on first use and kept in a file that only this user can read."""
    try:
        if not path.exists():
            _write_secret(path)
        kept = path.read_text()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ImproperlyConfigured(
            f"KILLSWITCH_HOME: {path} cannot be used ({reason}). Make room there, let this user"
            " read it, or name another directory."
        ) from None
    if not kept:
        raise ImproperlyConfigured(
            f"KILLSWITCH_HOME: {path} is empty. Delete it, and a new secret is made."
        )
    return kept


def _write_secret(path: Path) -> None:
    """Whole or not at all; the first of several processes wins."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            os.fsync(handle)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
