"""Variables that other programs export, with values that would harm ours if it obeyed them."""

import textwrap
from pathlib import Path

# Each would change what our programs do, or keep them from starting.
OF_PYTHON = {
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONINSPECT": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONIOENCODING": "ascii:strict",
    "PYTHONUTF8": "0",
    "PYTHONSTARTUP": "/nowhere/startup.py",
    "PYTHONPLATLIBDIR": "lib",
    "PYTHONTRACEMALLOC": "1",
    "PYTHONBREAKPOINT": "nowhere.breakpoint",
}
OF_CELERY = {
    "CELERY_CONFIG_MODULE": "nowhere.celeryconfig",
    "CELERY_LOADER": "nowhere.Loader",
    "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0",
    "CELERY_WORKER_CONCURRENCY": "none",
    "CELERY_WORKER_QUEUES": "other",
    "CELERY_CUSTOM_WORKER_POOL": "nowhere:Pool",
    "CELERY_QUIET": "maybe",
    "C_FORCE_ROOT": "1",
    "C_STRICT_APP": "1",
    "FORKED_BY_MULTIPROCESSING": "1",
    "AUTOSCALE_KEEPALIVE": "long",
    "PICKLE_PROTOCOL": "highest",
    "KOMBU_LOG_DEBUG": "1",
    "RESULT_BACKEND": "redis://127.0.0.1:1/0",
    "LOADER": "nowhere.Loader",
    "CONFIG_MODULE": "nowhere.celeryconfig",
    "REMAP_SIGTERM": "SIGQUIT",
}
OF_THE_WEB_SERVER = {
    "GRANIAN_URL_PATH_PREFIX": "/other",
    "GRANIAN_INTERFACE": "asgi",
    "GRANIAN_SSL_CERTIFICATE": "/nowhere/certificate.pem",
    "GRANIAN_WORKING_DIR": "/nowhere",
    "GRANIAN_STATIC_PATH_MOUNT": "/etc",
    "GRANIAN_UDS": "/nowhere/socket",
    "GRANIAN_FACTORY": "true",
    "SCRIPT_NAME": "/other",
    "HTTP_X_FORWARDED_FOR": "192.0.2.1",
    "HTTP_HOST": "other.example.com",
    "REMOTE_USER": "root",
}
OF_DJANGO = {
    "DJANGO_SETTINGS_MODULE": "other.settings",
    "DJANGO_COLORS": "nowhere",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
    "DJANGO_AUTO_COMPLETE": "1",
}
OF_POSTGRESQL = {
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGSERVICE": "other",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGTARGETSESSIONATTRS": "standby",
    "PSYCOPG_IMPL": "nowhere",
}
OTHER = {"SSLKEYLOGFILE": "/nowhere/keys.txt", "MAKEFLAGS": "-s", "VIRTUAL_ENV": "/nowhere"}
VARIABLES = OF_PYTHON | OF_CELERY | OF_THE_WEB_SERVER | OF_DJANGO | OF_POSTGRESQL | OTHER


def module_path(directory: Path) -> Path:
    """Create a directory for PYTHONPATH with modules of the names that our programs import."""
    directory.mkdir()
    for name in ("celery", "django", "granian", "killswitch", "psycopg", "redis", "requests"):
        (directory / f"{name}.py").write_text("raise ImportError('of another program')\n")
    (directory / "sitecustomize.py").write_text(
        textwrap.dedent("""\
            import builtins
            builtins.of_another_program = True
        """)
    )
    return directory
