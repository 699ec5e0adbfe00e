"""The product's settings with a temporary data directory and without a real EMS."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# In memory if there is space: the tests are not about the disk.
MEMORY = Path("/dev/shm")
_has_space = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 * 2**30
_home = Path(tempfile.mkdtemp(prefix="ks-", dir=MEMORY if _has_space else None))
atexit.register(shutil.rmtree, _home, ignore_errors=True)

FROM_FILES = (
    "SECRET_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "EMS_API_KEY",
    "ALERT_URLS",
    "ARCHIVE_URLS",
)
for name in (*FROM_FILES, *(f"{name}_FILE" for name in FROM_FILES), "KILLSWITCH_EXCHANGES"):
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

if POSTGRESQL:
    # A test is one long transaction, which may idle on a busy machine. Processes that tests start
    # have the product's settings.
    DATABASES["default"]["OPTIONS"]["options"] = "-c lock_timeout=2s"
else:
    # A file, not memory: processes and threads of the tests share it.
    del DATABASES["default"]["OPTIONS"]["mode"]  # Django creates the file of the tests
    DATABASES["default"]["TEST"] = {"NAME": str(_home / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Without this, every test client would scan all static files, and serve none of them.
WHITENOISE_AUTOREFRESH = True
