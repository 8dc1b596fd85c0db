from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.config.settings import ENV_FILES, VARIABLES, Settings, exposed, read_env_file, resolve
from checkout_cli.config.variables import MASK, Origin, without_password
from checkout_cli.errors import ConfigurationError
from checkout_cli.files.env_file import quoted

CANARY = "k4n4ry-pa55w0rd"


def write_env(directory: Path, name: str, **variables: str) -> None:
    (directory / name).write_text("".join(f"{key}={value}\n" for key, value in variables.items()), encoding="utf-8")


class TestPrecedence:
    LAYERS: tuple[Origin, ...] = (Origin.FLAG, Origin.ENVIRONMENT, Origin.ENV_LOCAL, Origin.ENV, Origin.DEFAULT)

    @pytest.mark.parametrize("strongest", range(5))
    def test_the_strongest_origin_wins_and_is_remembered(self, strongest: int, tmp_path: Path) -> None:
        given_by = set(self.LAYERS[strongest:])
        if Origin.ENV_LOCAL in given_by:
            write_env(tmp_path, ".env.local", REDIS_PORT="3")
        if Origin.ENV in given_by:
            write_env(tmp_path, ".env", REDIS_PORT="4")
        port = resolve(
            flags={"redis_port": 1 if Origin.FLAG in given_by else None},
            environ={"REDIS_PORT": "2"} if Origin.ENVIRONMENT in given_by else {},
            directory=tmp_path,
        )["redis_port"]
        assert (port.value, port.origin) == ([1, 2, 3, 4, 6379][strongest], self.LAYERS[strongest])
        assert port.problem is None

    def test_the_origins_are_declared_strongest_first(self) -> None:
        assert tuple(origin for origin in Origin if origin is not Origin.ENV_FILE) == self.LAYERS
        assert (Origin.ENV_LOCAL, Origin.ENV) == ENV_FILES

    def test_an_empty_value_means_the_next_one(self, tmp_path: Path) -> None:
        write_env(tmp_path, ".env.local", REDIS_HOST="")
        write_env(tmp_path, ".env", REDIS_HOST="redis.example")
        host = resolve(environ={"REDIS_HOST": ""}, directory=tmp_path)["redis_host"]
        assert (host.value, host.origin) == ("redis.example", Origin.ENV)

    def test_the_documents_example_is_its_defaults(self, tmp_path: Path) -> None:
        write_env(
            tmp_path,
            ".env.local",
            REDIS_HOST="localhost",
            REDIS_PORT="6379",
            REDIS_PASSWORD="",
            REDIS_DB="0",
            REDIS_ENABLE_CHECKOUT_SESSIONS="true",
            REDIS_ENABLE_DELIVERY_CACHE="true",
            REDIS_ENABLE_COUPON_CACHE="true",
            REDIS_ENABLE_USER_SESSIONS="true",
            REDIS_ENABLE_STATISTICS="true",
        )
        assert Settings.load(environ={}, directory=tmp_path) == Settings()
        names = {variable.name for variable in VARIABLES.values() if variable.specified}
        assert names == set(read_env_file(tmp_path / ".env.local"))

    def test_variables_of_other_programs_are_left_alone(self, tmp_path: Path) -> None:
        write_env(tmp_path, ".env", NODE_ENV="development", REDIS_HOSTNAME="x")
        assert Settings.load(environ={"PATH": "/bin"}, directory=tmp_path) == Settings()


