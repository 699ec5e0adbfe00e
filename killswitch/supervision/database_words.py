"""Says where the database is, and what to do about a connection that it refuses."""

from django.conf import settings
from django.db import connection

from killswitch import several_hosts

# In the words of libpq.
ADVICE = {
    "does not match host name": "write the host in DATABASE_URL as its certificate names it, or"
    " have a certificate issued for this name",
    "certificate verify failed": "the server shows a certificate that the authority in sslrootcert"
    " has not issued, or that has expired. Name the PEM file of the authority that issued it, or"
    " have it renewed; do not weaken sslmode, because this may be another server",
    "root certificate file": "name the PEM file of the authority that issued the server's"
    " certificate as sslrootcert in DATABASE_URL, and let this user read it",
    "does not support SSL": "turn on ssl in the configuration of the server",
}


def database_name() -> str:
    """Return where the database is, without its password."""
    database = settings.DATABASES["default"]
    if connection.vendor == "sqlite":
        return str(database["NAME"])
    return f"{database['NAME']} at {' or '.join(several_hosts.addresses(database))}"


def explained(reason: str) -> str:
    """Return the reason why a connection failed, with what to do about some of them."""
    advice = next((text for words, text in ADVICE.items() if words in reason), "")
    if "unsupported startup parameter" in reason:
        advice = (
            "PgBouncer refuses the time limits of our sessions. Set ignore_startup_parameters ="
            " options in its configuration, or add options= to DATABASE_URL, so that they are not"
            " sent; the limits are then off until you run, with the user of DATABASE_URL:"
            f" {'; '.join(map(role_setting, settings.POSTGRESQL_SESSION))}"
        )
    return f"{reason.rstrip('.')}: {advice}" if advice else reason


def role_setting(name: str) -> str:
    """Return the statement that sets this parameter of sessions, whatever a pooler passes on."""
    return f"ALTER ROLE CURRENT_USER SET {name} = '{settings.POSTGRESQL_SESSION[name]}'"
