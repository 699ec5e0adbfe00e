"""The lock files work with every supported Python, not only with the one that made them."""

from pathlib import Path

from tools import check_locks

HASH = "    --hash=sha256:" + "0" * 64


def lock(path: Path, *packages: str) -> Path:
    path.write_text("".join(f"{package} \\\n{HASH}\n" for package in packages))
    return path


def test_a_requirement_of_an_older_python_only_must_be_in_the_lock(tmp_path: Path) -> None:
    problems = check_locks.problems(lock(tmp_path / "some.lock", "redis==8.1.0"))
    assert problems == ["some.lock: redis requires async-timeout under Python 3.11.0"]


def test_a_complete_lock_has_no_problems(tmp_path: Path) -> None:
    assert check_locks.problems(lock(tmp_path / "some.lock", "asgiref==3.13.0")) == []


def test_a_host_and_a_missing_hash_are_named(tmp_path: Path) -> None:
    path = tmp_path / "some.lock"
    path.write_text("--index-url https://example.com/simple\nasgiref==3.13.0\n")
    assert check_locks.problems(path) == [
        "some.lock:1: names a host: --index-url https://example.com/simple",
        "some.lock:2: has no hash: asgiref==3.13.0",
    ]
