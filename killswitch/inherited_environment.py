"""Keeps the variables of other programs out of this one.

A shell, a service manager or a container image may export variables that Python, Celery, granian,
Django or libpq would obey: a queue, a database server or a module of another program. Only the
variables named here are kept, so a variable that a library reads in a later version is ignored too.
docs/operating.md has the list for operators.
"""

import os
import sys
from collections.abc import Mapping

PROJECT_DIRECTORY = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
OWN_PREFIXES = ("KILLSWITCH_", "EMS_")
# The settings without one of these prefixes.
OWN = {
    *("ALARM_OVERDUE_MIN", "ALERT_ESCALATE_AFTER_MIN"),
    *(
        "ALERT_URLS",
        "ARCHIVE_URLS",
        "ALLOWED_HOSTS",
        "AUDIT_SIGNING_KEY",
        "CANCEL_DEADLINE",
        "DATABASE_URL",
    ),
    *("HOLD_INTERVAL", "HOLD_RELEASE_PERSONS"),
    *("HOST", "LOG_FORMAT", "LOG_LEVEL", "OBSERVE_INTERVAL", "PORT", "REDIS_URL"),
    "REQUEST_MAX_AGE",
    *("SECOND_FACTOR", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "SESSION_HOURS", "SIMULATOR_PORT"),
    *("TRUSTED_PROXY_COUNT",),
    # The same secrets in files.
    *("ALERT_URLS_FILE", "ARCHIVE_URLS_FILE", "AUDIT_SIGNING_KEY_FILE", "DATABASE_URL_FILE"),
    *("REDIS_URL_FILE", "SECRET_KEY_FALLBACKS_FILE", "SECRET_KEY_FILE"),
}
SYSTEM_PREFIXES = ("DYLD_", "KRB5", "LC_", "LD_", "MALLOC_", "OPENSSL_", "XDG_")
SYSTEM = {
    *("COLUMNS", "GLIBC_TUNABLES", "HOME", "HOSTNAME", "LANG", "LANGUAGE", "LINES", "LOCALDOMAIN"),
    *("LOGNAME", "NO_COLOR", "PATH", "RES_OPTIONS", "SHELL", "TEMP", "TERM", "TMP", "TMPDIR"),
    *("TZ", "TZDIR", "USER"),
    # Notifications may have to pass a proxy. Calls of the EMS ignore these.
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("all_proxy", "http_proxy", "https_proxy", "no_proxy"),
    *("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
    # These only change when Python writes.
    *("PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "PYTHONUNBUFFERED"),
}
# How libpq proves who it is and checks who responds. Where the database is and how its sessions
# behave is in DATABASE_URL alone.
LIBPQ_PREFIXES = ("PGGSS", "PGSSL")
LIBPQ = {
    *("PGCHANNELBINDING", "PGKRBSRVNAME", "PGPASSFILE", "PGPASSWORD", "PGREQUIREAUTH"),
    *("PGREQUIREPEER", "PGREQUIRESSL"),
}
KEPT_PREFIXES = OWN_PREFIXES + SYSTEM_PREFIXES + LIBPQ_PREFIXES
KEPT = OWN | SYSTEM | LIBPQ


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are this program's own or the operating system's."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT
        or name.startswith(KEPT_PREFIXES)
        or (name == "PYTHONPATH" and value == PROJECT_DIRECTORY)  # set by the supervisor
    }


def use_own() -> None:
    """Remove the variables of other programs from this process, and name our settings."""
    environment = kept(os.environ) | {"DJANGO_SETTINGS_MODULE": "killswitch.settings"}
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def restart_if_python_was_changed() -> None:
    """Start this process again if Python itself has obeyed a variable of another program.

    Modules are already replaced, assertions removed or warnings turned into errors by then, and
    only a new interpreter undoes all of it. The process keeps its number, parent and files.
    """
    foreign_names = os.environ.keys() - kept(os.environ).keys()
    if sys.flags.ignore_environment or not any(
        name.startswith("PYTHON") and os.environ[name] for name in foreign_names
    ):
        return
    use_own()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
