"""Everything that can be known to be wrong with the settings without asking a server."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from checkout_cli.checks import Checks, Finding, Status, ok, worst
from checkout_cli.config.addresses import is_loopback
from checkout_cli.config.env_files import readings
from checkout_cli.config.settings import (
    VARIABLES,
    Settings,
    env_files,
    env_text,
    exposed,
    read_env_file,
    resolve,
)
from checkout_cli.config.trusted_file import at_home
from checkout_cli.config.variables import Origin, Resolved, has_quotes, without_password
from checkout_cli.errors import CheckoutError, ConfigurationError, ExitCode
from checkout_cli.files.env_file import insist_on_file, parser_warnings_off
from checkout_cli.typed import is_typeable, typed

_NAMES = {variable.name for variable in VARIABLES.values()}
_OURS = re.compile(r"(?:REDIS|CHECKOUT)_", re.IGNORECASE)
_SIMILAR = 0.8
"""How like one of our names an unknown one must be to count as a typing mistake, from 0 to 1."""
_SQLITE = b"SQLite format 3\0"
"""How every SQLite database begins that is not empty."""
_TLS_FILES = ("redis_tls_ca_file", "redis_tls_cert_file", "redis_tls_key_file")
_FILES_OF_DATABASE_URL = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_FILES, _SETTINGS = "files", "settings"


@dataclass(frozen=True)
class ConfigReport:
    """All that is wrong: critical, if commands do not work or do not do what the setting says; else a warning."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The worst finding's."""
        found = worst(self.findings)
        if found is None:
            return ExitCode.OK
        return ExitCode.CONFIGURATION if found.status is Status.CRIT else ExitCode.FINDING

    @property
    def next_step(self) -> str:
        """The fix of the worst finding that can be typed."""
        typeable = [finding for finding in self.findings if is_typeable(finding.fix)]
        found = worst(typeable)
        return "checkoutctl config check --explain all" if found is None else found.fix

    @property
    def verdict(self) -> Finding:
        """The worst finding, and how many more there are."""
        found, number = worst(self.findings), len(self.findings)
        if found is None:
            return ok("every setting is valid")
        more = f"; {number - 1} more: checkoutctl config check" if number > 1 else ""
        return Finding(found.status, f"{found.subject}: {found.evidence}{more}", found.fix, {"findings": number})


@dataclass
class Given:
    """The flags, the environment and the files that settings come from."""

    directory: Path
    flags: Mapping[str, Any] | None
    environ: Mapping[str, str] | None

    @cached_property
    def resolved(self) -> dict[str, Resolved]:
        """Every setting with its origin, valid or not; raises ``ConfigurationError`` where a file cannot be read."""
        return resolve(flags=self.flags, environ=self.environ, directory=self.directory)

    @cached_property
    def sound(self) -> Settings:
        """The settings, with defaults in place of invalid values."""
        return Settings().unchecked(**{name: item.value for name, item in self.resolved.items()})


CHECKS: Checks[Callable[[Given], Iterator[Finding]]] = Checks("config check")


