"""Compares the users with the events that added and changed them.

Passwords, sign-ins and second factors are not compared: events do not carry their values.
"""

from killswitch.accounts.changes import WATCHED
from killswitch.accounts.models import User
from killswitch.audit.event_reader import read
from killswitch.audit.models import EventKind
from killswitch.audit.reconciliation.comparison import reconcilers
from killswitch.audit.reconciliation.replayed_table import ReplayedTable

REPLAYED_USERS = ReplayedTable(
    noun="user",
    kinds=(
        EventKind.PERSON_ADDED,
        EventKind.PERSON_CHANGED,
        EventKind.ROLE_CHANGED,
        EventKind.PASSWORD_CHANGED,  # whether it must be changed at the next sign-in
    ),
    named_by="username",
    name_in=lambda event: read(event).text("username"),
    columns=WATCHED,
    rows=lambda: User.objects.order_by("id").values(*WATCHED),
)
reconcilers.append(REPLAYED_USERS.discrepancies)
