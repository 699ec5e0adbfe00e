"""The entry point of the web server's worker processes."""

import os

from django.core.wsgi import get_wsgi_application

from killswitch.supervision.supervisor import die_with_web_server

# Workers of a killed server would go on serving from its shared port, next to their successors.
die_with_web_server()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")
application = get_wsgi_application()

# Only now: Django must be set up before its models are imported. The first request need not wait
# for a connection to the queue to be made.
from killswitch.cancels import publishing  # noqa: E402

publishing.publish([])
