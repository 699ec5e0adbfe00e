"""The product's settings in an environment of their own: a temporary home, no real EMS."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# In memory where there is room: what a disk does is not what the tests are about.
MEMORY = Path("/dev/shm")
_roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 * 2**30
_home = Path(tempfile.mkdtemp(prefix="ks-", dir=MEMORY if _roomy else None))
atexit.register(shutil.rmtree, _home, ignore_errors=True)

for name in ("DATABASE_URL", "REDIS_URL", "EMS_API_KEY", "ALERT_URLS", "KILLSWITCH_EXCHANGES"):
    os.environ.pop(name, None)
os.environ |= {
    "KILLSWITCH_HOME": str(_home),
    "EMS_BASE_URL": "http://127.0.0.1:9",
    "SECRET_KEY": "only-for-tests",
}

POSTGRESQL = os.environ.get("KILLSWITCH_TEST_DATABASE") == "postgresql"
if POSTGRESQL:
    from tests.postgresql import start

    os.environ["DATABASE_URL"] = start(_home)

from killswitch.settings import *  # noqa: E402, F403
from killswitch.settings import DATABASES  # noqa: E402

# A file, not memory: processes and threads of the tests share it.
if not POSTGRESQL:
    DATABASES["default"]["TEST"] = {"NAME": str(_home / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Each test's client would look through all static files, to serve none of them.
WHITENOISE_AUTOREFRESH = True
