"""A query that is compiled once gives what Django's own gives, each time anew."""

import pytest
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from killswitch.accounts.models import Role, User
from killswitch.cancels.models import CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.runtime.compiled_query import CompiledQuery
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

FIELDS = [field.attname for field in User._meta.concrete_fields]


def test_it_gives_the_values_of_the_rows_as_they_are_now() -> None:
    query = CompiledQuery(lambda pk: User.objects.filter(pk=pk).values_list(*FIELDS), parameters=1)
    user = factories.person(Role.RISK_OFFICER, last_login=timezone.now())
    for is_active in (True, False):
        User.objects.update(is_active=is_active)
        expected = User.objects.filter(pk=user.pk).values_list(*FIELDS).get()
        with CaptureQueriesContext(connection) as queries:
            assert query.first(user.pk) == expected
        assert len(queries) == 1
    assert query.first(user.pk + 1) is None


def test_it_gives_every_row() -> None:
    query = CompiledQuery(
        lambda position: Exchange.objects.filter(position__gt=position).values_list("pk"),
        parameters=1,
    )
    one, two, _ = factories.exchanges(3)
    assert list(query.rows(0)) == [(row.pk,) for row in Exchange.objects.all()]
    factories.change(one, position=-1)
    assert (two.pk,) in query.rows(0)
    assert (one.pk,) not in query.rows(0)


def test_parameters_have_their_places_and_other_values_stay() -> None:
    one, two, three = factories.exchanges(3)
    factories.change(two, name="KRAKEN")

    def build(name: str, *pks: int) -> QuerySet[Exchange, tuple[int]]:
        rows = Exchange.objects.filter(name=name) | Exchange.objects.filter(pk__in=pks)
        return rows.filter(enabled=True, position__lt=4, pk__in=pks).values_list("pk")

    query = CompiledQuery(build, parameters=3)
    assert set(query.rows("KRAKEN", one.pk, two.pk)) == {(one.pk,), (two.pk,)}
    assert set(query.rows("GEMINI", three.pk, 0)) == {(three.pk,)}


def test_it_gives_objects_as_django_does() -> None:
    made = factories.exchanges(3)
    factories.press(factories.person(Role.RISK_OFFICER), *made, reason="Drill")
    requests = CancelRequest.objects.select_related("batch").only("uuid", "status", "batch__reason")
    query = CompiledQuery(
        lambda pk: requests.filter(pk__gt=pk).annotate(
            is_first=ExpressionWrapper(Q(exchange_id="VENUE01"), output_field=BooleanField())
        ),
        parameters=1,
    )
    with CaptureQueriesContext(connection) as queries:
        rows = list(query.objects(0))
        assert [row.batch.reason for row in rows] == ["Drill"] * 3
        assert {row.is_first for row in rows} == {True, False}
    assert len(queries) == 1
    assert rows == list(CancelRequest.objects.all())
    assert {row.uuid for row in rows} == set(CancelRequest.objects.values_list("uuid", flat=True))
    assert rows[0].get_deferred_fields() == requests[0].get_deferred_fields()
    assert rows[0].message == ""


def test_it_refuses_another_number_of_parameters() -> None:
    query = CompiledQuery(lambda pk: Exchange.objects.filter(pk=pk).values_list("pk"), parameters=1)
    with pytest.raises(TypeError, match="the query has 1 parameters, not 2"):
        query.first(0, 1)


def test_it_refuses_a_parameter_that_is_not_compared_as_it_is() -> None:
    query = CompiledQuery(
        lambda pk: Exchange.objects.filter(pk=pk + 1).values_list("pk"), parameters=1
    )
    with pytest.raises(TypeError, match="compares 0 of its 1 parameters"):
        query.first(0)
