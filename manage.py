#!/usr/bin/env python
"""Django's command-line utility: `manage.py up` starts the whole system."""

import os
import sys

from killswitch.supervision.command_line import execute


def main() -> None:
    """Run a management command with the project's settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")
    execute(sys.argv)


if __name__ == "__main__":
    main()
