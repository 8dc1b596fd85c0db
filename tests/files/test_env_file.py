from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.config.settings import Settings, read_env_file
from checkout_cli.config.variables import MASK
from checkout_cli.errors import ConfigurationError
from checkout_cli.files.env_file import parsed, plan, quoted, write

DOCUMENT = [
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_PASSWORD",
    "REDIS_DB",
    "REDIS_ENABLE_CHECKOUT_SESSIONS",
    "REDIS_ENABLE_DELIVERY_CACHE",
    "REDIS_ENABLE_COUPON_CACHE",
    "REDIS_ENABLE_USER_SESSIONS",
    "REDIS_ENABLE_STATISTICS",
]


def set_up(directory: Path, **environ: str) -> bytes:
    write(plan(directory, environ=environ))
    return (directory / ".env.local").read_bytes()


def test_a_new_file_has_every_variable_of_the_document_and_the_database(tmp_path: Path) -> None:
    set_up(tmp_path)
    assert list(read_env_file(tmp_path / ".env.local")) == [*DOCUMENT, "DATABASE_URL"]


@pytest.mark.parametrize(
    "environ",
    [
        {"REDIS_MODE": "cluster", "REDIS_CLUSTER_NODES": "10.0.0.2:7000"},
        {"REDIS_SENTINELS": "10.0.0.2:26379", "REDIS_SENTINEL_SERVICE": "checkout"},
        {"REDIS_TLS": "true", "REDIS_USERNAME": "shop"},
        {"DATABASE_URL": "postgresql://localhost/shop", "CHECKOUT_DATABASE_SCHEMA": "checkoutctl"},
    ],
)
def test_where_redis_and_our_tables_are_found_is_written_down_too(tmp_path: Path, environ: dict[str, str]) -> None:
    set_up(tmp_path, **environ)
    assert environ.items() <= read_env_file(tmp_path / ".env.local").items()


def test_a_schema_that_sqlite_does_not_have_is_not_written_down(tmp_path: Path) -> None:
    set_up(tmp_path, CHECKOUT_DATABASE_SCHEMA="shop")
    assert "CHECKOUT_DATABASE_SCHEMA" not in read_env_file(tmp_path / ".env.local")
    Settings.load(environ={}, directory=tmp_path)


