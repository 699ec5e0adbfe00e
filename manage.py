#!/usr/bin/env python
"""The command line: `manage.py up` starts the whole system, `manage.py help` lists the rest."""

import os
import sys

# Not 1: for `cancel_all` that means "recorded, not all confirmed", for `verify_audit` "a bad log".
CANNOT_START = 2


def main() -> None:
    """Run one management command with the project's settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        sys.stderr.write(f"killswitch cannot start: {wrong}\n")
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()
