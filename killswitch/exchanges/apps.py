from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ExchangesConfig(AppConfig):
    name = "killswitch.exchanges"

    def ready(self) -> None:
        post_migrate.connect(_create_observation, sender=self)


def _create_observation(**_: Any) -> None:
    from killswitch.exchanges.models import Observation

    Observation.objects.get_or_create(id=1)
