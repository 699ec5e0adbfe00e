"""When the database checks foreign keys."""

from django.db import connection


def check_foreign_keys_at_once() -> None:
    """Check them with each statement of this transaction, not at its commit.

    PostgreSQL would otherwise lock the row of a person at the commit, while the log is locked. A
    change of that person locks them in the other order: a deadlock.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
