"""A client with short timeouts, and certificates made for the tests."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from killswitch.ems.client import EmsClient

ClientFactory = Callable[..., EmsClient]

_BOTH_USAGES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@pytest.fixture
def client_for() -> Iterator[ClientFactory]:
    clients: list[EmsClient] = []

    def make(base_url: str, **options: Any) -> EmsClient:
        defaults = {"connect_timeout": 0.5, "timeout": 0.6, "pool_size": 256}
        clients.append(EmsClient(base_url=base_url, **(defaults | options)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@dataclass(frozen=True, kw_only=True)
class Certificates:
    ca: Path
    server: Path
    client: Path
    authority: x509.Certificate
    authority_key: ec.EllipticCurvePrivateKey

    def issue(self, name: str, **options: Any) -> Path:
        """Return a new file with a certificate of the test authority and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = make_certificate(
            name, key, issuer=self.authority, issuer_key=self.authority_key, **options
        )
        return write_certificate(self.ca.with_name(f"{name}.pem"), certificate, key=key)

    def server_context(self, *, ask_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    key = ec.generate_private_key(ec.SECP256R1())
    authority = make_certificate("Test authority", key, issuer=None, issuer_key=key)
    certificates = Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        client=folder / "client.pem",
        authority=authority,
        authority_key=key,
    )
    certificates.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    certificates.issue("server")
    certificates.issue("client")
    return certificates


def write_certificate(
    path: Path, certificate: x509.Certificate, *, key: ec.EllipticCurvePrivateKey
) -> Path:
    private_key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private_key)
    return path


def make_certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid_from_days: int = -1,
    usages: Sequence[x509.ObjectIdentifier] = _BOTH_USAGES,
    host: str = "localhost",
) -> x509.Certificate:
    """Return a certificate that is valid for two days."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    valid_from = dt.datetime.now(dt.UTC) + dt.timedelta(days=valid_from_days)
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host == "localhost":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
