"""A stranger's files are no configuration, and a secret goes to no host that a weaker origin names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from checkout_cli.config import trusted_file
from checkout_cli.config.settings import Settings, read_env_file, resolve
from checkout_cli.errors import ConfigurationError
from tests.support.command import Checkoutctl

SECRET = "canary-5ecret"


def load(directory: Path, **environ: str) -> Settings:
    return Settings.load(environ=environ, directory=directory)


def refused(directory: Path, **environ: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, **environ)
    assert caught.value.exit_code == 78
    assert SECRET not in str(caught.value) + caught.value.hint
    return caught.value


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text("REDIS_PORT=7001\n")
    path.chmod(0o600)
    return path


only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")


class TestWhoWroteIt:
    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
    def test_a_file_of_ours_that_nobody_else_can_write_is_read(self, mode: int, env: Path) -> None:
        env.chmod(mode)
        assert load(env.parent).redis_port == 7001

    @pytest.mark.parametrize("mode", [0o602, 0o646, 0o666, 0o777])
    def test_a_file_that_others_can_write_is_refused_and_the_hint_mends_it(self, mode: int, env: Path) -> None:
        env.chmod(mode)
        error = refused(env.parent)
        assert f"{env} can be written by others, so it is not read: owner" in str(error)
        assert f"mode {mode:04o}" in str(error)
        subprocess.run(["sh", "-c", error.hint], check=True)
        assert load(env.parent).redis_port == 7001

    @only_as_root
    def test_a_file_of_somebody_elses_is_refused_and_named_by_the_variable(self, env: Path) -> None:
        os.chown(env, 1234, 1234)
        error = refused(env.parent)
        assert f"{env} belongs to somebody else, so it is not read: owner 1234, mode 0600" in str(error)
        assert error.hint == f"CHECKOUT_ENV_FILE={env} checkoutctl config check"
        assert load(env.parent, CHECKOUT_ENV_FILE=str(env)).redis_port == 7001

    @only_as_root
    def test_a_link_of_somebody_elses_is_refused_whatever_it_points_to(self, env: Path, tmp_path: Path) -> None:
        (tmp_path / ".env.local").symlink_to(env)
        assert load(tmp_path).redis_port == 7001
        os.lchown(tmp_path / ".env.local", 1234, 1234)
        assert "belongs to somebody else" in str(refused(tmp_path))

    @pytest.mark.parametrize(
        ("members", "primary", "others", "is_private"),
        [
            ([], 77, [], True),
            (["ada"], 77, [], True),
            (["ada", "eve"], 77, [], False),
            ([], 78, [], False),
            ([], 77, [SimpleNamespace(pw_gid=77, pw_uid=6)], False),
        ],
    )
    def test_a_group_that_holds_the_owner_alone_may_write(
        self, members: list[str], primary: int, others: list[object], is_private: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = SimpleNamespace(pw_name="ada", pw_gid=primary, pw_uid=5)
        monkeypatch.setattr("pwd.getpwuid", lambda _: ada)
        monkeypatch.setattr("pwd.getpwall", lambda: [ada, *others])
        monkeypatch.setattr("grp.getgrgid", lambda _: SimpleNamespace(gr_mem=members))
        status = SimpleNamespace(st_uid=5, st_gid=77)
        assert trusted_file._is_private_group(status) is is_private  # type: ignore[arg-type]

    @only_as_root
    def test_also_for_another_directory_on_the_command_line(self, env: Path, checkoutctl: Checkoutctl) -> None:
        other = env.parent / "other"
        other.mkdir()
        (other / ".env.local").write_text("REDIS_HOST=evil.example\n")
        os.chown(other / ".env.local", 1234, 1234)
        for command in (["sessions", "list"], ["config", "show"], ["setup", "--check"], ["cron", "install"]):
            run = checkoutctl("-C", str(other), *command)
            assert run.returncode == 78, run
            assert "belongs to somebody else" in run.stderr
            assert run.stderr.count("next: ") == 1


class TestKindAndSize:
    def test_a_fifo_a_device_and_a_huge_file_are_refused_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / ".env"
        os.mkfifo(path)
        assert "no regular file" in str(refused(tmp_path))
        path.unlink()
        path.symlink_to("/dev/zero")
        assert "no regular file" in str(refused(tmp_path))
        path.unlink()
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
        assert "larger than 1048576 bytes" in str(refused(tmp_path))

    def test_the_named_file_must_be_there_and_takes_the_place_of_both(self, env: Path) -> None:
        (env.parent / ".env.local").write_text("REDIS_DB=5\n")
        (env.parent / "named").write_text("REDIS_PORT=7002\nCHECKOUT_ENV_FILE=/etc/other\n")
        settings = load(env.parent, CHECKOUT_ENV_FILE=str(env.parent / "named"))
        assert (settings.redis_port, settings.redis_db) == (7002, 0)
        assert "No such file" in str(refused(env.parent, CHECKOUT_ENV_FILE="/no/such/file"))

    def test_no_file_names_another_one(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("CHECKOUT_ENV_FILE=/no/such/file\n")
        assert "CHECKOUT_ENV_FILE" not in read_env_file(tmp_path / ".env")
        assert load(tmp_path).env_file == ""


class TestSecretFiles:
    @pytest.mark.parametrize(
        "content", [f"{SECRET}\nmore\n", f"A={SECRET}\0B=2", f"{SECRET}\r{SECRET}", SECRET * 400, "\x1b[2J"]
    )
    def test_what_is_no_single_line_is_no_secret_and_is_not_repeated(self, content: str, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_bytes(content.encode())
        with pytest.raises(ConfigurationError) as caught:
            load(tmp_path, REDIS_PASSWORD_FILE=str(path)).password()
        assert SECRET not in str(caught.value)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_one_line_is(self, end: str, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_bytes(f"pass word\u00e9{end}".encode())
        for variable, ask in (
            ("REDIS_PASSWORD_FILE", Settings.password),
            ("REDIS_SENTINEL_PASSWORD_FILE", Settings.sentinel_password),
            ("CHECKOUT_SERVE_TOKEN_FILE", Settings.serve_token),
        ):
            assert ask(load(tmp_path, **{variable: str(path)})) == "pass word\u00e9"

    def test_no_fifo_no_device_and_no_process_is_read(self, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        for path in (str(fifo), "/dev/zero", str(tmp_path)):
            with pytest.raises(ConfigurationError, match=r"no regular file|directory"):
                load(tmp_path, REDIS_PASSWORD_FILE=path).password()
        if Path("/proc/self/environ").exists():
            with pytest.raises(ConfigurationError, match=r"one line|larger"):
                load(tmp_path, REDIS_PASSWORD_FILE="/proc/self/environ").password()

    def test_neither_is_one_behind_a_link(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        for kind, target in (("fifo", tmp_path / "fifo"), ("device", Path("/dev/zero")), ("directory", tmp_path)):
            link = tmp_path / f"link to a {kind}"
            link.symlink_to(target)
            with pytest.raises(ConfigurationError, match=r"no regular file|directory"):
                load(tmp_path, REDIS_PASSWORD_FILE=str(link)).password()
        (tmp_path / "password").write_text("one line\n")
        (tmp_path / "link").symlink_to("password")
        assert load(tmp_path, REDIS_PASSWORD_FILE=str(tmp_path / "link")).password() == "one line"

    def test_without_its_bound_a_long_one_would_be_a_secret(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "password").write_text(SECRET * 400)
        settings = load(tmp_path, REDIS_PASSWORD_FILE=str(tmp_path / "password"))
        with pytest.raises(ConfigurationError, match=f"larger than {trusted_file.LARGEST_SECRET} bytes"):
            settings.password()
        monkeypatch.setattr("checkout_cli.config.settings.LARGEST_SECRET", 1 << 20)
        assert settings.password() == SECRET * 400

    def test_without_the_look_at_its_kind_a_fifo_would_be_an_empty_secret(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "fifo")
        settings = load(tmp_path, REDIS_PASSWORD_FILE=str(tmp_path / "fifo"))
        with pytest.raises(ConfigurationError, match="no regular file"):
            settings.password()
        monkeypatch.setattr("checkout_cli.config.trusted_file.stat.S_ISREG", lambda _: True)
        assert settings.password() == ""

    def test_without_the_look_at_its_lines_a_file_of_settings_would_be_a_secret(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "password").write_text(f"A=1\nB={SECRET}\n")
        settings = load(tmp_path, REDIS_PASSWORD_FILE=str(tmp_path / "password"))
        with pytest.raises(ConfigurationError, match="one line"):
            settings.password()
        monkeypatch.setattr("checkout_cli.config.settings.re.search", lambda *_: None)
        assert settings.password() == f"A=1\nB={SECRET}"

    def test_a_secret_in_the_place_of_its_file_is_repeated_nowhere(
        self, checkoutctl: Checkoutctl, tmp_path: Path
    ) -> None:
        for name in ("REDIS_PASSWORD_FILE", "REDIS_SENTINEL_PASSWORD_FILE", "CHECKOUT_SERVE_TOKEN_FILE"):
            for command in (["config", "show"], ["config", "check"], ["ping", "--count", "1"]):
                run = checkoutctl(*command, env={name: SECRET})
                assert SECRET not in run.stdout + run.stderr, (name, command)


class TestSecretsAndHosts:
    @pytest.mark.parametrize(
        "host",
        [
            {"REDIS_HOST": "evil.example"},
            {"REDIS_URL": "redis://evil.example"},
            {"REDIS_SOCKET": "/tmp/evil"},
            {"REDIS_SENTINELS": "evil.example:26379"},
            {"REDIS_MODE": "cluster", "REDIS_CLUSTER_NODES": "evil.example:1"},
        ],
        ids="-".join,
    )
    @pytest.mark.parametrize("secret", ["REDIS_PASSWORD", "REDIS_PASSWORD_FILE"])
    def test_a_password_of_the_shell_goes_to_no_host_of_a_file(
        self, secret: str, host: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "password").write_text(SECRET)
        value = {"REDIS_PASSWORD": SECRET, "REDIS_PASSWORD_FILE": str(tmp_path / "password")}[secret]
        (tmp_path / ".env").write_text("".join(f"{name}={text}\n" for name, text in host.items()))
        error = refused(tmp_path, **{secret: value})
        name = list(host)[-1]
        assert f"{secret} (from environment) would go to" in str(error)
        assert f"of {name} (from .env): set both in one place" in str(error)
        assert error.hint == "checkoutctl config check"
        assert load(tmp_path, **{secret: value}, **host).password() == SECRET
        with (tmp_path / ".env").open("a") as stream:
            stream.write(f"{secret}={value}\n")
        assert load(tmp_path).password() == SECRET
        assert load(tmp_path, CHECKOUT_ENV_FILE=str(tmp_path / ".env"), **{secret: value}).password() == SECRET

    def test_the_sentinels_own_password_too(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("REDIS_SENTINELS=evil.example:26379\n")
        assert "REDIS_SENTINEL_PASSWORD" in str(refused(tmp_path, REDIS_SENTINEL_PASSWORD=SECRET))

    def test_the_default_host_is_no_weaker_origin_and_a_file_that_is_not_used_no_secret(self, tmp_path: Path) -> None:
        assert load(tmp_path, REDIS_PASSWORD=SECRET).redis_host == "localhost"
        (tmp_path / ".env").write_text("REDIS_HOST=localhost\n")
        assert load(tmp_path, REDIS_PASSWORD=SECRET).redis_host == "localhost"
        (tmp_path / ".env").write_text("REDIS_HOST=shop.example\nREDIS_PASSWORD=x\n")
        assert load(tmp_path, REDIS_PASSWORD_FILE="/not/used").password() == "x"

    @pytest.mark.parametrize("variable", ["PGPASSWORD", "PGPASSFILE"])
    def test_a_password_of_postgresqls_own_variables_neither(self, variable: str, tmp_path: Path) -> None:
        for url, is_refused in (
            ("postgresql://shop@evil.example/shop", True),
            ("postgresql://evil.example/shop", True),
            ("postgresql:///shop?host=evil.example", True),
            ("postgres+psycopg://evil.example/shop", True),
            ("postgresql://shop:own@shop.example/shop", False),
            ("postgresql:///shop", False),
            ("sqlite:////tmp/x.db", False),
        ):
            (tmp_path / ".env").write_text(f"DATABASE_URL={url}\n")
            problem = resolve(environ={variable: SECRET}, directory=tmp_path)["database_url"].problem
            assert bool(problem) is is_refused, url
            assert load(tmp_path, DATABASE_URL=url, **{variable: SECRET}).database_url == url
