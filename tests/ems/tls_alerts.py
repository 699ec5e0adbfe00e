"""TLS alerts that Python's own server cannot send: any alert, after any number of records."""

import hashlib
import hmac
import socket
import ssl
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.ems.conftest import Certificates

FATAL = 2
ALERT, APPLICATION_DATA = b"\x15", b"\x17"
TLS_1_2_CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"


class AlertingContext(ssl.SSLContext):
    """A server's context that knows the keys of its latest connection."""

    server_random = b""
    keylog: Path

    @classmethod
    def make(
        cls, certificates: Certificates, *, version: ssl.TLSVersion, tickets: int = 0
    ) -> "AlertingContext":
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server)
        context.minimum_version = context.maximum_version = version
        context.num_tickets = tickets
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
        context.set_ciphers(TLS_1_2_CIPHER)
        context.keylog = certificates.server.with_suffix(".keys")
        context.keylog_filename = str(context.keylog)
        context._msg_callback = context._keep_server_random  # type: ignore[attr-defined]
        return context

    def _keep_server_random(self, *message: object) -> None:
        data = message[-1]
        if isinstance(data, bytes) and data[:1] == b"\x02":  # a ServerHello
            self.server_random = data[6:38]

    def send_alert(self, sock: socket.socket, code: int, *, records_before: int = 0) -> None:
        """Send a fatal alert, encrypted as the next record after those that were sent before."""
        assert isinstance(sock, ssl.SSLSocket)
        build = self._tls_1_3 if sock.version() == "TLSv1.3" else self._tls_1_2
        # Past the SSLSocket, which would encrypt the record again.
        socket.socket.sendall(sock, build(bytes([FATAL, code]), records_before))

    def _secret(self, label: str) -> bytes:
        lines = [line.split() for line in self.keylog.read_text().splitlines()]
        return bytes.fromhex([words[2] for words in lines if words[0] == label][-1])

    def _tls_1_3(self, alert: bytes, sequence: int) -> bytes:
        secret = self._secret("SERVER_TRAFFIC_SECRET_0")

        def expand(label: bytes, length: int) -> bytes:
            info = struct.pack(">HB", length, 6 + len(label)) + b"tls13 " + label + b"\x00"
            return HKDFExpand(algorithm=SHA384(), length=length, info=info).derive(secret)

        nonce = int.from_bytes(expand(b"iv", 12)) ^ sequence
        head = APPLICATION_DATA + b"\x03\x03" + struct.pack(">H", len(alert) + 1 + 16)
        key = AESGCM(expand(b"key", 32))
        return head + key.encrypt(nonce.to_bytes(12), alert + ALERT, head)

    def _tls_1_2(self, alert: bytes, sequence: int) -> bytes:
        lines = [line.split() for line in self.keylog.read_text().splitlines()]
        client_random = bytes.fromhex(
            [words[1] for words in lines if words[0] == "CLIENT_RANDOM"][-1]
        )
        master, seed = self._secret("CLIENT_RANDOM"), b"key expansion"
        seed += self.server_random + client_random
        block, state = b"", seed
        while len(block) < 40:
            state = hmac.digest(master, state, hashlib.sha256)
            block += hmac.digest(master, state + seed, hashlib.sha256)
        key, salt = AESGCM(block[16:32]), block[36:40]
        number = struct.pack(">Q", sequence + 1)  # the first record was the end of the handshake
        authenticated = number + ALERT + b"\x03\x03" + struct.pack(">H", len(alert))
        sealed = number + key.encrypt(salt + number, alert, authenticated)
        return ALERT + b"\x03\x03" + struct.pack(">H", len(sealed)) + sealed
