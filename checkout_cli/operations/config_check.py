"""Everything that can be known to be wrong with the settings without asking a server."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from checkout_cli.errors import CheckoutError, ConfigurationError, ExitCode
from checkout_cli.operations.env_file import insist_on_file, parser_warnings_off
from checkout_cli.settings import (
    ENV_FILES,
    VARIABLES,
    Resolved,
    Settings,
    exposed,
    read_env_file,
    resolve,
    without_password,
)

_OURS = re.compile(r"(?:REDIS|CHECKOUT)_", re.IGNORECASE)
_SIMILAR = 0.8
"""How like one of our names an unknown one must be to count as a typing mistake, from 0 to 1."""
_SQLITE = b"SQLite format 3\0"
"""How every SQLite database begins that is not empty."""


class Severity(StrEnum):
    """An error keeps commands from working or from doing what the setting says; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what to do about it."""

    severity: Severity
    subject: str
    problem: str
    fix: str


@dataclass(frozen=True)
class ConfigReport:
    """All that is wrong; nothing, if all is well."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The worst finding's."""
        severities = {finding.severity for finding in self.findings}
        if Severity.ERROR in severities:
            return ExitCode.CONFIGURATION
        return ExitCode.FINDING if severities else ExitCode.OK


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
    findings += _password_findings(sound)
    findings += _transport_findings(sound)
    findings += _lifetime_findings(sound)
    if not resolved["database_url"].problem:
        findings += _database_findings(sound)
    return findings


def _error(subject: str, problem: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, subject, problem, fix)


def _warning(subject: str, problem: str, fix: str) -> Finding:
    return Finding(Severity.WARNING, subject, problem, fix)


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
    if _has_password(variables.get("DATABASE_URL", "")):
        secrets.append("DATABASE_URL")
    return secrets


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
        if name.upper() == "REDIS_URL":
            yield _warning(name, f"in {file}; checkoutctl does not read it", "set REDIS_HOST, REDIS_PORT and REDIS_DB")
            continue
        similar = get_close_matches(name.upper(), VARIABLE_NAMES, n=1, cutoff=_SIMILAR)
        if similar:
            yield _warning(name, f"in {file}; no setting has this name", f"did you mean {similar[0]}?")


# What the values say together


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _password_findings(settings: Settings) -> Iterator[Finding]:
    if not settings.redis_password_file:
        return
    path = Path(settings.redis_password_file).expanduser()
    if settings.redis_password:
        yield _warning(
            "REDIS_PASSWORD_FILE", "not used, because REDIS_PASSWORD is set too", "remove one of the two settings"
        )
        return
    try:
        password = settings.password()
    except CheckoutError as error:
        yield _error("REDIS_PASSWORD_FILE", str(error), f"ls -l {path}; it must be a file that you can read")
        return
    if not password:
        yield _error("REDIS_PASSWORD_FILE", f"{path} is empty", "write the password into it")
    if exposed(path):
        yield _warning("REDIS_PASSWORD_FILE", f"{path} can be read by others than its owner", f"chmod 600 {path}")


def _transport_findings(settings: Settings) -> Iterator[Finding]:
    hosts = [host for host, _ in settings.sentinels()] or [settings.redis_host]
    remote = next((host for host in hosts if not is_loopback(host)), None)
    if not settings.redis_tls and remote is not None:
        yield _warning(
            "REDIS_TLS",
            f"off, though {remote} is another machine: sessions and the password travel readably",
            "set REDIS_TLS=true, if the server offers TLS",
        )
    if settings.redis_sentinels and not is_loopback(settings.redis_host):
        yield _warning(
            "REDIS_HOST",
            "not used, because REDIS_SENTINELS is set too: the Sentinels say where Redis is",
            "remove one of the two settings",
        )
    if not settings.redis_tls_ca_file:
        return
    path = Path(settings.redis_tls_ca_file)
    if not settings.redis_tls:
        yield _warning("REDIS_TLS_CA_FILE", "not used, because REDIS_TLS is off", "set REDIS_TLS=true")
    elif not os.access(path, os.R_OK) or path.is_dir():
        yield _error("REDIS_TLS_CA_FILE", f"{path} is no file that can be read", f"ls -l {path}")


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
    from checkout_cli.store.database_engine import make_engine

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
