"""The Celery application: the queue `cancel`, configured by the `CELERY_…` settings."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")

app = Celery("killswitch")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def leave_logging_alone(**_: Any) -> None:
    """A receiver of this signal keeps Celery from replacing the log that Django has set up."""


setup_logging.connect(leave_logging_alone, weak=False)
