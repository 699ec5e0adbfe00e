"""Build the image, run every service of docker-compose.yml, cancel, and verify the log.

    python -m tests.image

It needs root on a Debian machine, and these packages: podman, buildah, debootstrap, runc and
catatonit. No registry of images is used: a root file system that debootstrap makes stands in for
the base image, and for those of PostgreSQL and Redis. All containers share a network of their own
that has only the loopback interface, so nothing on this machine is in their way.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.image.compose import Service, services

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("podman", "buildah", "debootstrap", "runc", "catatonit")
INCLUDED = "python3,python3-pip,python3-venv,ca-certificates,postgresql,redis-server"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
HEALTHY_WITHIN_S = 90.0
IN_OWN_NETWORK = "KILLSWITCH_IMAGE_TEST_NETWORK"
CONTAINERS_CONF = """
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
# As the entrypoint of the official image: creates the user and the database at the first start.
POSTGRES_ENTRYPOINT = """#!/bin/sh
set -e
data=/var/lib/postgresql/data
as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
if [ ! -s "$data/PG_VERSION" ]; then
    chown postgres: "$data"
    echo "$POSTGRES_PASSWORD" > /tmp/password
    chown postgres: /tmp/password
    as_postgres initdb -D "$data" -U "$POSTGRES_USER" -A scram-sha-256 --pwfile /tmp/password
    rm /tmp/password
    echo "CREATE DATABASE $POSTGRES_DB" | as_postgres postgres --single -D "$data" postgres
fi
chown postgres: /var/run/postgresql
exec setpriv --reuid postgres --regid postgres --init-groups "$@" -D "$data"
"""
EMS_PORT = "9000"
VARIABLES = {
    "SECRET_KEY": "only-for-this-test-and-as-long-as-a-real-one-has-to-be",
    "ALLOWED_HOSTS": "localhost",
    "POSTGRES_PASSWORD": "only-for-this-test",
    "REDIS_PASSWORD": "only-for-this-test",
    "EMS_BASE_URL": f"http://127.0.0.1:{EMS_PORT}",
    "KILLSWITCH_EXCHANGES": "KRAKEN BINANCE",
}
# What each container of the product must be, as a command that it runs itself.
CONFINEMENT = (
    "import os, pathlib\n"
    "status = pathlib.Path('/proc/self/status').read_text()\n"
    "assert os.getuid() == 10001, os.getuid()\n"
    "assert 'CapEff:\\t0000000000000000' in status\n"
    "assert 'NoNewPrivs:\\t1' in status\n"
    "for path in ('/opt/killswitch/x', '/x'):\n"
    "    try:\n"
    "        open(path, 'w')\n"
    "    except OSError:\n"
    "        continue\n"
    "    raise SystemExit(f'{path} can be written')\n"
)


