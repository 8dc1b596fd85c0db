"""Everything that can be known to be wrong with the settings without asking a server."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from checkout_cli.checks import Finding, Status, ok, worst
from checkout_cli.config.addresses import is_loopback
from checkout_cli.config.settings import ENV_FILES, VARIABLES, Settings, exposed, read_env_file, resolve
from checkout_cli.config.variables import Resolved, without_password
from checkout_cli.errors import CheckoutError, ConfigurationError, ExitCode
from checkout_cli.files.env_file import insist_on_file, parser_warnings_off

_OURS = re.compile(r"(?:REDIS|CHECKOUT)_", re.IGNORECASE)
_SIMILAR = 0.8
"""How like one of our names an unknown one must be to count as a typing mistake, from 0 to 1."""
_SQLITE = b"SQLite format 3\0"
"""How every SQLite database begins that is not empty."""


@dataclass(frozen=True)
class ConfigReport:
    """All that is wrong; nothing, if all is well.

    What is critical keeps commands from working or from doing what the setting says; a warning does not.
    """

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The worst finding's."""
        found = worst(self.findings)
        if found is None:
            return ExitCode.OK
        return ExitCode.CONFIGURATION if found.status is Status.CRIT else ExitCode.FINDING


def verdict(
    directory: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Finding:
    """The worst of what is wrong, and how much more there is."""
    findings = check(directory, flags=flags, environ=environ).findings
    found = worst(findings)
    if found is None:
        return ok("every setting is valid")
    more = f"; {len(findings) - 1} more: checkoutctl config check" if len(findings) > 1 else ""
    return Finding(found.status, f"{found.subject}: {found.evidence}{more}", found.fix, {"findings": len(findings)})


def configuration(
    directory: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Resolved]:
    """Every setting with its origin, valid or not.

    Raises:
        ConfigurationError: an environment file cannot be read.
    """
    return resolve(flags=flags, environ=environ, directory=directory)


def check(
    directory: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> ConfigReport:
    """Look for everything that is wrong; asks no server and changes nothing."""
    with parser_warnings_off():
        return ConfigReport(tuple(_findings(directory, flags, environ)))


def _findings(directory: Path, flags: Mapping[str, Any] | None, environ: Mapping[str, str] | None) -> list[Finding]:
    findings = [finding for name in ENV_FILES for finding in _file_findings(directory / name)]
    try:
        resolved = configuration(directory, flags=flags, environ=environ)
    except ConfigurationError:  # the file that cannot be read is among the findings
        return findings
    findings += (
        _error(item.variable.name, item.problem, _correction(item)) for item in resolved.values() if item.problem
    )
    sound = Settings(**{name: item.value for name, item in resolved.items()})  # defaults stand in for what is wrong
    if contradiction := sound.contradiction():
        findings.append(_error(*contradiction, "checkoutctl config show"))
    findings += _password_findings("REDIS_PASSWORD", sound.redis_password, sound.redis_password_file, sound.password)
    findings += _password_findings(
        "REDIS_SENTINEL_PASSWORD",
        sound.redis_sentinel_password,
        sound.redis_sentinel_password_file,
        sound.sentinel_password,
    )
    findings += _transport_findings(sound, resolved)
    findings += _lifetime_findings(sound)
    if not resolved["database_url"].problem:
        findings += _database_findings(replace(sound, database_schema=""))  # whether it may be set is said above
    return findings


def _error(subject: str, problem: str, fix: str) -> Finding:
    return Finding(Status.CRIT, problem, fix, subject=subject)


def _warning(subject: str, problem: str, fix: str) -> Finding:
    return Finding(Status.WARN, problem, fix, subject=subject)


def _correction(item: Resolved) -> str:
    return f"correct or remove {item.variable.name} in: {item.origin}"


# The files


def _file_findings(path: Path) -> Iterator[Finding]:
    try:
        insist_on_file(path)
        variables = read_env_file(path)
    except ConfigurationError as error:
        yield _error(path.name, str(error), error.hint)
        return
    secrets = secrets_in(variables)
    if exposed(path) and secrets:
        yield _error(path.name, f"it can be read by others, and holds {' and '.join(secrets)}", f"chmod 600 {path}")
    elif exposed(path) and path.name == ENV_FILES[0]:
        yield _warning(path.name, "it can be read by others than its owner", f"chmod 600 {path}")
    yield from _line_findings(path)
    yield from _name_findings(path.name, variables)


def secrets_in(variables: Mapping[str, str]) -> list[str]:
    """The names of the variables that hold a secret."""
    secrets = [variable.name for variable in VARIABLES.values() if variable.secret and variables.get(variable.name)]
    secrets += [name for name in ("REDIS_URL", "DATABASE_URL") if _has_password(variables.get(name, ""))]
    return secrets


def secret_files(settings: Settings) -> list[tuple[str, str]]:
    """The files that the settings name for a secret, each with what is in it."""
    key = settings.redis_tls_key_file or settings.redis_tls_cert_file
    named = [
        (settings.redis_password_file, "the password of Redis"),
        (settings.redis_sentinel_password_file, "the password of the Sentinels"),
        (key, "the private key of our certificate"),
    ]
    return [(path, what) for path, what in named if path]


def _has_password(url: str) -> bool:
    return without_password(url) != url


def _line_findings(path: Path) -> Iterator[Finding]:
    """What the parser skips in silence: broken lines, a name that is set twice."""
    if not path.exists():  # whoever could not look has been told already
        return
    from dotenv.parser import parse_stream

    seen: dict[str, int] = {}
    with path.open(encoding="utf-8-sig") as stream:
        for binding in parse_stream(stream):
            line = binding.original.line + _leading_line_ends(binding.original.string)
            if binding.error:
                yield _error(
                    f"{path.name} line {line}", "it is not NAME=value, or a quote is not closed", f"edit {path}"
                )
            elif binding.key is not None and binding.key in VARIABLE_NAMES:
                if binding.key in seen:
                    yield _warning(
                        binding.key,
                        f"set twice in {path.name}, in lines {seen[binding.key]} and {line}; the last one counts",
                        f"remove one of them from {path}",
                    )
                seen[binding.key] = line


def _leading_line_ends(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n")


VARIABLE_NAMES = {variable.name for variable in VARIABLES.values()}


def _name_findings(file: str, variables: Mapping[str, str]) -> Iterator[Finding]:
    for name in variables:
        if name in VARIABLE_NAMES or not _OURS.match(name):
            continue
        similar = get_close_matches(name.upper(), VARIABLE_NAMES, n=1, cutoff=_SIMILAR)
        if similar:
            yield _warning(name, f"in {file}; no setting has this name", f"did you mean {similar[0]}?")


# What the values say together


def _password_findings(
    variable: str, given: str, file: str, password_of: Callable[[], str | None]
) -> Iterator[Finding]:
    if not file:
        return
    name, path = f"{variable}_FILE", Path(file).expanduser()
    if given:
        yield _warning(name, f"not used, because {variable} is set too", "remove one of the two settings")
        return
    try:
        password = password_of()
    except CheckoutError as error:
        yield _error(name, str(error), f"ls -l {path}; it must be a file that you can read")
        return
    if not password:
        yield _error(name, f"{path} is empty", "write the password into it")
    if exposed(path):
        yield _warning(name, f"{path} can be read by others than its owner", f"chmod 600 {path}")


_TLS_FILES = ("redis_tls_ca_file", "redis_tls_cert_file", "redis_tls_key_file")


def _transport_findings(settings: Settings, resolved: Mapping[str, Resolved]) -> Iterator[Finding]:
    yield from _plain_text_findings(settings, resolved)
    if settings.redis_sentinels and not is_loopback(settings.redis_host):
        yield _warning(
            resolved["redis_host"].via or "REDIS_HOST",
            "its host is not used, because REDIS_SENTINELS is set too: the Sentinels say where Redis is",
            "remove one of the two settings",
        )
    unused = [VARIABLES[name].name for name in (*_TLS_FILES, "redis_tls_server_name") if getattr(settings, name)]
    if not settings.uses_tls:
        fix = "remove it: a Unix socket has no TLS" if settings.redis_socket else "set REDIS_TLS=true"
        for name in unused:
            yield _warning(name, "not used, because REDIS_TLS is off", fix)
        return
    yield from _certificate_findings(settings)


def _plain_text_findings(settings: Settings, resolved: Mapping[str, Resolved]) -> Iterator[Finding]:
    """What travels readably to another machine."""
    if settings.redis_socket:
        return
    url = resolved["redis_tls"].via
    fix = "make it rediss://, if the server offers TLS" if url else "set REDIS_TLS=true, if the server offers TLS"
    hosts = settings.sentinels() if settings.redis_sentinels else settings.cluster_nodes()
    remote = next((host for host, _ in hosts if not is_loopback(host)), None)
    if remote is None:
        return
    if not settings.redis_tls:
        readable = f"off, though {remote} is another machine: sessions and the password travel readably"
        yield _warning(url or "REDIS_TLS", readable if not url else f"TLS is {readable}", fix)
    elif settings.redis_sentinels and not settings.sentinel_tls:
        yield _warning(
            "REDIS_SENTINEL_TLS",
            f"off, though {remote} is another machine: who can change what it says can send us to his own Redis",
            "set REDIS_SENTINEL_TLS=true, if the Sentinels offer TLS",
        )


def _certificate_findings(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the files that TLS needs; the servers are not asked."""
    from checkout_cli.store.redis.tls import TlsFileError, tls_context

    try:
        tls_context(settings)
    except TlsFileError as error:
        yield _error(error.variable, str(error).removeprefix(f"{error.variable} "), error.hint)
        return
    key = settings.redis_tls_key_file or settings.redis_tls_cert_file
    if key and exposed(Path(key).expanduser()):
        name = "REDIS_TLS_KEY_FILE" if settings.redis_tls_key_file else "REDIS_TLS_CERT_FILE"
        yield _warning(name, f"{key} holds a private key, and can be read by others", f"chmod 600 {key}")


def _lifetime_findings(settings: Settings) -> Iterator[Finding]:
    if settings.session_ttl > settings.session_max_age:
        yield _error(
            "CHECKOUT_SESSION_TTL",
            f"{settings.session_ttl:g} s is more than CHECKOUT_SESSION_MAX_AGE, {settings.session_max_age:g} s: "
            "no session can live that long",
            "lower CHECKOUT_SESSION_TTL, or raise CHECKOUT_SESSION_MAX_AGE",
        )


def _database_findings(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the URL, its driver, or the place it names."""
    from checkout_cli.store.database.engine import make_engine

    try:
        engine = make_engine(settings)
    except CheckoutError as error:
        usual = "such as sqlite:////var/lib/shop/checkout.db or postgresql://user@host/name"
        yield _error("DATABASE_URL", str(error), usual if error.hint == ConfigurationError.default_hint else error.hint)
        return
    path: Path | None = getattr(engine, "sqlite_path", None)
    engine.dispose()
    try:
        problem = _place_problem(path.absolute()) if path is not None else ""
    except OSError as error:
        problem = f"{path} cannot be looked at: {error.strerror or error}"
    if problem:
        yield _error("DATABASE_URL", problem, "set DATABASE_URL to a file in a directory that you can write to")


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE)) in {_SQLITE, b""}


def _place_problem(path: Path) -> str:
    """Why a database cannot be kept in this file, or nothing. SQLite also needs to write beside it."""
    if path.exists() and not path.is_file():
        return f"{path} is no regular file"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return f"{path} is read-only"
    if path.exists() and not _is_sqlite(path):
        return f"{path} is not an SQLite database"
    nearest = next(parent for parent in path.parents if parent.exists())
    if not nearest.is_dir():
        return f"{nearest} is not a directory"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"the directory {nearest} cannot be written to"
    return ""
