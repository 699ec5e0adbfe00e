"""The entry point of the web server's worker processes: the gate, and Django behind it."""

import sys

from killswitch.wsgi import application as django_application

# Only now: the gate reads the settings, which `wsgi` has prepared.
from killswitch.gate.application import Gate  # isort: skip
from killswitch.gate.routes import lane_of  # isort: skip

# A cancel waits this long for a thread that computes, at each of its statements and before and
# after its thread. Python's own interval is 5 ms.
SWITCH_INTERVAL_S = 0.001

sys.setswitchinterval(SWITCH_INTERVAL_S)
lane_of("GET", "/")  # imports the views before the first request
application = Gate(django_application)
