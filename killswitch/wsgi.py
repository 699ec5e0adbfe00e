"""Django in a worker process of the web server, and the threads next to it. `asgi` starts it."""

from django.core.wsgi import get_wsgi_application

from killswitch import inherited_environment
from killswitch.supervision.supervisor import die_with_web_server

# Workers of a killed server would go on serving from its shared port, next to their successors.
die_with_web_server()
inherited_environment.use_own()
application = get_wsgi_application()

# Only now: Django must be set up before its models are imported. The first request need not wait
# for a connection to the queue to be made.
from killswitch.break_glass import upkeep  # noqa: E402
from killswitch.cancels import last_resort, publishing  # noqa: E402
from killswitch.readiness import watch  # noqa: E402
from killswitch.runtime.shutdown import STOP  # noqa: E402

publishing.publish([])
last_resort.start_thread(STOP)
upkeep.start_threads(STOP)
watch.start_thread(STOP)