def main() -> None:
    """Check what is needed, then build and run."""
    missing = [name for name in PACKAGES if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        sys.exit(
            "This needs root, and on Debian: apt-get install --no-install-recommends"
            f" {' '.join(PACKAGES)}. Missing: {', '.join(missing) or 'root'}."
        )
    if IN_OWN_NETWORK in os.environ:
        _run_all(Path(os.environ[IN_OWN_NETWORK]))
        return
    with _workplace() as home:
        _step("the root file system", lambda: _make_root(home / "root"))
        _step("the images", lambda: _make_images(home))
        command = ["unshare", "--net", sys.executable, "-m", "tests.image"]
        environment = os.environ | {IN_OWN_NETWORK: str(home)}
        try:
            subprocess.run(command, env=environment, cwd=ROOT, check=True)
        finally:
            _podman("rm", "--all", "--force", "--time", "1")


@contextmanager
def _workplace() -> Iterator[Path]:
    """Yield a directory that has all images and containers, and nothing of those elsewhere."""
    home = Path(tempfile.mkdtemp(prefix="killswitch-image-"))
    (home / "containers.conf").write_text(CONTAINERS_CONF)
    (home / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{home}/images"\nrunroot = "{home}/run"\n'
    )
    os.environ |= {
        "CONTAINERS_CONF": str(home / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(home / "storage.conf"),
        "TMPDIR": str(home),
    }
    try:
        yield home
    finally:
        _podman("system", "reset", "--force")
        shutil.rmtree(home, ignore_errors=True)


def _make_root(root: Path) -> None:
    _quietly(
        ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", "bookworm", root, MIRROR]
    )
    (root / "usr/bin/python").symlink_to("python3")
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()  # the official image has a Python of its own
    shutil.copy(Path("/") / CERTIFICATES, root / CERTIFICATES)  # of a company's proxy, if any
    entrypoint = root / "usr/local/bin/postgres-entrypoint"
    entrypoint.write_text(POSTGRES_ENTRYPOINT)
    entrypoint.chmod(0o755)


def _make_images(home: Path) -> None:
    compose = _compose()
    base = next(
        line.split()[1]
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("FROM ")
    )
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin"
    _quietly(["tar", "--create", "--file", home / "root.tar", "--directory", home / "root", "."])
    shutil.rmtree(home / "root")
    for image, changes in (
        (base, ["--change", f"ENV PIP_CERT=/{CERTIFICATES}"]),
        (compose["redis"].image, []),
        (compose["postgres"].image, ["--change", 'ENTRYPOINT ["postgres-entrypoint"]']),
    ):
        tag = f"docker.io/library/{image.partition('@')[0]}"
        _podman("import", "--change", f"ENV PATH={path}", *changes, str(home / "root.tar"), tag)
    (home / "root.tar").unlink()
    image = compose["web"].image
    isolation = ["--isolation", "chroot", "--network", "host", "--pull=never"]
    _quietly(["buildah", "bud", *isolation, "--tag", image, str(ROOT)])


def _run_all(home: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    compose = _compose()
    _start_ems(compose["web"].image)
    for name in ("postgres", "redis"):
        _step(name, partial(_start, compose[name], compose))
    _step("prepare", partial(_start, compose["prepare"], compose, wait=True))
    product = [service for name, service in compose.items() if "build" in service.settings]
    running = [service for service in product if service.name != "prepare"]
    for service in running:
        _start(service, compose)
    for service in running:
        _step(f"{service.name} is healthy", partial(_wait_until_healthy, service))
        _podman("exec", service.name, "python", "-c", CONFINEMENT)
    output = _podman("exec", "worker", "python", "manage.py", "cancel_all", "KRAKEN")
    (line,) = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    assert line["status"] == "CONFIRMED", line
    print("a cancel is CONFIRMED")
    print(_podman("exec", "observer", "python", "manage.py", "verify_audit").strip())
    for service in running:
        began_at = time.monotonic()
        _podman("stop", "--time", str(service.stop_timeout_s), service.name)
        seconds = time.monotonic() - began_at
        assert seconds < service.stop_timeout_s, f"{service.name} had to be killed"
    print("all services have stopped in time")


def _start(service: Service, compose: dict[str, Service], *, wait: bool = False) -> None:
    hosts = [name for name in ("postgres", "redis") if name in compose]
    _podman("run", *([] if wait else ["--detach"]), *service.arguments(hosts=hosts))
    if service.name in hosts:
        _wait_until_healthy(service)


def _start_ems(image: str) -> None:
    command = [image, "ems_simulator", "--demo", "--port", EMS_PORT]
    _podman("run", "--detach", "--name", "ems", "--network", "host", *command)


def _wait_until_healthy(service: Service) -> None:
    ends_at = time.monotonic() + HEALTHY_WITHIN_S
    while True:
        process = subprocess.run(
            ["podman", "exec", service.name, *service.healthcheck],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode == 0:
            return
        if time.monotonic() > ends_at:
            logs = _podman("logs", "--tail", "30", service.name)
            sys.exit(f"{service.name} is not healthy: {process.stdout}{process.stderr}\n{logs}")
        time.sleep(0.5)


def _compose() -> dict[str, Service]:
    certificates = Path(tempfile.gettempdir()) / "certificates"
    certificates.mkdir(exist_ok=True)
    variables = VARIABLES | {"CERTIFICATES": str(certificates)}
    return services(ROOT / "docker-compose.yml", variables=variables)


def _step(name: str, work: Callable[[], object]) -> None:
    began_at = time.monotonic()

    work()
    print(f"{name}: {time.monotonic() - began_at:.0f} s", flush=True)


def _podman(*arguments: str) -> str:
    return _quietly(["podman", *arguments])


def _quietly(command: Sequence[str | Path]) -> str:
    """Run a command and return its output; print it only if the command fails."""
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        words = " ".join(map(str, command[:3]))
        sys.exit(f"{words} … failed:\n{process.stdout[-3000:]}{process.stderr[-3000:]}")
    return process.stdout


if __name__ == "__main__":
    main()
