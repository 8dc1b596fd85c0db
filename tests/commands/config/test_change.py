"""Settings are written where they are read from, and every other line stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkout_cli.commands.config.change import set_values, unset, values_of, with_values
from checkout_cli.config.variables import Origin
from checkout_cli.errors import ConfigurationError, ExitCode, InvalidInput
from tests.support.command import Checkoutctl

FILE = b"# the shop's\nexport REDIS_PORT=1  # once\r\nOTHER='a b'\nREDIS_PORT=2\n"


def written(directory: Path, text: str) -> Path:
    file = directory / ".env.local"
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_a_value_takes_the_place_of_its_first_line_and_the_rest_stays() -> None:
    after = with_values(FILE, {"REDIS_PORT": "7"})
    assert after == b"# the shop's\nexport REDIS_PORT=7\r\nOTHER='a b'\n"
    assert with_values(FILE, {"REDIS_PORT": None}) == b"# the shop's\nOTHER='a b'\n"
    assert with_values(b"A=1", {"REDIS_DB": "3"}) == b"A=1\nREDIS_DB=3\n"
    assert with_values(b"", {"REDIS_HOST": "it's"}) == b'REDIS_HOST="it\'s"\n'


def test_what_is_set_is_read_again_and_private(tmp_path: Path) -> None:
    changed = set_values(tmp_path, {"REDIS_PORT": "7001", "REDIS_HOST": "redis.shop"}, environ={})
    assert [(item.value, item.origin) for item in changed.settings] == [
        (7001, Origin.ENV_LOCAL),
        ("redis.shop", Origin.ENV_LOCAL),
    ]
    assert changed.exit_code is ExitCode.OK
    assert (tmp_path / ".env.local").stat().st_mode & 0o777 == 0o600


def test_a_stronger_origin_is_named_with_the_way_to_take_it_away(tmp_path: Path) -> None:
    changed = set_values(tmp_path, {"REDIS_PORT": "7001"}, environ={"REDIS_PORT": "1"})
    assert (changed.exit_code, changed.next_step) == (ExitCode.FINDING, "unset REDIS_PORT")
    assert set_values(tmp_path, {"REDIS_PORT": "7002"}, environ={}).exit_code is ExitCode.OK


def test_it_is_taken_out_of_every_file(tmp_path: Path) -> None:
    written(tmp_path, "REDIS_PASSWORD=one\nREDIS_DB=2\n")
    (tmp_path / ".env").write_text("REDIS_PASSWORD=two\n")
    (tmp_path / ".env").chmod(0o600)
    changed = unset(tmp_path, ["REDIS_PASSWORD"], environ={})
    assert not changed.settings[0].value
    assert (tmp_path / ".env.local").read_text() == "REDIS_DB=2\n"
    assert (tmp_path / ".env").read_text() == ""
    assert unset(tmp_path, ["REDIS_PASSWORD"], environ={}).files == ()


def test_what_other_lines_mean_is_never_changed(tmp_path: Path) -> None:
    file = written(tmp_path, "NOTE='one\nREDIS_PORT=2\n'\n")
    with pytest.raises(ConfigurationError, match="several lines"):
        set_values(tmp_path, {"REDIS_PORT": "7"}, environ={})
    assert file.read_text() == "NOTE='one\nREDIS_PORT=2\n'\n"


def test_a_part_of_a_url_is_changed_in_the_url(tmp_path: Path) -> None:
    written(tmp_path, "REDIS_URL=redis://shop:1/0\n")
    with pytest.raises(ConfigurationError, match="a part of REDIS_URL"):
        set_values(tmp_path, {"REDIS_PORT": "7"}, environ={})


def test_no_file_of_others_and_no_link_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("REDIS_DB=1\n")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / ".env.local").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        set_values(tmp_path, {"REDIS_PORT": "7"}, environ={})
    (tmp_path / ".env.local").unlink()
    written(tmp_path, "REDIS_DB=1\n").chmod(0o666)
    with pytest.raises(ConfigurationError, match="written by others"):
        set_values(tmp_path, {"REDIS_PORT": "7"}, environ={})


@pytest.mark.parametrize("given", ["FOO=1", "REDIS_PORT", "REDIS_PORT=x", "REDIS_PASSWORD=typed"])
def test_what_cannot_be_set_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        values_of([given], lambda _: "asked")
    assert "typed" not in str(refusal.value)


def test_a_secret_is_asked_for_and_never_shown(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    assert values_of(["REDIS_PASSWORD"], lambda name: f"of {name}") == {"REDIS_PASSWORD": "of REDIS_PASSWORD"}
    done = checkoutctl("config", "set", "REDIS_PASSWORD", input="canary-7f3a\n")
    assert (done.code, "canary" in done.out + done.err) == (0, False)
    assert "REDIS_PASSWORD=canary-7f3a\n" in (tmp_path / ".env.local").read_text()
    assert checkoutctl("config", "set", "REDIS_PASSWORD", input="").code == 2
