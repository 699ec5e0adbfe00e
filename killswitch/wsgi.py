"""The web's entry point for the server's worker processes."""

import os

from django.core.wsgi import get_wsgi_application

from killswitch.supervision import parent_death

# Workers of a killed server would go on serving from its shared port, beside their successors.
parent_death.die_with_server()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")
application = get_wsgi_application()

# Only now: Django must be set up before its models are imported. The first press need not wait
# for a connection to the queue to be made.
from killswitch.cancels import publishing  # noqa: E402

publishing.publish([])
