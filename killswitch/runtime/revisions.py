"""What has changed since a page last looked: one number that every change raises."""

from django.db import connection, models


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
    """The newest number. Read it *before* the rows: a row may then be seen twice, never missed."""
    return Revision.objects.values_list("value", flat=True).get(id=1)


def next_revision() -> int:
    """Raise the number inside the writer's transaction, after its other rows are locked.

    The row stays locked until the commit, so numbers become visible in their order. Everything
    that also appends to the audit log does so after this, which keeps the order of locks the same
    everywhere: rows, revision, chain.
    """
    with connection.cursor() as cursor:
        cursor.execute("UPDATE live_revision SET value = value + 1 WHERE id = 1 RETURNING value")
        return int(cursor.fetchone()[0])
