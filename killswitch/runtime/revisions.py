"""Revisions: one number that every visible change raises, so that pages can ask what is new."""

import time
from typing import Final

from django.db import connection, models
from django.db.models.functions import Greatest

# After each restore of a backup the number goes on from the time in millionths of a second, so that
# it is far from all that any page has. A page that lags behind by half of that, after a day or
# more, gets everything again as well.
RESTORE_STEP: Final = 1_000_000


class Revision(models.Model):
    """The single row that holds the number."""

    value = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_revision_counter")
        ]

    def __str__(self) -> str:
        return str(self.value)


class Revisioned(models.Model):
    """A row that a page shows: `revision` is the number of its last visible change."""

    revision = models.BigIntegerField(default=0, db_index=True, editable=False)

    class Meta:
        abstract = True


def current() -> int:
    """Return the newest revision. Read it *before* rows: a row may be seen twice, never missed."""
    return Revision.objects.values_list("value", flat=True).get(id=1)


def next_revision() -> int:
    """Raise and return the number, in the transaction of the change. For the recorder only.

    The row stays locked until the commit, so numbers become visible in their order.
    """
    with connection.cursor() as cursor:
        cursor.execute("UPDATE live_revision SET value = value + 1 WHERE id = 1 RETURNING value")
        return int(cursor.fetchone()[0])


def mark_restore() -> None:
    """Let every open page load everything again: its revision belongs to the database before."""
    Revision.objects.filter(id=1).update(
        value=Greatest(models.F("value"), int(time.time()) * RESTORE_STEP) + RESTORE_STEP
    )


def usable_since(known: int | None, *, newest: int) -> int:
    """Return the revision that a page has, or -1 if it is nonsense or of another database."""
    if known is None or known > newest or newest - known >= RESTORE_STEP // 2:
        return -1
    return known
