"""The web's entry point for the server's worker processes."""

import os

from django.core.wsgi import get_wsgi_application

from killswitch.supervision import parent

# Workers of a killed server would go on serving from its shared port, beside their successors.
parent.die_with_server()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")
application = get_wsgi_application()
