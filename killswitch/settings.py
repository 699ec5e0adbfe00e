"""All settings, from the environment only; `.env.example` explains each variable."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from killswitch import __version__, env, queue_url, several_hosts

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = __version__

# --- deployment -----------------------------------------------------------------------------
KILLSWITCH_HOME = env.home("KILLSWITCH_HOME", BASE_DIR / "var")
KILLSWITCH_ENVIRONMENT = env.choice("KILLSWITCH_ENVIRONMENT", "demo", ("demo", "uat", "production"))
HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, lowest=1, highest=65000)
TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0, lowest=0, highest=10)
DATABASE_URL = env.url(
    "DATABASE_URL", schemes=("postgres", "postgresql", "sqlite"), may_have_hosts=True
)
EMS_BASE_URL = env.url("EMS_BASE_URL", schemes=("http", "https"))

# The simulator and the demo's users exist only without a real EMS and database.
DEMO = not DATABASE_URL and not EMS_BASE_URL
if DATABASE_URL and not EMS_BASE_URL:
    raise ImproperlyConfigured(
        "DATABASE_URL is set, but EMS_BASE_URL is not: a real log must never contain cancels"
        " sent to a simulator. Set EMS_BASE_URL to the EMS, or unset DATABASE_URL for the demo."
    )

# A real EMS is never labelled as a demo: on no page, in no export and in no alarm.
if KILLSWITCH_ENVIRONMENT == "demo" and not DEMO:
    KILLSWITCH_ENVIRONMENT = "real"

# --- the EMS --------------------------------------------------------------------------------
SIMULATOR_PORT = env.integer("SIMULATOR_PORT", PORT + 1, lowest=1, highest=65535)
if DEMO and SIMULATOR_PORT == PORT:
    raise ImproperlyConfigured(
        f"SIMULATOR_PORT={SIMULATOR_PORT} is also PORT. Give the simulated EMS a port of its own,"
        " or unset SIMULATOR_PORT for PORT + 1."
    )
if DEMO:
    EMS_BASE_URL = f"http://127.0.0.1:{SIMULATOR_PORT}"
EMS_API_KEY = env.text("EMS_API_KEY")
EMS_CLIENT_CERT = env.path("EMS_CLIENT_CERT")
EMS_CA_BUNDLE = env.path("EMS_CA_BUNDLE")
# The lower bounds are for tests; no user would wait longer than the upper ones.
EMS_CONNECT_TIMEOUT = env.seconds("EMS_CONNECT_TIMEOUT", 2, lowest=0.05, highest=60)
EMS_TIMEOUT = env.seconds("EMS_TIMEOUT", 10, lowest=0.05, highest=300)
CANCEL_DEADLINE = env.seconds("CANCEL_DEADLINE", 60, lowest=0.05, highest=3600)
REQUEST_MAX_AGE = env.seconds("REQUEST_MAX_AGE", 7200, lowest=1, highest=7 * 86400)
OBSERVE_INTERVAL = env.seconds("OBSERVE_INTERVAL", 2, lowest=0.05, highest=300)
HOLD_INTERVAL = env.seconds("HOLD_INTERVAL", 1, lowest=0.05, highest=5)
HOLD_RELEASE_PERSONS = env.integer("HOLD_RELEASE_PERSONS", 2, lowest=1, highest=2)
KILLSWITCH_EXCHANGES = tuple(dict.fromkeys(env.text("KILLSWITCH_EXCHANGES").split()))

# --- secrets --------------------------------------------------------------------------------
SECRET_KEY = env.text("SECRET_KEY")
if not SECRET_KEY:
    if DATABASE_URL:
        raise ImproperlyConfigured(
            "Neither SECRET_KEY nor SECRET_KEY_FILE is set. All hosts share one; create it with"
            ' `python -c "import secrets; print(secrets.token_urlsafe(50))"`.'
        )
    SECRET_KEY = env.kept_secret(KILLSWITCH_HOME / "secret_key")
SECRET_KEY_FALLBACKS = env.text("SECRET_KEY_FALLBACKS").split()
# Without one: created and kept in the embedded mode; with DATABASE_URL, signing is off.
AUDIT_SIGNING_KEY = env.text("AUDIT_SIGNING_KEY")
if AUDIT_SIGNING_KEY:  # importing the library takes a tenth of a second at each start
    from killswitch.audit import signing

    signing.check_setting(AUDIT_SIGNING_KEY)
ALERT_URLS = tuple(env.text("ALERT_URLS").split())
ARCHIVE_URLS = tuple(env.text("ARCHIVE_URLS").split())
ALERT_ESCALATE_AFTER_MIN = env.seconds(
    "ALERT_ESCALATE_AFTER_MIN", 0, lowest=0, highest=1440, unit="minutes"
)
ALARM_OVERDUE_MIN = env.seconds("ALARM_OVERDUE_MIN", 10, lowest=0, highest=1440, unit="minutes")

# --- data -----------------------------------------------------------------------------------
_database: dict[str, Any] = (
    several_hosts.database(DATABASE_URL)
    if DATABASE_URL
    else {"ENGINE": "", "NAME": str(KILLSWITCH_HOME / "killswitch.sqlite3")}
)
if _database["NAME"] == ":memory:":
    raise ImproperlyConfigured(
        "DATABASE_URL names a database in memory, which processes cannot share. Give"
        " postgresql://user:password@host/name, or sqlite:////directory/file."
    )
POSTGRESQL_LIMITS = {"lock_timeout": "2s", "idle_in_transaction_session_timeout": "3s"}
# The time zone, which Django would set in one more statement for each connection.
POSTGRESQL_SESSION = {**POSTGRESQL_LIMITS, "TimeZone": "UTC"}
if _database["ENGINE"].endswith("postgresql"):
    # A process that hangs in mid-transaction, or has lost its connection, must not block the
    # others: its session ends and releases its locks, and their waits end with a retried error.
    _database["ENGINE"] = "killswitch.runtime.postgresql_kept"
    _database["OPTIONS"] = {
        "options": " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_SESSION.items()),
        "connect_timeout": 2,
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        **_database.get("OPTIONS", {}),
    }
    # A cursor of the server outlives its transaction, and a pooler gives the next one elsewhere.
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True
else:
    _database = {
        "ENGINE": "killswitch.runtime.sqlite_queue",
        "NAME": _database["NAME"],
        "OPTIONS": {
            "mode": "rw",  # `prepare` alone creates the file
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Not Redis: sign-in must work while Redis is down. The database also shares the counters of the
# sign-in rate limits between web processes.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "django_cache",
        # A full table drops counters too early: 150 addresses filled Django's default of 300.
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    }
}

# --- the queue ------------------------------------------------------------------------------
REDIS_SOCKET = KILLSWITCH_HOME / "redis.sock"
REDIS_URL = env.url(
    "REDIS_URL", schemes=("redis", "rediss", "unix", "sentinel"), may_have_hosts=True
)
EMBEDDED_REDIS = not REDIS_URL
if EMBEDDED_REDIS:
    REDIS_URL = f"unix://{REDIS_SOCKET}"
BROKER = queue_url.broker(REDIS_URL)
CELERY_BROKER_URL = BROKER.url
CELERY_BROKER_USE_SSL = BROKER.tls
CELERY_TASK_DEFAULT_QUEUE = "cancel"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
# Measured: with these a worker consumes again within seconds of an outage of Redis; with the
# defaults it stays alive, but no longer receives messages.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 3,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "health_check_interval": 3,
    "ack_emulation": False,
    "max_retries": 0,
    **BROKER.transport_options,
}

# --- Django ---------------------------------------------------------------------------------
DEBUG = False
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]")
_host = f"[{HOST}]" if ":" in HOST else HOST
if HOST not in {"0.0.0.0", "::"} and _host not in ALLOWED_HOSTS:  # noqa: S104
    ALLOWED_HOSTS.append(_host)
ROOT_URLCONF = "killswitch.urls"
INSTALLED_APPS = [
    "killswitch.accounts",
    "killswitch.administration",
    "killswitch.alarms",
    "killswitch.audit",
    "killswitch.break_glass",
    "killswitch.cancels",
    "killswitch.compliance",
    "killswitch.console",
    "killswitch.exchanges",
    "killswitch.holds",
    "killswitch.runtime",
    "killswitch.observer",
    "killswitch.readiness",
    "killswitch.simulator",
    "killswitch.supervision",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "django_htmx",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "killswitch.console.middleware.StaticFiles",
    "killswitch.console.middleware.PageCompression",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "killswitch.console.middleware.ErrorPageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "killswitch.readiness.middleware.HostCheckMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "killswitch.accounts.middleware.SenderMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "killswitch.compliance.context_processors.request_sections",
                "killswitch.holds.context_processors.sections",
                "killswitch.break_glass.context_processors.sections",
                "killswitch.console.context_processors.page",
            ],
        },
    }
]
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Static files are served from their source directories: `collectstatic` is not needed.
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 300
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- users ----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["killswitch.accounts.backends.UserBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "full_name")},
    },
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
ACCOUNT_ADAPTER = "killswitch.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_USER_MODEL_EMAIL_FIELD = None
ACCOUNT_SESSION_REMEMBER = False  # no such choice: every session has the same fixed end
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
# By address only: a limit by name would let an attacker lock an officer out. Codes are the
# exception: only someone with the password can try them, and could do so from many addresses.
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip",
    "reauthenticate": "30/m/ip",
    "second_factor": "20/h/key",
}
SECOND_FACTOR = env.choice("SECOND_FACTOR", "optional", ("optional", "required"))
MFA_ADAPTER = "killswitch.accounts.mfa.adapter.EncryptingMFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = f"Kill switch ({KILLSWITCH_ENVIRONMENT})"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s: clocks differ, and typing takes time
SESSION_ENGINE = "killswitch.accounts.backends"
SESSION_HOURS = env.seconds("SESSION_HOURS", 12, lowest=0.0005, highest=744, unit="hours")
SESSION_COOKIE_AGE = int(timedelta(hours=SESSION_HOURS).total_seconds())
SESSION_COOKIE_SAMESITE = "Lax"
# Browsers send cookies to every port of a host name: the names differ between the consoles there,
# but not between the web processes of one console. Browsers accept a name with __Host- by TLS only,
# and not from another host name of the same domain.
_console = KILLSWITCH_ENVIRONMENT if env.text("KILLSWITCH_ENVIRONMENT") else str(PORT)
_cookie_prefix = f"{'__Host-' if TRUSTED_PROXY_COUNT else ''}killswitch_{_console}"
SESSION_COOKIE_NAME = f"{_cookie_prefix}_session"
CSRF_COOKIE_NAME = f"{_cookie_prefix}_csrf"
OFFICER_COOKIE_NAME = f"{_cookie_prefix}_officer"
DISPLAY_COOKIE_NAME = f"{_cookie_prefix}_display"
CSRF_FAILURE_VIEW = "killswitch.console.error_views.csrf_failed"

# --- security -------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
# A probe that is redirected to TLS fails, or counts the redirect as healthy.
SECURE_REDIRECT_EXEMPT = ["^(healthz|readyz|metrics)$"]
# Behind a proxy there is TLS; without one, browsers on this machine use plain HTTP.
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000
# Recommendations of `manage.py check --deploy` that are not followed:
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # Other names below ours may belong to programs without TLS.
    "security.W008",  # The proxy redirects to TLS; probes come without it.
    "security.W021",  # A console inside a company is in no list of the browsers' makers.
]

LOGGING_CONFIG = "killswitch.structured_logs.configure"
LOGGING = {
    "level": env.choice("LOG_LEVEL", "info", ("debug", "info", "warning")),
    "format": env.choice("LOG_FORMAT", "text", ("text", "json")),
}