WRONG: list[tuple[str, str]] = [
    *(("REDIS_PORT", value) for value in ("0", "70000", "abc", "-1", "6379.0", "6_379", "٣", "--1", "9" * 5000, " ")),
    *(("REDIS_DB", value) for value in ("-1", "zero", "1.5", "1000001")),
    *(
        ("REDIS_HOST", value)
        for value in ("redis://h", "user@h", "h/0", "a b", "h\n", "h\x00", "h:6379", "[::1]", "a" * 64, "a." * 200)
    ),
    *(("REDIS_TLS", value) for value in ("maybe", "2", "tru")),
    *(("REDIS_ENABLE_CHECKOUT_SESSIONS", value) for value in ("ja", "-1")),
    *(("DATABASE_URL", value) for value in ("mysql://h/d", "checkout.db", "sqlite", "/tmp/x.db", "http://h")),
    *(
        ("CHECKOUT_DATABASE_SCHEMA", value)
        for value in (
            "Shop",
            "1shop",
            "a-b",
            "a.b",
            "a b",
            'a"b',
            "é",
            "a" * 64,
            "pg_shop",
            "pg_",
            "information_schema",
        )
    ),
    *(("CHECKOUT_TIMEOUT", value) for value in ("0", "-1", "61", "nan", "inf", "soon")),
    *(("CHECKOUT_SESSION_TTL", value) for value in ("0.5", "86401")),
]


