"""A PostgreSQL that is reached by TLS, and only if its certificate is the right one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ems.conftest import Certificates, certificates
from tests.postgresql import InstalledServer
from tests.supervision.system_process import MANAGE, environment

__all__ = ["certificates"]


@pytest.fixture(scope="module")
def server() -> Iterator[InstalledServer]:
    server = InstalledServer()
    yield server
    server.delete()


def prepare(server: InstalledServer, home: Path, *, root: Path | str) -> tuple[int, str]:
    """Prepare the database by TLS, and return the exit code and all that is written."""
    url = f"postgresql://postgres:hunter22@localhost:{server.port}/postgres"
    process = subprocess.run(
        [sys.executable, MANAGE, "prepare"],
        env=environment(
            KILLSWITCH_HOME=str(home),
            DATABASE_URL=f"{url}?sslmode=verify-full&sslrootcert={root}",
            EMS_BASE_URL="http://127.0.0.1:9",
            SECRET_KEY="only for this test, and as long as a real one has to be",
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = process.stdout + process.stderr
    assert "hunter22" not in output
    assert "Traceback" not in output
    return process.returncode, output


def test_a_server_with_the_right_certificate_is_used_and_any_other_is_refused_in_words(
    tmp_path: Path, server: InstalledServer, certificates: Certificates
) -> None:
    code, output = prepare(server, tmp_path, root=certificates.ca)
    assert code == 2
    assert "does not support SSL" in output
    assert "turn on ssl" in output
    server.use_tls(certificates.issue("another", host="db.example.com"))
    code, output = prepare(server, tmp_path, root=certificates.ca)
    assert code == 2
    assert 'does not match host name "localhost"' in output
    assert "as its certificate names it" in output
    server.use_tls(certificates.server)
    code, output = prepare(server, tmp_path, root=certificates.client)  # which has issued nothing
    assert code == 2
    assert "certificate verify failed" in output
    assert "Name the PEM file of the authority that issued it" in output
    code, output = prepare(server, tmp_path, root="/no-such-file.pem")
    assert code == 2
    assert 'root certificate file "/no-such-file.pem" does not exist' in output
    assert "as sslrootcert in DATABASE_URL" in output
    code, output = prepare(server, tmp_path, root=certificates.ca)
    assert code == 0, output
