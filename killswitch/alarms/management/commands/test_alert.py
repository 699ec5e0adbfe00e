"""`manage.py test_alert`: sends a test message to every channel."""

import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from killswitch.alarms.messages import Message
from killswitch.alarms.models import Severity
from killswitch.alarms.outbox import send_message
from killswitch.alarms.services import archives, channels

ALERT = Message(
    title="Test of the alarm channels",
    body=(
        "This is a test. An alarm of the kill switch would reach you like this. No action is"
        " needed."
    ),
    severity=Severity.NOTICE,
)
ARCHIVE = Message(
    title="Test of the archives of the audit log",
    body="This is a test. Checkpoints of the audit log are sent here. Keep them.",
    urgent=False,
    severity=Severity.NOTICE,
)


class Command(BaseCommand):
    """Exits with 0 if every channel has accepted the message, 1 if not, 2 if there is none."""

    help = (
        "Send a test message to every URL of ALERT_URLS and ARCHIVE_URLS, and print what each"
        " answered. Needs neither the database nor any other process."
    )
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        groups: Mapping[str, tuple[Mapping[str, str], Message]] = {
            "ALERT_URLS": (channels(), ALERT),
            "ARCHIVE_URLS": (archives(), ARCHIVE),
        }
        if not any(urls for urls, _ in groups.values()):
            self.stderr.write("ALERT_URLS and ARCHIVE_URLS are not set: no one would be notified.")
            sys.exit(2)
        failures = 0
        for name, (urls, message) in groups.items():
            if not urls:
                self.stderr.write(f"{name} is not set.")
            for channel, url in urls.items():
                error = send_message(url=url, message=message)
                failures += bool(error)
                self.stdout.write(f"{name} {channel}: {error or 'accepted'}")
        sys.exit(1 if failures else 0)
