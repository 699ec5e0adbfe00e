from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RuntimeConfig(AppConfig):
    name = "killswitch.runtime"
    label = "live"  # as when its tables were created

    def ready(self) -> None:
        post_migrate.connect(_make_the_counter, sender=self)


def _make_the_counter(**_: Any) -> None:
    from killswitch.runtime.revisions import Revision

    Revision.objects.get_or_create(id=1)