def test_a_new_file_means_what_the_defaults_mean(tmp_path: Path) -> None:
    before = Settings.load(environ={}, directory=tmp_path)
    set_up(tmp_path)
    assert Settings.load(environ={}, directory=tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    set_up(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env.local").stat().st_mode) == 0o600


def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    assert plan(tmp_path, environ={}).changes
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    set_up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".env.local"]


def test_a_second_time_changes_neither_bytes_nor_times(tmp_path: Path) -> None:
    first = set_up(tmp_path)
    before = (tmp_path / ".env.local").stat()
    again = plan(tmp_path, environ={})
    assert not again.changes
    assert not write(again)
    assert list(again.difference()) == []
    after = (tmp_path / ".env.local").stat()
    assert (first, before.st_mtime_ns, before.st_ino) == (
        (tmp_path / ".env.local").read_bytes(),
        after.st_mtime_ns,
        after.st_ino,
    )


@pytest.mark.parametrize(
    "old",
    [
        b"REDIS_HOST=10.0.0.5\n",
        b"REDIS_HOST=10.0.0.5",
        b"REDIS_HOST=10.0.0.5\r\nOTHER=1\r\n",
        b"REDIS_HOST=10.0.0.5\r\nOTHER=1",
        b"# a comment\n\n\n  export REDIS_HOST = '10.0.0.5'  # here\n\n",
        b"\n",
        b"",
        b"   ",
        "NAME='Zo\u00eb'\nREDIS_HOST=10.0.0.5".encode(),
        b"KEY='two\nlines'\nREDIS_HOST=10.0.0.5",
        b"REDIS_HOST",
        b"not an assignment at all\nREDIS_HOST=10.0.0.5\n",
    ],
)
def test_missing_variables_are_appended_and_every_byte_before_them_is_kept(tmp_path: Path, old: bytes) -> None:
    path = tmp_path / ".env.local"
    path.write_bytes(old)
    before = parsed(old)
    new = set_up(tmp_path)
    assert new.startswith(old)
    assert new.endswith(b"\r\n" if b"\r\n" in old else b"\n")
    assert b"\r\n" not in new if b"\r\n" not in old else b"\n" not in new.replace(b"\r\n", b"")
    after = read_env_file(path)
    assert set(DOCUMENT) <= set(after)
    assert all(after[name] == value for name, value in before.items() if value is not None)
    assert set_up(tmp_path) == new


def test_only_what_is_missing_is_added(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("REDIS_PORT=7000\nREDIS_PASSWORD=hush\n")
    planned = plan(tmp_path, environ={})
    assert not {"REDIS_PORT", "REDIS_PASSWORD"} & set(planned.added)
    write(planned)
    settings = Settings.load(environ={}, directory=tmp_path)
    assert (settings.redis_port, settings.redis_password) == (7000, "hush")


def test_what_env_sets_is_not_overridden_by_a_default(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_HOST=redis.shop.example\n")
    planned = plan(tmp_path, environ={})
    assert planned.elsewhere == {".env": ("REDIS_HOST",)}
    write(planned)
    assert Settings.load(environ={}, directory=tmp_path).redis_host == "redis.shop.example"


def test_a_value_in_force_is_written_and_a_secret_of_the_environment_is_not(tmp_path: Path) -> None:
    content = set_up(
        tmp_path,
        REDIS_PORT="7001",
        REDIS_PASSWORD="canary",
        DATABASE_URL="postgresql://shop:canary@db.example/shop",
        REDIS_ENABLE_STATISTICS="false",
    )
    assert b"canary" not in content
    written = read_env_file(tmp_path / ".env.local")
    assert (written["REDIS_PORT"], written["REDIS_ENABLE_STATISTICS"]) == ("7001", "false")
    assert written["REDIS_PASSWORD"] == written["DATABASE_URL"] == ""


def test_a_flag_is_written(tmp_path: Path) -> None:
    write(plan(tmp_path, flags={"redis_port": 7002, "redis_host": None}, environ={"REDIS_PORT": "7001"}))
    assert read_env_file(tmp_path / ".env.local")["REDIS_PORT"] == "7002"


def test_a_flag_that_is_wrong_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 65535"):
        plan(tmp_path, flags={"redis_port": 70000}, environ={})


def test_the_diff_shows_the_addition_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text(
        "STRIPE_KEY=canary\n# canary\nREDIS_PASSWORD=canary\nREDIS_HOST=h\nX='\ncanary'"
    )
    lines = list(plan(tmp_path, environ={}).difference())
    assert "canary" not in "\n".join(lines)
    assert "+REDIS_PORT=6379" in lines
    assert not [line for line in lines if line.startswith("-") and not line.startswith("---")]
    assert lines[lines.index("+++ .env.local") + 1].startswith("@@ -6,0 +7,")


def test_the_diff_masks_a_password_in_a_url(tmp_path: Path) -> None:
    planned = plan(tmp_path, flags={"database_url": "postgresql://shop:canary@db.example/shop"}, environ={})
    lines = list(planned.difference())
    assert f"+DATABASE_URL=postgresql://shop:{MASK}@db.example/shop" in lines
    assert b"canary" in planned.after


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
def test_a_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    set_up(tmp_path)
    path.chmod(0o644)
    content, changed_at = path.read_bytes(), path.stat().st_mtime_ns
    planned = plan(tmp_path, environ={})
    assert planned.changes
    assert list(planned.difference()) == [".env.local: readable by others; its mode becomes 600"]
    write(planned)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, changed_at)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays_the_owner(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    path.write_text("REDIS_HOST=h\n")
    os.chown(path, 1234, 1235)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        set_up(tmp_path)
    set_up(tmp_path, CHECKOUT_ENV_FILE=str(path))
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "shared"
    target.write_text("REDIS_HOST=h\n")
    (tmp_path / ".env.local").symlink_to(target)
    planned = plan(tmp_path, environ={})
    assert "symbolic link" in planned.obstacle
    with pytest.raises(ConfigurationError, match="symbolic link"):
        write(planned)
    assert target.read_text() == "REDIS_HOST=h\n"


def test_a_symbolic_link_to_a_complete_file_is_fine(tmp_path: Path) -> None:
    set_up(tmp_path)
    (tmp_path / ".env.local").rename(tmp_path / "shared")
    (tmp_path / ".env.local").symlink_to(tmp_path / "shared")
    assert not plan(tmp_path, environ={}).changes


def test_a_dangling_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env.local").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        write(plan(tmp_path, environ={}))
    assert not (tmp_path / "nowhere").exists()


def test_a_directory_by_that_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".env.local").mkdir()
    with pytest.raises(ConfigurationError, match="is a directory"):
        plan(tmp_path, environ={})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env.local")
    with pytest.raises(ConfigurationError, match="no regular file"):
        plan(tmp_path, environ={})


def test_a_file_that_is_not_text_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_bytes(b"REDIS_HOST=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        plan(tmp_path, environ={})


def test_a_quote_that_never_closes_keeps_the_file_from_being_written(tmp_path: Path) -> None:
    """What follows would become a part of the quoted value."""
    path = tmp_path / ".env.local"
    path.write_text("NOTE='never closed\n")
    with pytest.raises(ConfigurationError, match="never closed"):
        plan(tmp_path, environ={"DATABASE_URL": "sqlite:////a place/checkout.db"})
    assert path.read_text() == "NOTE='never closed\n"


def test_a_change_by_somebody_else_since_the_plan_is_not_lost(tmp_path: Path) -> None:
    planned = plan(tmp_path, environ={})
    (tmp_path / ".env.local").write_text("REDIS_HOST=theirs\n")
    with pytest.raises(ConfigurationError, match="somebody else"):
        write(planned)
    assert (tmp_path / ".env.local").read_text() == "REDIS_HOST=theirs\n"
    assert [path.name for path in tmp_path.iterdir()] == [".env.local"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env.local"
    path.write_text("REDIS_HOST=h\n")
    planned = plan(tmp_path, environ={})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        write(planned)
    assert path.read_text() == "REDIS_HOST=h\n"
    assert [left.name for left in tmp_path.iterdir()] == [".env.local"]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_value_survives_quoting(text: str) -> None:
    assert parsed(f"DATABASE_URL={quoted(text)}\nNEXT=1\n".encode()) == {"DATABASE_URL": text, "NEXT": "1"}


def test_a_file_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by its mode: these tests may run as root, who can read everything."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / ".env.local").write_text("REDIS_HOST=h\n")
    monkeypatch.setattr("checkout_cli.config.settings.read_regular", denied)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        plan(tmp_path, environ={})


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        write(plan(tmp_path / "mistyped", environ={}))
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("other", [".env.production", ".env.development", ".env.test.local", ".env"])
def test_what_another_environment_file_sets_is_never_written(tmp_path: Path, other: str) -> None:
    (tmp_path / other).write_text("REDIS_HOST=redis.shop.example\nREDIS_PORT=\n")
    planned = plan(tmp_path, environ={"REDIS_HOST": "elsewhere.example"})
    assert planned.elsewhere == {other: ("REDIS_HOST", "REDIS_PORT")}
    write(planned)
    assert not {"REDIS_HOST", "REDIS_PORT"} & set(read_env_file(tmp_path / ".env.local"))


def test_a_dollar_is_written_as_the_shop_reads_it_too(tmp_path: Path) -> None:
    content = set_up(tmp_path, REDIS_USERNAME="shop$ops")
    assert b"REDIS_USERNAME='shop\\$ops'" in content
    assert read_env_file(tmp_path / ".env.local")["REDIS_USERNAME"] == "shop$ops"
