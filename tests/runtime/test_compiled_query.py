"""A query that is compiled once gives what Django's own gives, each time anew."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from killswitch.accounts.models import Role, User
from killswitch.exchanges.models import Exchange
from killswitch.runtime.compiled_query import CompiledQuery
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

FIELDS = [field.attname for field in User._meta.concrete_fields]


def test_it_gives_the_values_of_the_rows_as_they_are_now() -> None:
    query = CompiledQuery(lambda: User.objects.filter(pk=0).values_list(*FIELDS))
    user = factories.person(Role.RISK_OFFICER, last_login=timezone.now())
    for is_active in (True, False):
        User.objects.update(is_active=is_active)
        expected = User.objects.filter(pk=user.pk).values_list(*FIELDS).get()
        with CaptureQueriesContext(connection) as queries:
            assert query.first(user.pk) == expected
        assert len(queries) == 1
    assert query.first(user.pk + 1) is None


def test_it_gives_every_row() -> None:
    query = CompiledQuery(lambda: Exchange.objects.filter(position__gt=0).values_list("pk"))
    one, two, _ = factories.exchanges(3)
    assert list(query.rows(0)) == [(row.pk,) for row in Exchange.objects.all()]
    factories.change(one, position=-1)
    assert (two.pk,) in query.rows(0)
    assert (one.pk,) not in query.rows(0)


def test_it_refuses_a_query_with_a_value_that_would_stay_as_it_is() -> None:
    query = CompiledQuery(
        lambda: Exchange.objects.filter(position__gt=0, name="KRAKEN").values_list("pk")
    )
    with pytest.raises(TypeError, match="the query has 2 parameters, not 1"):
        query.first(0)
