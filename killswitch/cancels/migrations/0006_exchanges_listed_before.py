from django.db import migrations
from django.db.models import F, Q


def mark_listed_exchanges(apps, _schema_editor):
    exchanges = apps.get_model("exchanges", "Exchange").objects.filter(seen_at__isnull=False)
    requests = apps.get_model("cancels", "CancelRequest").objects.filter(
        Q(open_before__gt=0) | Q(open_after__gt=0)
    )
    with_orders = Q(open_orders__gt=0) | Q(pk__in=requests.values("configured_exchange"))
    exchanges.filter(with_orders).update(first_listed_at=F("seen_at"))


class Migration(migrations.Migration):
    """Exchanges of which this database shows open orders, now or in a request, have been listed."""

    dependencies = [
        ("cancels", "0005_lease_token_and_beats"),
        ("exchanges", "0005_first_listed_at"),
    ]

    operations = [migrations.RunPython(mark_listed_exchanges, migrations.RunPython.noop)]
