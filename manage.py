#!/usr/bin/env python
"""Django's command-line utility: `manage.py up` starts the whole system."""

import os
import sys

# With PYTHONSAFEPATH, Python does not look for modules in the directory of this file.
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from killswitch import inherited_environment


def main() -> None:
    """Run a management command with the project's settings."""
    inherited_environment.restart_if_python_was_changed()
    inherited_environment.use_own()
    # Only now: other programs' modules and variables have no influence any more.
    from killswitch.supervision.command_line import execute

    execute(sys.argv)


if __name__ == "__main__":
    main()
