"""``REDIS_URL``: what it says, what it may not say, and how it goes together with the settings for its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.config.addresses import address_text, split_address
from checkout_cli.config.redis_url import parts_of
from checkout_cli.config.settings import Settings, resolve
from checkout_cli.config.variables import Origin
from checkout_cli.errors import ConfigurationError
from checkout_cli.files import env_file

CANARY = "k4n4ry-pa55w0rd"


def load(directory: Path, environ: dict[str, str] | None = None, **flags: Any) -> Settings:
    return Settings.load(environ=environ or {}, directory=directory, flags=flags)


def server(host: str, port: int = 6379, *, tls: bool = False, **more: Any) -> dict[str, Any]:
    return {"redis_host": host, "redis_port": port, "redis_socket": "", "redis_tls": tls, **more}


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://cache", server("cache")),
        ("redis://cache/", server("cache")),
        ("redis://cache:6380/2", server("cache", 6380, redis_db=2)),
        ("rediss://cache:6390?db=3", server("cache", 6390, tls=True, redis_db=3)),
        ("REDISS://cache", server("cache", tls=True)),
        ("redis://:pass@cache", server("cache", redis_password="pass")),
        ("redis://shop@cache", server("cache", redis_username="shop")),
        (
            "redis://shop:p%40%2F%23%3A%20@[fd00::1]:6380/1",
            server("fd00::1", 6380, redis_username="shop", redis_password="p@/#: ", redis_db=1),
        ),
        ("redis://a:b:c@cache", server("cache", redis_username="a", redis_password="b:c")),
        ("redis://[::1]", server("::1")),
        ("unix:///run/redis.sock", {"redis_socket": "/run/redis.sock", "redis_tls": False}),
        (
            "unix://shop:pw@/run/my%20redis.sock?db=4",
            {
                "redis_socket": "/run/my redis.sock",
                "redis_tls": False,
                "redis_username": "shop",
                "redis_password": "pw",
                "redis_db": 4,
            },
        ),
    ],
)
def test_a_url_says_where_redis_is(url: str, parts: dict[str, Any]) -> None:
    assert parts_of(url) == parts


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_password_survives_a_url(password: str) -> None:
    assert parts_of(f"redis://u:{quote(password, safe='')}@cache")["redis_password"] == password


WRONG = [
    "cache:6379",
    "http://cache",
    "redis:/cache",
    "redis://",
    f"redis://:{CANARY}@",
    f"redis://u:{CANARY}/x@cache",
    f"redis://u:{CANARY}@x@cache",
    f"redis://u:{CANARY}#x@cache",
    f"redis://u:{CANARY} x@cache",
    f"redis://u:{CANARY}%ff@cache",
    f"redis://:{CANARY}",
    f"redis://:{CANARY}@::1:6379",
    f"redis://:{CANARY}@[::1:6379",
    f"redis://:{CANARY}@[cache]:6379",
    f"redis://:{CANARY}@[::1]6379",
    f"redis://:{CANARY}@cache:70000",
    f"redis://:{CANARY}@cache/one",
    f"redis://:{CANARY}@cache/1?db=2",
    f"redis://:{CANARY}@cache/1/2",
    f"rediss://:{CANARY}@cache?ssl_cert_reqs=none",
    f"rediss://:{CANARY}@cache?ssl_ca_certs=ca.pem",
    f"redis://cache?password={CANARY}",
    f"redis://:{CANARY}@cache?socket_timeout=1",
    f"unix://:{CANARY}@run/redis.sock",
    f"unix://:{CANARY}@/{'a' * 108}",
]


@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_url_of_a_redis_is_one_problem_that_never_repeats_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, {"REDIS_URL": url})
    message = str(caught.value)
    assert message.startswith("REDIS_URL (from environment) ")
    assert CANARY not in message
    assert "\n" not in message


def test_what_a_url_could_switch_off_is_refused_with_what_to_set_instead(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="always verified"):
        load(tmp_path, {"REDIS_URL": "rediss://cache?ssl_cert_reqs=none"})
    with pytest.raises(ConfigurationError, match="REDIS_TLS_CA_FILE"):
        load(tmp_path, {"REDIS_URL": "rediss://cache?ssl_ca_certs=ca.pem"})


def test_the_password_of_a_url_is_shown_nowhere(tmp_path: Path) -> None:
    settings = load(tmp_path, {"REDIS_URL": f"rediss://shop:{CANARY}@cache:6390/1"})
    assert settings.password() == CANARY
    assert CANARY not in repr(settings)
    found = resolve(environ={"REDIS_URL": f"rediss://shop:{CANARY}@cache:6390/1"}, directory=tmp_path)
    assert CANARY not in repr(found)
    assert CANARY not in "".join(item.variable.masked(item.value) for item in found.values())
    assert CANARY not in settings.redis_place


class TestPrecedence:
    def test_a_url_fills_what_nobody_has_set(self, tmp_path: Path) -> None:
        settings = load(tmp_path, {"REDIS_URL": "rediss://shop:pw@cache:6390/3"})
        assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("cache", 6390, 3)
        assert (settings.redis_username, settings.password(), settings.redis_tls) == ("shop", "pw", True)

    def test_a_url_replaces_what_comes_from_a_weaker_place(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("REDIS_HOST=old\nREDIS_PORT=1\nREDIS_TLS=1\nREDIS_DB=5\nREDIS_PASSWORD=kept\n")
        found = resolve(environ={"REDIS_URL": "redis://cache"}, directory=tmp_path)
        assert (found["redis_host"].value, found["redis_host"].via) == ("cache", "REDIS_URL")
        assert (found["redis_port"].value, found["redis_tls"].value) == (6379, False)
        assert (found["redis_db"].value, found["redis_password"].value) == (5, "kept")
        assert not [item for item in found.values() if item.problem]

    def test_what_a_url_replaces_need_not_be_right(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("REDIS_PORT=wrong\n")
        assert load(tmp_path, {"REDIS_URL": "redis://cache"}).redis_port == 6379

    def test_a_stronger_setting_replaces_its_part_of_the_url(self, tmp_path: Path) -> None:
        (tmp_path / ".env.local").write_text("REDIS_URL=rediss://shop:pw@cache:6390/3\n")
        settings = load(tmp_path, {"REDIS_HOST": "other"}, redis_port=7000)
        assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("other", 7000, 3)
        assert settings.redis_tls

    def test_a_stronger_password_file_replaces_the_password_of_the_url(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("REDIS_URL=redis://:weak@cache\n")
        (tmp_path / "password").write_text("strong\n")
        environ = {"REDIS_PASSWORD_FILE": str(tmp_path / "password")}
        with pytest.raises(ConfigurationError, match=r"REDIS_PASSWORD_FILE \(from environment\) would go to cache"):
            load(tmp_path, environ)
        assert load(tmp_path, environ, redis_host="cache").password() == "strong"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("REDIS_HOST", "localhost"),
            ("REDIS_PORT", "6380"),
            ("REDIS_DB", "2"),
            ("REDIS_USERNAME", "other"),
            ("REDIS_PASSWORD", CANARY),
            ("REDIS_TLS", "false"),
            ("REDIS_SOCKET", "/run/redis.sock"),
        ],
    )
    def test_another_word_from_the_same_place_is_a_contradiction(self, name: str, value: str, tmp_path: Path) -> None:
        url = "rediss://shop:pw@cache:6379/1"
        with pytest.raises(ConfigurationError) as caught:
            load(tmp_path, {"REDIS_URL": url, name: value})
        assert f"REDIS_URL (from environment) contradicts {name}" in str(caught.value)
        assert CANARY not in str(caught.value)
        (tmp_path / ".env.local").write_text(f"{name}={value}\n")
        assert load(tmp_path, {"REDIS_URL": url}).redis_host == "cache"

    def test_the_same_word_twice_is_no_contradiction(self, tmp_path: Path) -> None:
        variables = {"REDIS_URL": "rediss://cache:6380/1", "REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_DB": "1"}
        assert load(tmp_path, variables).redis_port == 6380


class TestSocket:
    def test_a_socket_is_where_redis_is(self, tmp_path: Path) -> None:
        for variables in ({"REDIS_SOCKET": "/run/r.sock"}, {"REDIS_URL": "unix:///run/r.sock"}):
            settings = load(tmp_path, variables)
            assert settings.redis_socket == settings.redis_place == "/run/r.sock"

    def test_a_system_without_unix_sockets_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr("socket.AF_UNIX")
        with pytest.raises(ConfigurationError, match="this system has no Unix sockets"):
            load(tmp_path, {"REDIS_SOCKET": "/run/r.sock"})

    def test_a_stronger_host_leads_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("REDIS_URL=unix:///run/r.sock\n")
        assert load(tmp_path, redis_host="cache").redis_place == "cache:6379"
        assert load(tmp_path, {"REDIS_PORT": "7000"}).redis_place == "localhost:7000"

    def test_a_stronger_socket_leads_away_from_a_host(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("REDIS_HOST=cache\n")
        assert load(tmp_path, {"REDIS_SOCKET": "/run/r.sock"}).redis_place == "/run/r.sock"

    @pytest.mark.parametrize(
        "variables",
        [
            {"REDIS_SOCKET": "/run/r.sock", "REDIS_HOST": "cache"},
            {"REDIS_SOCKET": "/run/r.sock", "REDIS_PORT": "7000"},
            {"REDIS_SOCKET": "/run/r.sock", "REDIS_TLS": "true"},
            {"REDIS_SOCKET": "/run/r.sock", "REDIS_MODE": "cluster"},
            {"REDIS_SOCKET": "/run/r.sock", "REDIS_SENTINELS": "one:26379"},
            {"REDIS_SOCKET": "run/r.sock"},
            {"REDIS_SOCKET": "/" + "a" * 108},
            {"REDIS_URL": "unix:///run/r.sock", "REDIS_HOST": "cache"},
            {"REDIS_URL": "unix:///run/r.sock", "REDIS_TLS": "true"},
        ],
    )
    def test_a_socket_beside_another_place_is_a_contradiction(self, variables: dict[str, str], tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError):
            load(tmp_path, variables)

    def test_the_defaults_that_setup_writes_do_not_contradict_a_socket(self, tmp_path: Path) -> None:
        variables = {"REDIS_HOST": "localhost", "REDIS_PORT": "6379", "REDIS_SOCKET": "/run/r.sock"}
        assert load(tmp_path, variables).redis_place == "/run/r.sock"


class TestAddresses:
    @pytest.mark.parametrize("text", ["cache:6379", "10.0.0.1:1", "[::1]:26379", "[fd00::1]:65535"])
    def test_an_address_is_written_as_it_is_read(self, text: str) -> None:
        assert address_text(*split_address(text)) == text

    @pytest.mark.parametrize("wrong", ["::1:26379", "[::1]", "[::1:6379", "::1]:6379", "[x:y:z]:1", "a:b:c"])
    def test_what_is_no_address_is_refused(self, wrong: str) -> None:
        with pytest.raises(ValueError, match="must be"):
            split_address(wrong)

    def test_places_have_ipv6_in_brackets(self, tmp_path: Path) -> None:
        assert load(tmp_path, {"REDIS_HOST": "::1"}).redis_place == "[::1]:6379"
        cluster = {"REDIS_MODE": "cluster", "REDIS_HOST": "::1", "REDIS_CLUSTER_NODES": "[::1]:7001"}
        assert load(tmp_path, cluster).redis_place == "[::1]:6379,[::1]:7001"

    def test_a_host_with_colons_that_is_no_ipv6_address_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="REDIS_HOST"):
            load(tmp_path, {"REDIS_HOST": "a:b:c"})


class TestSetupsFile:
    @staticmethod
    def written(directory: Path, environ: dict[str, str]) -> str:
        plan = env_file.plan(directory, environ=environ)
        env_file.write(plan)
        return (directory / ".env.local").read_text()

    def test_a_url_is_written_instead_of_its_parts_and_without_its_password(self, tmp_path: Path) -> None:
        text = self.written(tmp_path, {"REDIS_URL": f"rediss://shop:{CANARY}@cache:6390/1"})
        assert "REDIS_URL=rediss://shop@cache:6390/1\n" in text
        assert CANARY not in text
        for name in ("REDIS_HOST=", "REDIS_PORT=", "REDIS_PASSWORD=", "REDIS_DB=", "REDIS_TLS="):
            assert f"\n{name}" not in text
        again = load(tmp_path, {"REDIS_URL": "rediss://shop@cache:6390/1", "REDIS_PASSWORD": CANARY})
        assert (again.redis_place, again.redis_tls, again.password()) == ("cache:6390", True, CANARY)

    def test_a_socket_and_the_files_of_tls_are_written(self, tmp_path: Path) -> None:
        text = self.written(tmp_path, {"REDIS_SOCKET": "/run/r.sock", "REDIS_PASSWORD_FILE": "/etc/shop/redis"})
        assert "REDIS_SOCKET=/run/r.sock\n" in text
        assert "\nREDIS_HOST=" not in text
        assert "REDIS_PASSWORD_FILE=/etc/shop/redis\n" in text
        assert load(tmp_path).redis_place == "/run/r.sock"
        assert not env_file.plan(tmp_path, environ={}).changes

    def test_a_password_without_a_user_leaves_nothing_behind_in_the_url(self, tmp_path: Path) -> None:
        assert "REDIS_URL=redis://cache\n" in self.written(tmp_path, {"REDIS_URL": f"redis://:{CANARY}@cache"})

    def test_a_url_is_not_written_beside_other_words_for_the_same_place(self, tmp_path: Path) -> None:
        (tmp_path / ".env.local").write_text("REDIS_HOST=old\n")
        (tmp_path / ".env.local").chmod(0o600)
        text = self.written(tmp_path, {"REDIS_URL": "redis://cache:6380"})
        assert "REDIS_URL" not in text
        load(tmp_path)

    def test_the_url_of_env_stays_there_alone(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("REDIS_URL=redis://cache:6380\n")
        assert "REDIS_HOST" not in self.written(tmp_path, {})
        (tmp_path / ".env").write_text("REDIS_URL=redis://moved:6380\n")
        assert load(tmp_path).redis_place == "moved:6380"
        assert resolve(environ={}, directory=tmp_path)["redis_host"].origin is Origin.ENV
