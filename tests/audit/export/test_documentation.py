"""What `docs/auditors.md` tells an auditor is true: its numbers, and every command in it."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from killswitch.audit import signing
from killswitch.audit.chain import GENESIS
from killswitch.audit.export.formats import COLUMNS
from killswitch.break_glass.journal import Journal
from tests.audit.export.export_helpers import exported, fill

ROOT = Path(django_settings.BASE_DIR)
PAGE = (ROOT / "docs" / "auditors.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_the_worked_example_gives_the_numbers_that_it_says() -> None:
    (events,) = [block.splitlines() for block in _blocks("json")]
    (texts,) = [block.splitlines() for block in _blocks("text")]
    previous = GENESIS
    for line, text in zip(events, texts, strict=True):
        event = json.loads(line)
        assert event["previous"] == previous
        previous = event.pop("hash")
        canonical = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert canonical == text
        assert hashlib.sha256(text.encode()).hexdigest() == previous
        assert f"{len(text.encode())} bytes" in PAGE
        assert PAGE.count(f"`{previous}`") == 1
    assert json.loads(json.loads(events[1])["data"])["message"] == '„Größe“ "0"\n'


def test_every_column_is_described() -> None:
    table = PAGE.partition("exactly these columns")[2].partition("**Last line")[0]
    assert set(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)) >= {"`seq`", "`data`", "`hash`"}
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert described == list(COLUMNS)


@pytest.mark.django_db
def test_every_key_of_header_and_manifest_is_described() -> None:
    fill(1)
    done = exported()
    described = PAGE.partition("## The file")[2]
    for key in {*done.header, *done.manifest}:
        assert f"`{key}`" in described, key


@pytest.mark.django_db
def test_every_command_does_what_the_page_says(tmp_path: Path, settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = base64.b64encode(bytes(range(32))).decode()
    fill(3)
    done = exported()
    (tmp_path / "export.jsonl").write_bytes(done.content)
    (tmp_path / "known.pem").write_text(signing.public_key_pem())
    shutil.copy(ROOT / "tools" / "verify_export.py", tmp_path)
    line = Journal(tmp_path).append("PRESS", {"reason": '"Größe", "hash":"0"'})
    said = [_run(block, tmp_path, head=done.events[4]["hash"]) for block in _blocks("sh")]
    whole, journal, key_id, event, content, signature = said
    assert whole.endswith("PASSED: every check that you requested.\n")
    assert "The kept head" in whole
    assert key_id.startswith(done.manifest["key_id"])
    assert event.count(done.events[0]["hash"]) == 2
    assert content.count(done.manifest["sha256"]) == 2
    assert "Signature Verified Successfully" in signature
    assert journal.count(line.hash) == 2


def _run(script: str, directory: Path, *, head: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HEAD": head},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()
