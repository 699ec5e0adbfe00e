"""What is allowed, and is probably a mistake: said to whoever starts the system."""

from collections.abc import Iterator

from django.conf import settings

from killswitch.supervision import database_checks, listing

MIN_KEY_CHARS = 32  # signs
OF_A_REAL_EMS = ("EMS_API_KEY", "EMS_CLIENT_CERT", "EMS_CA_BUNDLE")


def warnings() -> list[str]:
    """A sentence for each; the database must be prepared."""
    return [*listing.warnings(settings.KILLSWITCH_EXCHANGES), *_of_the_ems(), *_of_the_key()]


def _of_the_ems() -> Iterator[str]:
    names = [name for name in OF_A_REAL_EMS if getattr(settings, name)]
    if settings.KILLSWITCH_ENVIRONMENT != "demo":
        names.insert(0, "KILLSWITCH_ENVIRONMENT")
    if settings.DEMO and names:
        are = "is" if len(names) == 1 else "are"
        yield (
            f"{' and '.join(names)} {are} set, but EMS_BASE_URL is not: nothing real is cancelled."
        )
    if database_checks.was_the_demos():
        yield (
            f"The database {database_checks.name()} was a demo's: its simulated exchanges are"
            " enabled, and its kills are in the log. For a real EMS set KILLSWITCH_HOME to a new"
            " directory."
        )


def _of_the_key() -> Iterator[str]:
    if settings.DATABASE_URL and len(settings.SECRET_KEY) < MIN_KEY_CHARS:
        yield (
            f"SECRET_KEY is shorter than {MIN_KEY_CHARS} signs: who guesses it can sign in as"
            " anybody. Put it into SECRET_KEY_FALLBACKS, and make another one."
        )
