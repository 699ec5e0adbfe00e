"""Reads settings from the environment; an invalid value raises with its name and a hint."""

import os
import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from killswitch import several_hosts
from killswitch.runtime.files import open_regular, read_or_create

# A file or socket in a URL, below a home directory.
HOME_IN_URL = re.compile(r"(^sqlite:///|^unix://|[?&](?:ssl\w*|passfile)=)/?(~[^?&]*)")
# Secrets, which may be the content of a file instead: with X_FILE, X is not set. Processes of the
# same user can read the variables of each other, and crash reports and service managers show them.
FROM_FILES = (
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "EMS_API_KEY", "AUDIT_SIGNING_KEY"),
    *("DATABASE_URL", "REDIS_URL", "ALERT_URLS", "ARCHIVE_URLS", "KILLSWITCH_PASSWORD"),
)
# A PEM, or values that white space separates.
SEVERAL_LINES = {"AUDIT_SIGNING_KEY", "SECRET_KEY_FALLBACKS", "ALERT_URLS", "ARCHIVE_URLS"}
MAX_FILE_BYTES = 64 * 1024
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9A-Fa-f:.]+\]")


def text(name: str, default: str = "") -> str:
    """Return the variable without surrounding spaces; an empty one counts as not set.

    One of FROM_FILES may be in a file.
    """
    value = secret(name) if name in FROM_FILES else os.environ.get(name, "")
    return value.strip() or default


def secret(name: str) -> str:
    """Return the variable, or the content of the file that the variable X_FILE names.

    The final line break is not part of the value. Errors repeat neither value.
    """
    value = os.environ.get(name, "")
    variable = f"{name}_FILE"
    file = os.environ.get(variable, "").strip()
    if not file:
        return value
    if value.strip():
        raise ImproperlyConfigured(
            f"{name} and {variable} are both set. Unset one of them: {variable} if the value is in"
            f" {name}, otherwise {name}."
        )
    path = Path(_expanded(file, name=variable))
    if not path.is_absolute():  # it may be the secret itself, so it is not repeated
        raise ImproperlyConfigured(
            f"{variable} must be the absolute path of a file that contains the value of {name}."
        )
    try:
        return _content(path, is_one_line=name not in SEVERAL_LINES)
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except ValueError as error:
        reason = str(error)
    raise ImproperlyConfigured(
        f"{variable}: {path} {reason}. Name a text file that this user can read and that contains"
        f" only the value of {name}."
    )


def _content(path: Path, *, is_one_line: bool) -> str:
    """Return the text of a small file without its final line break.

    Raises OSError, and ValueError with what is wrong with the content.
    """
    with open_regular(path) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")  # without the mark that editors of Windows put first
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8") from None
    if "\0" in text:  # such as a file that was not written completely before a power failure
        raise ValueError("is not text")
    if not text.strip():
        raise ValueError("is empty")
    if is_one_line and len(text.strip().splitlines()) > 1:
        raise ValueError("contains several lines")
    return text.removesuffix("\n").removesuffix("\r")


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


def url(name: str, *, schemes: tuple[str, ...], may_have_hosts: bool = False) -> str:
    """Return a URL with one of the schemes, or an empty text; it may have several hosts if allowed.

    The error does not repeat the URL: it may contain a password.
    """
    value = text(name)
    if not value:
        return ""
    try:
        urls = several_hosts.split(value) if may_have_hosts else [value]
        is_valid = all(_is_url(one, schemes=schemes) for one in urls)
    except ValueError:
        is_valid = False
    if not is_valid:
        prefixes = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ImproperlyConfigured(
            f"{name} must be a URL that starts with {prefixes}, without quotation marks; its port,"
            " if any, must be a number up to 65535."
            + (f" {several_hosts.HINT}" if may_have_hosts else "")
        )
    return HOME_IN_URL.sub(lambda match: match[1] + _expanded(match[2], name=name), value)


def _is_url(value: str, *, schemes: tuple[str, ...]) -> bool:
    """Return whether it has one of the schemes. Raises `ValueError` if it cannot be read."""
    parts = urlsplit(value)
    _ = parts.port  # raises ValueError for an invalid port
    return parts.scheme in schemes


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
