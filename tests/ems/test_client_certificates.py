"""A rejected client certificate: not delivered, if the alert proves that no request was read."""

import datetime as dt
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from killswitch.ems.answers import Outcome, RetryAdvice
from killswitch.ems.transport.adapter import tls_context
from tests.ems.conftest import Certificates, ClientFactory, make_certificate, write_certificate
from tests.ems.servers import ACKNOWLEDGED, Connection, answering, response, serving
from tests.ems.tls_alerts import AlertingContext

OK = response(200, ACKNOWLEDGED)
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REJECTED = "the EMS rejected our client certificate: "
CERTIFICATE_ALERTS = {
    41: "no certificate",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    48: "unknown CA",
    49: "access denied",
    116: "certificate required",
}
# Every other alert of TLS that ends a connection.
OTHER_ALERTS = [10, 20, 21, 22, 30, 40, 47, 50, 51, 60, 70, 71, 80, 86, 100, 109, 110]
OTHER_ALERTS += [111, 112, 113, 114, 115, 117, 120, 255]


def of_a_stranger(certificates: Certificates) -> Path:
    key, other_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    other = make_certificate("Another authority", other_key, issuer=None, issuer_key=other_key)
    certificate = make_certificate("stranger", key, issuer=other, issuer_key=other_key)
    return write_certificate(certificates.ca.with_name("stranger.pem"), certificate, key=key)


def revocation_list(certificates: Certificates, *, revoked: Path) -> Path:
    certificate = x509.load_pem_x509_certificate(revoked.read_bytes())
    now = dt.datetime.now(dt.UTC)
    entry = x509.RevokedCertificateBuilder(certificate.serial_number, now)
    revocations = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificates.authority.subject)
        .last_update(now - dt.timedelta(days=1))
        .next_update(now + dt.timedelta(days=1))
        .add_revoked_certificate(entry.build())
        .sign(certificates.authority_key, hashes.SHA256())
    )
    path = revoked.with_suffix(".crl")
    path.write_bytes(revocations.public_bytes(serialization.Encoding.PEM))
    return path


UNACCEPTABLE: dict[str, Callable[[Certificates], Path]] = {
    "unknown CA": of_a_stranger,
    "certificate expired": lambda authority: authority.issue("old", valid_from_days=-9),
    "bad certificate": lambda authority: authority.issue("not yet valid", valid_from_days=1),
    "unsupported certificate": lambda authority: authority.issue(
        "not for clients", usages=[ExtendedKeyUsageOID.SERVER_AUTH]
    ),
    "certificate revoked": lambda authority: authority.issue("revoked"),
}


@pytest.mark.parametrize("pause_s", [0, 0.1], ids=["at once", "after the server has closed"])
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=lambda version: version.name)
@pytest.mark.parametrize("reason", UNACCEPTABLE)
def test_a_certificate_that_a_server_rejects_is_named_and_nothing_is_delivered(
    reason: str,
    version: ssl.TLSVersion,
    pause_s: float,
    client_for: ClientFactory,
    certificates: Certificates,
) -> None:
    """In TLS 1.3 the alert comes after the request was sent, or even breaks the sending."""
    client_cert = UNACCEPTABLE[reason](certificates)
    context = certificates.server_context(ask_client=True)
    context.minimum_version = context.maximum_version = version
    if reason == "certificate revoked":
        context.load_verify_locations(revocation_list(certificates, revoked=client_cert))
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    sent: list[float] = []

    def on_sent() -> None:
        sent.append(time.monotonic())
        time.sleep(pause_s)

    with serving(answering(OK), tls=context) as server:
        client = client_for(
            server.url, ca_bundle=str(certificates.ca), client_cert=str(client_cert), timeout=5
        )
        answer = client.cancel_all("KRAKEN", on_sent=on_sent)
        orders = client.open_orders("KRAKEN")
    assert (answer.outcome, answer.transport_error) == (Outcome.NOT_DELIVERED, REJECTED + reason)
    assert answer.retry_advice is RetryAdvice.AFTER_PAUSE
    assert not answer.may_have_been_carried_out
    assert (orders.readable, orders.error) == (False, REJECTED + reason)
    assert len(sent) == 1
    assert server.requests == []


