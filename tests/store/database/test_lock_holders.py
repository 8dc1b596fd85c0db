"""Who holds an SQLite file is told by process and command."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from checkout_cli.errors import DatabaseUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.lock_holders import holders
from tests.support.divergence import beside_the_database

linux = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who holds a lock")
HOLD = (
    "import sqlite3, sys\n"
    "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "c.execute(sys.argv[2]); print('held', flush=True); sys.stdin.read()"
)


@linux
@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_another_process_that_writes_is_named_with_its_command(tmp_path: Path, mode: str, begin: str) -> None:
    path, script = tmp_path / "shop.db", tmp_path / "report.py"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t (a)")
    script.write_text(HOLD)
    assert holders(path) == []
    command = [sys.executable, str(script), str(path), begin]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        found = holders(path)
        other.communicate("")
    if not found:
        pytest.skip("this system does not tell who holds a lock")
    assert found == [f"pid {other.pid} ({Path(sys.executable).name} report.py)"]


@linux
def test_a_reader_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM t").fetchall()
        assert holders(path) == []


@linux
def test_the_error_names_the_holder(store: CheckoutStore) -> None:
    path = store.database.sqlite_path or Path()
    with beside_the_database(store.settings) as other:
        known = bool(holders(path))
        with pytest.raises(DatabaseUnavailable) as refused:
            other.database.prove_write()
    assert "is locked" in str(refused.value)
    assert (f"pid {os.getpid()} (" in str(refused.value)) is known


def proc(directory: Path, lock: str, *command: str) -> Path:
    (directory / "4711").mkdir(parents=True)
    (directory / "4711" / "cmdline").write_bytes("\0".join(command).encode())
    (directory / "locks").write_text(lock)
    return directory


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("/usr/bin/python3", "/srv/shop.py", "--password", "hush"), "pid 4711 (python3 shop.py)"),
        (("/usr/bin/python3", "-m", "shop"), "pid 4711 (python3 shop)"),
        (("psql", "postgresql://u:hush@h/d"), "pid 4711 (psql)"),
        (("worker", "TOKEN=hush"), "pid 4711 (worker)"),
        (("worker", "--token", "hush"), "pid 4711 (worker)"),
        ((), "pid 4711"),
    ],
)
def test_a_command_is_told_without_what_may_be_secret(tmp_path: Path, command: tuple[str, ...], shown: str) -> None:
    path = tmp_path / "shop.db"
    path.touch()
    lock = f"1: POSIX  ADVISORY  WRITE 4711 {file_in_words(path)} 1073741824 1073742335\n"
    assert holders(path, proc(tmp_path / "proc", lock, *command)) == [shown]


@pytest.mark.parametrize(
    "lock",
    [
        "",
        "nonsense\n",
        "1: POSIX  ADVISORY  READ 4711 {} 1073741824 1073742335\n",
        "1: -> POSIX  ADVISORY  WRITE 4711 {} 1073741824 1073742335\n",
        "1: POSIX  ADVISORY  WRITE 0 {} 1073741824 EOF\n",
        "1: POSIX  ADVISORY  WRITE 4711 ff:ff:1 0 EOF\n",
    ],
)
def test_other_locks_are_nobodys(tmp_path: Path, lock: str) -> None:
    path = tmp_path / "shop.db"
    path.touch()
    assert holders(path, proc(tmp_path / "proc", lock.format(file_in_words(path)), "x")) == []


def file_in_words(path: Path) -> str:
    """As /proc/locks names it."""
    status = path.stat()
    return f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
