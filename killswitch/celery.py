"""The Celery application, configured by the settings that begin with `CELERY_`."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")

app = Celery("killswitch")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Do nothing: with a receiver of this signal, Celery does not replace Django's logging."""
