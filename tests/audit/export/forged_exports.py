"""What a forger of exports does: edits, and then makes everything fit again as far as they can."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from killswitch.audit.export import csv_safe
from tests.audit.export.export_helpers import Exported

Record = dict[str, Any]


@dataclass(kw_only=True)
class Forgery:
    """An export taken apart, to be changed and written again."""

    header: Record
    events: list[Record]
    manifest: Record

    @classmethod
    def of(cls, exported: Exported) -> Self:
        return cls(header=exported.header, events=exported.events, manifest=exported.manifest)

    def rechain(self) -> None:
        """Make every hash fit what the events say now, and the header their end."""
        previous = "0" * 64
        for event in self.events:
            event["previous"] = previous
            previous = event["hash"] = rehashed(event)
        self.header["head"]["hash"] = previous

    def renumber(self) -> None:
        """The same after events were taken out or put in."""
        for seq, event in enumerate(self.events, start=1):
            event["seq"] = seq
        self.header["head"]["seq"] = len(self.events)
        self.rechain()

    def recount(self) -> None:
        """Have the manifest say what is there now."""
        numbers = [event["seq"] for event in self.events]
        self.manifest |= {
            "count": len(numbers),
            "first_seq": numbers[0] if numbers else None,
            "last_seq": numbers[-1] if numbers else None,
            "head": self.header["head"],
            "filter": self.header["filter"],
        }
        self.manifest["sha256"] = hashlib.sha256(self._before()).hexdigest()

    def sign(self, key: Ed25519PrivateKey) -> None:
        """Sign it with the given key."""
        public = key.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.manifest["key_id"] = hashlib.sha256(der).hexdigest()[:16]
        self.manifest["public_key"] = pem_of(key)
        unsigned = {name: value for name, value in self.manifest.items() if name != "signature"}
        self.manifest["signature"] = base64.b64encode(key.sign(encoded(unsigned))).decode()

    def seal(self, key: Ed25519PrivateKey) -> bytes:
        """A new manifest for what is there now, signed; the finished forgery."""
        self.recount()
        self.sign(key)
        return self.written()

    def written(self) -> bytes:
        return self._before() + line(self.manifest)

    def as_csv(self, key: Ed25519PrivateKey) -> bytes:
        """The same forgery as a table."""
        columns = self.header["columns"]
        table = [["# header", encoded(self.header).decode()], columns]
        table += [[str(event[name]) for name in columns] for event in self.events]
        before = "\ufeff" + "".join(csv_safe.row(cells) for cells in table)
        self.recount()
        self.manifest["sha256"] = hashlib.sha256(before.encode()).hexdigest()
        self.sign(key)
        last = csv_safe.row(["# manifest", encoded(self.manifest).decode()])
        return (before + last).encode()

    def _before(self) -> bytes:
        return b"".join(line(record) for record in [self.header, *self.events])


def encoded(record: Record) -> bytes:
    """Canonical JSON, written here a second time: a forger has a program of their own."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def line(record: Record) -> bytes:
    return encoded(record) + b"\n"


def rehashed(event: Record) -> str:
    """The hash that an event's content calls for."""
    hashed = {name: value for name, value in event.items() if name != "hash"}
    return hashlib.sha256(encoded(hashed)).hexdigest()


def pem_of(key: Ed25519PrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
