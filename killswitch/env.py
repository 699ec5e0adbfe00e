"""Reads settings from the environment; an invalid value raises with its name and a hint."""

import os
import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from killswitch.runtime.files import read_or_create

# A file or socket in a URL, below a home directory.
HOME_IN_URL = re.compile(r"(^sqlite:///|^unix://|[?&](?:ssl\w*|passfile)=)/?(~[^?&]*)")
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\]")


def text(name: str, default: str = "") -> str:
    """Return the variable without surrounding spaces; an empty one counts as not set."""
    return os.environ.get(name, "").strip() or default


def seconds(
    name: str, default: float, *, lowest: float, highest: float, unit: str = "seconds"
) -> float:
    """Return a number of seconds, or of another unit, within bounds."""
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
    """Return a whole number within bounds."""
    value = text(name, str(default))
    if not value.isascii() or not value.isdigit() or not lowest <= int(value) <= highest:
        raise ImproperlyConfigured(
            f"{name}={value!r}: give a whole number from {lowest} to {highest}."
        )
    return int(value)


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of the allowed words, in lower case."""
    value = text(name, default).lower()
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r}: give one of {', '.join(allowed)}.")
    return value


def path(name: str, default: str = "") -> str:
    """Return a path; `~` and `~user` at its beginning are home directories, as in a shell."""
    return _expanded(text(name, default), name=name)


def _expanded(path: str, *, name: str) -> str:
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ImproperlyConfigured(
            f"{name}: this machine knows no home directory {path.split('/', 1)[0]}. Write the whole"
            " path."
        )
    return expanded


def url(name: str, *, schemes: tuple[str, ...]) -> str:
    """Return a URL with one of the schemes, or an empty text.

    The error does not repeat the URL: it may contain a password.
    """
    value = text(name)
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for an invalid port
        is_valid = parts.scheme in schemes
    except ValueError:
        is_valid = False
    if not is_valid:
        prefixes = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ImproperlyConfigured(
            f"{name} must be a URL that starts with {prefixes}, without quotation marks; its port,"
            " if any, must be a number up to 65535."
        )
    return HOME_IN_URL.sub(lambda match: match[1] + _expanded(match[2], name=name), value)


def hosts(name: str, default: str) -> list[str]:
    """Return host names as browsers send them; any other notation would never match."""
    names = text(name, default).split()
    for host in names:
        if not HOST.fullmatch(host):
            raise ImproperlyConfigured(
                f"{name}: {host!r} is not a host name. Give host names separated by spaces,"
                " without scheme, port or path, e.g. killswitch.example.com; IPv6 like [::1]."
            )
    return names


def home(name: str, default: Path) -> Path:
    """Return the data directory, which holds every file that is written; create it if missing.

    It may be read-only: a cancel must go out all the same. The start checks that it can be written.
    """
    directory = Path(path(name, str(default))).absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name}: the directory {directory} cannot be created ({error.strerror})."
            " Name one that this user may write to."
        ) from None
    return directory


def kept_secret(path: Path) -> str:
    """Return a random secret, created on first use in a file that only this user can read."""
    try:
        secret = read_or_create(path, lambda: secrets.token_urlsafe(50).encode()).decode()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ImproperlyConfigured(
            f"KILLSWITCH_HOME: {path} cannot be used ({reason}). Free some space there, let this"
            " user read it, or name another directory."
        ) from None
    if not secret:
        raise ImproperlyConfigured(
            f"KILLSWITCH_HOME: {path} is empty. Delete it, and a new secret is created."
        )
    return secret