def check(
    directory: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> ConfigReport:
    """Run all checks; asks no server and changes nothing."""
    given = Given(directory, flags, environ)
    with parser_warnings_off():
        findings = _found(given, _FILES)
        try:
            given.resolved  # noqa: B018  (raises where a file cannot be read)
        except ConfigurationError:  # that file is among the findings
            return ConfigReport(tuple(findings))
        return ConfigReport((*findings, *_found(given, _SETTINGS)))


def _found(given: Given, group: str) -> list[Finding]:
    return [finding for each in CHECKS.values() if each.group == group for finding in each.run(given)]


def _error(subject: str, problem: str, fix: str) -> Finding:
    return Finding(Status.CRIT, problem, fix, subject=subject)


def _warning(subject: str, problem: str, fix: str) -> Finding:
    return Finding(Status.WARN, problem, fix, subject=subject)


# The files


@CHECKS.check("env-files", _FILES)
def environment_files(given: Given) -> Iterator[Finding]:
    """.env.local and .env can be read, by nobody else, and hold what they seem to hold.

    The parser skips broken lines without a word, the last of two lines for one name counts, and a name that is almost
    a setting's is none. A file with a secret in it must be its owner's alone. Next.js reads some lines differently: a
    shop must not go to another server than its operator by the same line.
    """
    for path, origin in env_files(given.directory, given.environ).items():
        yield from _file_findings(path, origin)


def _file_findings(path: Path, origin: Origin) -> Iterator[Finding]:
    try:
        insist_on_file(path)
        variables = read_env_file(path, origin)
    except ConfigurationError as error:
        yield _error(path.name, str(error), error.hint)
        return
    secrets = secrets_in(variables)
    if exposed(path) and secrets:
        yield _error(path.name, f"it can be read by others, and holds {' and '.join(secrets)}", _chmod(path))
    elif exposed(path) and origin is not Origin.ENV:
        yield _warning(path.name, "it can be read by others than its owner", _chmod(path))
    yield from _line_findings(path, origin)
    for name in variables:
        if name not in _NAMES and _OURS.match(name):
            for similar in get_close_matches(name.upper(), _NAMES, n=1, cutoff=_SIMILAR):
                yield _warning(name, f"in {path.name}; no setting has this name", f"did you mean {similar}?")


def _chmod(path: Path) -> str:
    return typed("chmod 600 {}", path)


def secrets_in(variables: Mapping[str, str]) -> list[str]:
    """The names of the variables that hold a secret."""
    secrets = [variable.name for variable in VARIABLES.values() if variable.secret and variables.get(variable.name)]
    urls = {name: variables.get(name, "") for name in ("REDIS_URL", "DATABASE_URL")}
    return secrets + [name for name, url in urls.items() if without_password(url) != url]


def secret_files(settings: Settings) -> dict[str, str]:
    """The files that the settings name for a secret, and what each holds."""
    key = settings.redis_tls_key_file or settings.redis_tls_cert_file
    named = {
        settings.redis_password_file: "the password of Redis",
        settings.redis_sentinel_password_file: "the password of the Sentinels",
        settings.redis_to_password_file: "the password of the server to copy to",
        settings.serve_token_file: "the token of serve",
        key: "the private key of our certificate",
    }
    return {path: what for path, what in named.items() if path}


def exposed_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each file of a secret that others can read, and the command that ends it."""
    for name, what in secret_files(settings).items():
        path = at_home(name)
        if exposed(path):
            yield f"{path} can be read by others, and holds {what}", _chmod(path)


def _line_findings(path: Path, origin: Origin) -> Iterator[Finding]:
    """Lines that the parser skips in silence, a name that is set twice, a value that the shop reads differently."""
    from dotenv.parser import parse_stream

    seen: dict[str, int] = {}
    text = env_text(path, origin) or ""
    with io.StringIO(text, newline=None) as stream:
        for binding in parse_stream(stream):
            source, key = binding.original.string, binding.key
            line = binding.original.line + source[: len(source) - len(source.lstrip())].count("\n")
            if binding.error:
                with_colon = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*):\s", source)
                problem = "it is not NAME=value, or a quote is not closed"
                fix = (
                    f"write {with_colon[1]}= in place of {with_colon[1]}:, which only Next.js reads"
                    if with_colon
                    else ""
                )
                yield _error(f"{path.name} line {line}", problem, fix or f"edit {path}")
            elif key is not None and key in _NAMES:
                if key in seen:
                    problem = f"set twice in {path.name}, in lines {seen[key]} and {line}; the last one counts"
                    yield _warning(key, problem, f"remove one of them from {path}")
                seen[key] = line
    if path.name.startswith(".env"):
        for reading in readings(text):
            if reading.name in _NAMES and not reading.is_alike:
                problem = f"in {path.name} line {reading.line}, Next.js reads another value: {reading.difference}"
                yield _warning(reading.name, problem, reading.remedy)


# The settings


@CHECKS.check("values", _SETTINGS)
def values(given: Given) -> Iterator[Finding]:
    """Every setting has a value that it can have, and no two of them contradict each other.

    The README's table of settings has the kind and the range of each; `checkoutctl config show` has its origin.
    """
    for item in given.resolved.values():
        if item.problem:
            name = item.variable.name
            yield _error(name, item.problem, f"correct or remove {name} in: {item.origin}")
        if item.ignored:
            yield _warning(
                item.variable.name, item.ignored, f"for this program alone: env -u {item.variable.name} checkoutctl …"
            )
        if item.variable.secret and has_quotes(str(item.value)):
            problem = "has quotes around it, which docker's --env-file does not take away"
            yield _warning(item.variable.name, problem, "write it without, if they are not part of the secret")
    if contradiction := given.sound.contradiction():
        yield _error(*contradiction, "checkoutctl config show")


@CHECKS.check("password-files", _SETTINGS)
def password_files(given: Given) -> Iterator[Finding]:
    """A file that is named for a password can be read, by nobody else, and is used.

    REDIS_PASSWORD_FILE is ignored where REDIS_PASSWORD is set, and likewise for the Sentinels.
    """
    settings = given.sound
    for variable, value, file, password in (
        ("REDIS_PASSWORD", settings.redis_password, settings.redis_password_file, settings.password),
        (
            "REDIS_SENTINEL_PASSWORD",
            settings.redis_sentinel_password,
            settings.redis_sentinel_password_file,
            settings.sentinel_password,
        ),
        ("CHECKOUT_SERVE_TOKEN", settings.serve_token_value, settings.serve_token_file, settings.serve_token),
    ):
        name, path = f"{variable}_FILE", at_home(file)
        if file and value:
            yield _warning(name, f"not used, because {variable} is set too", "remove one of the two settings")
        elif file:
            yield from _password_findings(name, path, password)


def _password_findings(name: str, path: Path, password: Callable[[], str | None]) -> Iterator[Finding]:
    try:
        is_empty = not password()
    except CheckoutError as error:
        yield _error(name, str(error), f"set {name} to the path of a file that you can read, with one line in it")
        return
    if is_empty:
        yield _error(name, f"{path} is empty", "write the password into it")
    if exposed(path):
        yield _warning(name, f"{path} can be read by others than its owner", _chmod(path))


@CHECKS.check("transport", _SETTINGS)
def transport(given: Given) -> Iterator[Finding]:
    """Traffic to another machine is encrypted, and every setting of TLS has an effect.

    Without TLS, sessions and the password can be read on the way. Behind Sentinels their answer counts, so REDIS_HOST
    is not used, and their traffic needs TLS too.
    """
    settings, resolved = given.sound, given.resolved
    yield from _plain_text_findings(settings, resolved["redis_tls"].via)
    if settings.redis_sentinels and not is_loopback(settings.redis_host):
        yield _warning(
            resolved["redis_host"].via or "REDIS_HOST",
            "its host is not used, because REDIS_SENTINELS is set too: the Sentinels say where Redis is",
            "remove one of the two settings",
        )
    if not settings.uses_tls:
        fix = "remove it: a Unix socket has no TLS" if settings.redis_socket else "set REDIS_TLS=true"
        for name in (*_TLS_FILES, "redis_tls_server_name"):
            if getattr(settings, name):
                yield _warning(VARIABLES[name].name, "not used, because REDIS_TLS is off", fix)


def _plain_text_findings(settings: Settings, url: str | None) -> Iterator[Finding]:
    """Warnings of traffic that others can read; ``url`` is the variable that says so, if it is not REDIS_TLS."""
    hosts = settings.sentinels() if settings.redis_sentinels else settings.cluster_nodes()
    remote = next((host for host, _ in hosts if not is_loopback(host)), None)
    if remote is None or settings.redis_socket:
        return
    if not settings.redis_tls:
        readable = f"off, though {remote} is another machine: sessions and the password travel readably"
        fix = "make it rediss://, if the server offers TLS" if url else "set REDIS_TLS=true, if the server offers TLS"
        yield _warning(url or "REDIS_TLS", f"TLS is {readable}" if url else readable, fix)
    elif settings.redis_sentinels and not settings.sentinel_tls:
        yield _warning(
            "REDIS_SENTINEL_TLS",
            f"off, though {remote} is another machine: who can change what it says can send us to his own Redis",
            "set REDIS_SENTINEL_TLS=true, if the Sentinels offer TLS",
        )


@CHECKS.check("tls-files", _SETTINGS)
def tls_files(given: Given) -> Iterator[Finding]:
    """The files that TLS needs are what their settings say they are.

    The CA, our certificate and its key are loaded as for a connection. The servers are not asked: `checkoutctl doctor
    --only certificate` does that.
    """
    from checkout_cli.store.redis.tls import TlsFileError, tls_context

    settings = given.sound
    if not settings.uses_tls:
        return
    try:
        tls_context(settings)
    except TlsFileError as error:
        yield _error(error.variable, str(error).removeprefix(f"{error.variable} "), error.hint)
        return
    key = settings.redis_tls_key_file or settings.redis_tls_cert_file
    if key and exposed(at_home(key)):
        name = "REDIS_TLS_KEY_FILE" if settings.redis_tls_key_file else "REDIS_TLS_CERT_FILE"
        yield _warning(name, f"{key} holds a private key, and can be read by others", _chmod(Path(key)))


@CHECKS.check("lifetimes", _SETTINGS)
def lifetimes(given: Given) -> Iterator[Finding]:
    """No session is to live longer than sessions may live.

    CHECKOUT_SESSION_MAX_AGE ends every session, however often CHECKOUT_SESSION_TTL is granted anew.
    """
    ttl, age = given.sound.session_ttl, given.sound.session_max_age
    if ttl > age:
        yield _error(
            "CHECKOUT_SESSION_TTL",
            f"{ttl:g} s is more than CHECKOUT_SESSION_MAX_AGE, {age:g} s: no session can live that long",
            "lower CHECKOUT_SESSION_TTL, or raise CHECKOUT_SESSION_MAX_AGE",
        )


@CHECKS.check("database-url", _SETTINGS)
def database_url(given: Given) -> Iterator[Finding]:
    """DATABASE_URL names a database that there is a driver for, in a place that can be written to.

    SQLite needs to write beside its file too. A database server is not asked; files that its URL names are looked for.
    """
    from checkout_cli.store.database.engine import make_engine

    if given.resolved["database_url"].problem:
        return
    try:
        engine = make_engine(given.sound.unchecked(database_schema=""))  # whether that may be set is said above
    except CheckoutError as error:
        usual = "such as sqlite:////var/lib/shop/checkout.db or postgresql://user@host/name"
        yield _error("DATABASE_URL", str(error), usual if error.hint == ConfigurationError.default_hint else error.hint)
        return
    path: Path | None = getattr(engine, "sqlite_path", None)
    engine.dispose()
    for option in _FILES_OF_DATABASE_URL:
        name = engine.url.query.get(option)
        if isinstance(name, str) and name != "system" and not Path(name).expanduser().is_file():
            yield _error("DATABASE_URL", f"its {option} names no file: {name}", f"correct {option} in DATABASE_URL")
    try:
        problem = _place_problem(path) if path is not None else ""
    except OSError as error:
        problem = f"{path} cannot be looked at: {error.strerror or error}"
    if problem:
        yield _error("DATABASE_URL", problem, "set DATABASE_URL to a file in a directory that you can write to")


def _place_problem(path: Path) -> str:
    """Why a database cannot be kept in this file, or nothing."""
    if path.parts[0].startswith("~"):
        return f"this user has no home directory, so there is no place {path}"
    if path.exists():
        if not path.is_file():
            return f"{path} is no regular file"
        if not os.access(path, os.R_OK | os.W_OK):
            return f"{path} is read-only"
        with path.open("rb") as stream:
            if stream.read(len(_SQLITE)) not in {_SQLITE, b""}:
                return f"{path} is not an SQLite database"
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        return f"{nearest} is not a directory"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"the directory {nearest} cannot be written to"