@pytest.mark.parametrize(
    ("version", "text"),
    # In TLS 1.2 servers have no alert of its own for this.
    [(TLS_1_2, "alert handshake failure"), (TLS_1_3, REJECTED + "certificate required")],
    ids=["TLS 1.2", "TLS 1.3"],
)
def test_a_certificate_that_is_missing_is_named_and_nothing_is_delivered(
    version: ssl.TLSVersion, text: str, client_for: ClientFactory, certificates: Certificates
) -> None:
    context = certificates.server_context(ask_client=True)
    context.minimum_version = context.maximum_version = version
    with serving(answering(OK), tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        answer, orders = client.cancel_all("KRAKEN"), client.open_orders("KRAKEN")
    assert answer.outcome is Outcome.NOT_DELIVERED
    assert text in answer.transport_error
    assert text in orders.error
    assert server.requests == []


@dataclass(frozen=True, kw_only=True)
class Before:
    """What a connection has seen before the alert, apart from the request that gets it."""

    version: ssl.TLSVersion = TLS_1_3
    tickets: int = 0
    answers: int = 0
    start: bytes = b""

    def script(self, context: AlertingContext, *, code: int) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            for _ in range(self.answers):
                connection.read_request()
                connection.send(OK)
            connection.read_request()
            if self.start:
                connection.send(self.start)
            records = self.tickets + self.answers + bool(self.start)
            context.send_alert(connection.sock, code, records_before=records)

        return script


NOTHING = Before()
AFTER_THE_HANDSHAKE = {
    "reused": Before(answers=1),
    "after a byte": Before(start=b"H"),
    "after 103": Before(start=b"HTTP/1.1 103 X\r\n\r\n"),
    # The server has completed the handshake, with the check of our certificate.
    "after a ticket": Before(tickets=2),
    # The handshake was over before the request, so the alert may be about the request.
    "TLS 1.2": Before(version=TLS_1_2),
    "TLS 1.2, reused": Before(version=TLS_1_2, answers=1),
}


@pytest.mark.parametrize("code", CERTIFICATE_ALERTS)
def test_every_alert_about_certificates_on_a_new_connection_is_not_delivered(
    code: int, client_for: ClientFactory, certificates: Certificates
) -> None:
    context = AlertingContext.make(certificates, version=TLS_1_3)
    with serving(NOTHING.script(context, code=code), tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        answer, orders = client.cancel_all("KRAKEN"), client.open_orders("KRAKEN")
    assert answer.outcome is Outcome.NOT_DELIVERED
    assert answer.transport_error == orders.error == REJECTED + CERTIFICATE_ALERTS[code]


@pytest.mark.parametrize("code", OTHER_ALERTS)
def test_any_other_alert_is_unknown(
    code: int, client_for: ClientFactory, certificates: Certificates
) -> None:
    context = AlertingContext.make(certificates, version=TLS_1_3)
    with serving(NOTHING.script(context, code=code), tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        answer = client.cancel_all("KRAKEN")
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)
    assert answer.may_have_been_carried_out
    assert REJECTED not in answer.transport_error
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", CERTIFICATE_ALERTS)
@pytest.mark.parametrize("name", AFTER_THE_HANDSHAKE)
def test_an_alert_about_certificates_that_may_come_after_the_handshake_is_unknown(
    name: str, code: int, client_for: ClientFactory, certificates: Certificates
) -> None:
    before = AFTER_THE_HANDSHAKE[name]
    context = AlertingContext.make(certificates, version=before.version, tickets=before.tickets)
    with serving(before.script(context, code=code), tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        for _ in range(before.answers):
            assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
        answer = client.cancel_all("KRAKEN")
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)
    assert answer.may_have_been_carried_out
    assert answer.transport_error == REJECTED + CERTIFICATE_ALERTS[code]
    assert (server.accepted, len(server.requests)) == (1, before.answers + 1)


def test_an_alert_that_breaks_the_sending_on_a_reused_connection_is_not_sent_again_at_once(
    client_for: ClientFactory, certificates: Certificates
) -> None:
    context = AlertingContext.make(certificates, version=TLS_1_3)
    sending = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        sending.wait(5)
        context.send_alert(connection.sock, 42, records_before=1)

    def on_sent() -> None:
        sending.set()
        time.sleep(0.1)

    with serving(script, tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        client.cancel_all("KRAKEN")
        answer = client.cancel_all("KRAKEN", on_sent=on_sent)
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)
    assert answer.transport_error == REJECTED + "bad certificate"
    assert server.accepted == 1


@pytest.mark.parametrize("reads", [False, True], ids=["unread", "read"])
def test_a_reset_without_an_alert_is_unknown(
    reads: bool, client_for: ClientFactory, certificates: Certificates
) -> None:
    def script(connection: Connection) -> None:
        if reads:
            connection.read_request()
        connection.reset()

    with serving(script, tls=certificates.server_context()) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        answer = client.cancel_all("KRAKEN", on_sent=lambda: time.sleep(0 if reads else 0.1))
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_an_answer_that_was_sent_before_the_sending_broke_is_read(
    tls: bool, client_for: ClientFactory, certificates: Certificates
) -> None:
    def refuses_at_once(connection: Connection) -> None:
        connection.send(response(401))

    context = certificates.server_context() if tls else None
    with serving(refuses_at_once, tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        answer = client.cancel_all("KRAKEN", on_sent=lambda: time.sleep(0.1))
    assert (answer.outcome, answer.http_status) == (Outcome.REJECTED, 401)


@pytest.mark.parametrize("code", CERTIFICATE_ALERTS)
def test_an_alert_in_the_handshake_is_named(
    code: int, client_for: ClientFactory, certificates: Certificates
) -> None:
    def script(connection: Connection) -> None:
        connection.sock.recv(65536)
        connection.send(b"\x15\x03\x03\x00\x02\x02" + bytes([code]))

    with serving(script) as server:
        client = client_for(server.url.replace("http:", "https:"), timeout=5)
        answer, orders = client.cancel_all("KRAKEN"), client.open_orders("KRAKEN")
    assert answer.outcome is Outcome.NOT_DELIVERED
    assert answer.transport_error == orders.error == REJECTED + CERTIFICATE_ALERTS[code]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"valid_from_days": -9}, "certificate has expired"),
        ({"valid_from_days": 1}, "certificate is not yet valid"),
        ({"host": "elsewhere.example"}, "IP address mismatch"),
    ],
    ids=["expired", "not yet valid", "another host"],
)
def test_a_certificate_of_the_ems_that_we_reject_is_named(
    options: dict[str, object], text: str, client_for: ClientFactory, certificates: Certificates
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.issue("unacceptable", **options))
    with serving(answering(OK), tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        answer, orders = client.cancel_all("KRAKEN"), client.open_orders("KRAKEN")
    assert answer.outcome is Outcome.NOT_DELIVERED
    assert text in answer.transport_error
    assert text in orders.error
    assert server.requests == []


def test_no_certificate_is_offered_after_the_handshake(certificates: Certificates) -> None:
    """Or an alert about it could come after the request was read."""
    context = tls_context(
        base_url="https:", ca_bundle=str(certificates.ca), client_cert=str(certificates.client)
    )
    assert context is not None
    assert not context.post_handshake_auth
