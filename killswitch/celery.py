"""The Celery application, configured by the settings that begin with `CELERY_`."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

from killswitch import inherited_environment

if not settings.configured:  # started by Celery's own command
    # Celery prefers CELERY_BROKER_URL in the environment to the setting of that name.
    inherited_environment.use_own()

app = Celery("killswitch")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Do nothing: with a receiver of this signal, Celery does not replace Django's logging."""
