"""The unanswered queries of compliance to one user, as the header of every page counts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from killswitch.accounts.models import User
from killswitch.audit.query_answers import OpenQuery, unanswered


@dataclass(frozen=True, kw_only=True)
class QueriesToUser:
    """The queries that ask a user, oldest first."""

    queries: Sequence[OpenQuery]

    @classmethod
    def of(cls, user: object) -> Self:
        """Return the queries to a user who has signed in; none for anyone else."""
        return cls(queries=unanswered(user.username) if isinstance(user, User) else ())

    @property
    def count(self) -> int:
        return len(self.queries)

    @property
    def text(self) -> str:
        """Return what a page sends back, so that the poller knows what it shows."""
        newest = max((seq for query in self.queries for seq in query.seqs), default=0)
        return f"{self.count}:{newest}"