class TestChecks:
    @pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda text: repr(text[:24]))
    def test_a_wrong_value_is_named_with_its_origin_and_what_would_be_right(
        self, name: str, value: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Settings.load(environ={name: value}, directory=tmp_path)
        message = str(caught.value)
        shown = "" if name == "DATABASE_URL" else "is "
        assert message.startswith(f"{name} (from environment) {shown}")
        assert "must be" in message or "longer than a host name" in message
        assert len(message) < 300
        assert caught.value.exit_code == 78

    @pytest.mark.parametrize("name", ["_" * 63, "pgshop_2", "checkoutctl"])
    def test_a_schema_is_taken_beside_postgresql_and_refused_beside_sqlite(self, name: str, tmp_path: Path) -> None:
        environ = {"CHECKOUT_DATABASE_SCHEMA": name}
        with pytest.raises(ConfigurationError, match="SQLite has no schemas") as caught:
            Settings.load(environ=environ, directory=tmp_path)
        assert caught.value.exit_code == 78
        environ["DATABASE_URL"] = "postgresql://localhost/shop"
        assert Settings.load(environ=environ, directory=tmp_path).database_schema == name

    def test_everything_that_is_wrong_is_said_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Settings.load(environ={"REDIS_PORT": "0", "REDIS_DB": "-1"}, directory=tmp_path)
        assert "REDIS_PORT" in str(caught.value)
        assert "REDIS_DB" in str(caught.value)

    @pytest.mark.parametrize(
        ("field", "name", "raw", "value"),
        [
            ("redis_port", "REDIS_PORT", "65535", 65535),
            ("redis_host", "REDIS_HOST", "::1", "::1"),
            ("redis_host", "REDIS_HOST", "redis.münchen.example", "redis.münchen.example"),
            ("redis_tls", "REDIS_TLS", "On", True),
            ("enable_statistics", "REDIS_ENABLE_STATISTICS", "FALSE", False),
            ("enable_statistics", "REDIS_ENABLE_STATISTICS", "0", False),
            ("database_url", "DATABASE_URL", "postgres://u@h/d", "postgres://u@h/d"),
            ("database_url", "DATABASE_URL", "postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
            ("timeout", "CHECKOUT_TIMEOUT", ".5", 0.5),
        ],
    )
    def test_what_is_right_is_taken(self, field: str, name: str, raw: str, value: Any, tmp_path: Path) -> None:
        assert getattr(Settings.load(environ={name: raw}, directory=tmp_path), field) == value

    @pytest.mark.parametrize("name", VARIABLES)
    def test_every_default_passes_its_own_check(self, name: str) -> None:
        variable = VARIABLES[name]
        value = variable.default()
        assert variable.parse(str(value)) == value
        assert variable.meaning


class TestFiles:
    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
    def test_any_password_survives_the_file(self, password: str) -> None:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as name:
            directory = Path(name)
            write_env(directory, ".env.local", REDIS_PASSWORD=quoted(password), REDIS_DB="7")
            loaded = Settings.load(environ={}, directory=directory)
        assert (loaded.password(), loaded.redis_db) == (password, 7)

    @pytest.mark.parametrize(
        "password", ["$HOME", "${HOME}", "a#b", "a #b", "a'b", 'a"b', "a\\nb", "  spaces  ", "`id`"]
    )
    def test_a_password_is_taken_literally(self, password: str, tmp_path: Path) -> None:
        write_env(tmp_path, ".env.local", REDIS_PASSWORD=quoted(password))
        assert Settings.load(environ={"HOME": "/home/wrong"}, directory=tmp_path).password() == password

    def test_a_dollar_without_quotes_is_a_dollar(self, tmp_path: Path) -> None:
        write_env(tmp_path, ".env", REDIS_PASSWORD="pa$$word${HOME}")
        assert Settings.load(environ={}, directory=tmp_path).password() == "pa$$word${HOME}"

    def test_comments_exports_and_blank_lines_are_understood(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text(
            "# Redis\n\nexport REDIS_PORT=7000 # ours\nREDIS_DB='3'\nalone\n", encoding="utf-8"
        )
        assert read_env_file(tmp_path / ".env") == {"REDIS_PORT": "7000", "REDIS_DB": "3"}

    @pytest.mark.parametrize("content", [b"\xef\xbb\xbfREDIS_PORT=7000\n", b"REDIS_PORT=7000\r\n"])
    def test_what_windows_writes_is_understood(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(content)
        assert read_env_file(tmp_path / ".env") == {"REDIS_PORT": "7000"}

    def test_no_file_is_no_variable(self, tmp_path: Path) -> None:
        assert read_env_file(tmp_path / ".env") == {}

    def test_a_file_that_may_not_be_read_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(*arguments: object, **options: object) -> str:
            raise PermissionError(13, "Permission denied")  # as root, nothing else would

        monkeypatch.setattr("checkout_cli.config.settings.read_regular", denied)
        with pytest.raises(ConfigurationError, match=r"cannot read \.env\.local: Permission denied"):
            Settings.load(environ={}, directory=tmp_path)

    def test_a_directory_in_the_files_place_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / ".env.local").mkdir()
        with pytest.raises(ConfigurationError, match=r"cannot read \.env\.local") as caught:
            Settings.load(environ={}, directory=tmp_path)
        assert str(tmp_path) in caught.value.hint

    def test_a_file_in_another_encoding_is_an_error_that_shows_nothing_of_it(self, tmp_path: Path) -> None:
        (tmp_path / ".env.local").write_bytes(f"REDIS_PASSWORD={CANARY}ü".encode("latin-1"))
        with pytest.raises(ConfigurationError, match="is not UTF-8") as caught:
            Settings.load(environ={}, directory=tmp_path)
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__cause__ is None  # a decoding error holds all that it could not decode

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
    @pytest.mark.parametrize(("mode", "expected"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
    def test_a_file_that_others_can_read_is_exposed(self, mode: int, expected: bool, tmp_path: Path) -> None:
        write_env(tmp_path, ".env.local", REDIS_PASSWORD=CANARY)
        (tmp_path / ".env.local").chmod(mode)
        assert exposed(tmp_path / ".env.local") is expected

    def test_no_file_is_not_exposed(self, tmp_path: Path) -> None:
        assert not exposed(tmp_path / ".env.local")


class TestPasswordFile:
    def test_its_last_line_end_does_not_belong_to_the_password(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b" pa ss \r\n")
        assert Settings(redis_password_file=str(tmp_path / "secret")).password() == " pa ss "

    def test_the_variable_is_stronger(self, tmp_path: Path) -> None:
        assert Settings(redis_password="x", redis_password_file=str(tmp_path / "none")).password() == "x"

    def test_no_password_is_none(self) -> None:
        assert Settings().password() is None

    @pytest.mark.parametrize("name", ["missing", ".", "nul\x00byte", "~no-such-user-here/secret"])
    def test_one_that_cannot_be_read_is_an_error(self, name: str, tmp_path: Path) -> None:
        path = name if name.startswith("~") else str(tmp_path / name)
        with pytest.raises(ConfigurationError, match="REDIS_PASSWORD_FILE"):
            Settings(redis_password_file=path).password()

    def test_one_in_another_encoding_shows_nothing_of_itself(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(f"{CANARY}ü".encode("latin-1"))
        with pytest.raises(ConfigurationError, match="not UTF-8") as caught:
            Settings(redis_password_file=str(tmp_path / "secret")).password()
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__cause__ is None


URLS_WITH_PASSWORD = [
    f"postgresql://user:{CANARY}@host:5432/shop",
    f"postgresql://user:{CANARY}@host/shop?sslmode=verify-full",
    f"postgresql://user:a@{CANARY}@host/shop",
    f"postgresql://user:a/{CANARY}@host/shop",
    f"postgresql://user:{CANARY}/b@host/shop",
    f"postgresql://user:a#{CANARY}?b@host/shop",
    f"postgresql://user:{CANARY}%40@host/shop",
    f"postgresql://user:a\n{CANARY}@host/shop",
    f"postgresql://us/er:{CANARY}@host/shop",
    f"postgresql://:{CANARY}@host/shop",
    f"postgresql://[broken:{CANARY}@host/shop",
    f"postgresql://user:{CANARY}@host:port/shop",
    f"postgresql://host/shop?user=u&password={CANARY}",
    f"postgresql://host/shop?sslpassword={CANARY}&sslmode=require",
    f"user:{CANARY}@host/shop",
    f"mysql://user:{CANARY}@host/shop",
    f"redis://:{CANARY}@host:6379/0",
]


class TestSecrets:
    @pytest.mark.parametrize("url", URLS_WITH_PASSWORD)
    def test_a_password_in_a_url_is_masked(self, url: str) -> None:
        shown = without_password(url)
        assert CANARY not in shown
        assert MASK in shown
        assert without_password(shown) == shown

    @pytest.mark.parametrize(
        "url",
        [
            "sqlite:////home/me/a:b@c/checkout.db",
            "sqlite:///C:\\shop\\a@b.db",
            "postgresql://user@host:5432/shop",
            "postgresql:///shop?host=/run/postgresql",
            "localhost:6379",
            "",
        ],
    )
    def test_a_url_without_password_is_shown_as_it_is(self, url: str) -> None:
        assert without_password(url) == url

    def test_the_host_and_the_rest_of_a_url_are_still_shown(self) -> None:
        url = "postgresql://shop:secret@db.example:5432/checkout?sslmode=require"
        assert without_password(url) == f"postgresql://shop:{MASK}@db.example:5432/checkout?sslmode=require"

    @pytest.mark.parametrize("url", URLS_WITH_PASSWORD)
    def test_no_error_shows_a_password(self, url: str, tmp_path: Path) -> None:
        for name in ("DATABASE_URL", "REDIS_HOST", "REDIS_PORT"):
            resolved = resolve(environ={name: url}, directory=tmp_path)
            assert CANARY not in repr(resolved)
            assert all(CANARY not in (item.problem or "") for item in resolved.values())

    def test_no_repr_shows_a_secret(self, tmp_path: Path) -> None:
        environ = {"REDIS_PASSWORD": CANARY, "DATABASE_URL": f"postgresql://u:{CANARY}@h/d"}
        loaded = Settings.load(environ=environ, directory=tmp_path)
        assert loaded.redis_password == CANARY  # it is there
        for shown in (repr(loaded), str(loaded), f"{loaded}", repr(resolve(environ=environ, directory=tmp_path))):
            assert CANARY not in shown
        assert "redis_host='localhost'" in repr(loaded)

    @pytest.mark.parametrize("name", [name for name, variable in VARIABLES.items() if variable.secret])
    def test_a_secret_is_masked_and_an_empty_one_says_so(self, name: str) -> None:
        assert VARIABLES[name].masked(CANARY) == MASK
        assert VARIABLES[name].masked("") == ""

    def test_whatever_is_named_like_a_secret_is_one(self) -> None:
        secretive = {item.name for item in VARIABLES.values() if item.name.endswith(("PASSWORD", "SECRET", "TOKEN"))}
        assert secretive
        assert secretive == {item.name for item in VARIABLES.values() if item.secret}
