"""Every setting: its variable, meaning, default and check, in one table.

A value comes from a flag, else the environment, else ``.env.local``, else ``.env``, else the default, and remembers
which. An empty value in a file or the environment means "the default", as in the specification's ``REDIS_PASSWORD=``.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, cast

from checkout_cli.config.addresses import (
    address_text,
    checked_host,
    checked_hosts,
    checked_number,
    names_host,
    split_address,
)
from checkout_cli.config.by_hand import by_hand
from checkout_cli.config.database_url import checked_database_url
from checkout_cli.config.kept_apart import kept_apart
from checkout_cli.config.redis_url import checked_socket, checked_url, combined
from checkout_cli.config.trusted_file import (
    LARGEST_ENV_FILE,
    LARGEST_SECRET,
    at_home,
    insist_on_trust,
    not_utf8,
    read_regular,
    text_of,
)
from checkout_cli.config.variables import Origin, Resolved, Variable, bare, without_password
from checkout_cli.errors import ConfigurationError
from checkout_cli.typed import typed

ENV_FILES = (".env.local", ".env")
"""In the working directory; the first one wins."""
ENV_FILE = "CHECKOUT_ENV_FILE"


def _setting(
    name: str,
    meaning: str,
    default: Any = "",
    parse: Callable[[str], Any] = str,
    *,
    specified: bool = False,
    secret: bool = False,
    sealed: bool = False,
    shared: bool = False,
) -> Any:
    factory = default if callable(default) else lambda: default
    variable = Variable(name, meaning, parse, factory, specified, secret, sealed, shared)
    return field(default_factory=factory, metadata={"variable": variable})


def _number(name: str, meaning: str, default: int, low: int, high: int, *, specified: bool = False) -> Any:
    return _setting(name, meaning, default, partial(checked_number, low=low, high=high), specified=specified)


def _seconds(name: str, meaning: str, default: float, low: float, high: float) -> Any:
    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            value = -1.0
        if not low <= value <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return value

    return _setting(name, meaning, default, parse)


def _switch(name: str, meaning: str, default: bool = True, *, specified: bool = False) -> Any:
    return _setting(name, meaning, default, _true_or_false, specified=specified)


def _true_or_false(raw: str) -> bool:
    word = raw.lower()
    if word not in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
        raise ValueError("must be true or false")
    return word in {"true", "1", "yes", "on"}


def _choice(name: str, meaning: str, *choices: str, shared: bool = False) -> Any:
    """One of some words, the first being the default."""

    def parse(raw: str) -> str:
        if raw not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return raw

    return _setting(name, meaning, choices[0], parse, shared=shared)


def _addresses(raw: str) -> str:
    for address in raw.split(",") if raw else ():
        split_address(address)
    return raw


def _schema(raw: str) -> str:
    theirs = raw.startswith("pg_") or raw == "information_schema"
    if raw and (theirs or not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", raw)):
        raise ValueError("must be 1 to 63 of a-z, 0-9 and _, no digit first, and no name of PostgreSQL's own")
    return raw


def _default_database_url() -> str:
    if "linux" in sys.platform:  # without platformdirs, whose import takes 4 ms of each ping
        data = os.environ.get("XDG_DATA_HOME", "").strip() or at_home("~/.local/share")
        return f"sqlite:///{data}/checkoutctl/checkout.db"
    import platformdirs

    try:
        data = platformdirs.user_data_path("checkoutctl", appauthor=False)
    except RuntimeError:  # no home directory: the database will say so
        data = Path("~/checkoutctl")
    return f"sqlite:///{data / 'checkout.db'}"


@dataclass(frozen=True, repr=False)
class Settings:
    """All settings, checked however they were made: ``ConfigurationError`` names each that cannot be.

    Times are in seconds. What ``redis_url`` says is in the fields of its parts, and it is empty then.
    """

    redis_host: str = _setting(
        "REDIS_HOST", "host of the Redis or Valkey server", "localhost", checked_host, specified=True
    )
    redis_port: int = _number("REDIS_PORT", "its port", 6379, 1, 65535, specified=True)
    redis_username: str = _setting("REDIS_USERNAME", "ACL user; empty for the default user")
    redis_password: str = _setting("REDIS_PASSWORD", "its password", specified=True, secret=True)
    redis_password_file: str = _setting("REDIS_PASSWORD_FILE", "a file that holds the password")
    redis_db: int = _number("REDIS_DB", "logical database number", 0, 0, 1_000_000, specified=True)
    redis_url: str = _setting(
        "REDIS_URL",
        "all of the above in one: redis://user:password@host:port/db, rediss:// with TLS, unix:///path",
        "",
        checked_url,
        sealed=True,
    )
    redis_socket: str = _setting(
        "REDIS_SOCKET", "path of a Unix socket, instead of REDIS_HOST and REDIS_PORT", "", checked_socket
    )
    redis_to_password: str = _setting(
        "REDIS_TO_PASSWORD", "the password of the server that migrate --to copies to", secret=True
    )
    redis_to_password_file: str = _setting("REDIS_TO_PASSWORD_FILE", "a file that holds it")
    redis_sentinels: str = _setting(
        "REDIS_SENTINELS", "Sentinels as host:port,host:port; the primary is then found through them", "", _addresses
    )
    redis_sentinel_service: str = _setting(
        "REDIS_SENTINEL_SERVICE", "the name that the Sentinels know the primary by", "mymaster"
    )
    redis_sentinel_username: str = _setting(
        "REDIS_SENTINEL_USERNAME", "ACL user of the Sentinels; empty for their default user"
    )
    redis_sentinel_password: str = _setting("REDIS_SENTINEL_PASSWORD", "the Sentinels' own password", secret=True)
    redis_sentinel_password_file: str = _setting("REDIS_SENTINEL_PASSWORD_FILE", "a file that holds it")
    redis_mode: str = _choice("REDIS_MODE", "standalone (also behind Sentinels), or cluster", "standalone", "cluster")
    redis_cluster_nodes: str = _setting(
        "REDIS_CLUSTER_NODES",
        "more nodes of the cluster as host:port,host:port, to be asked where REDIS_HOST does not answer",
        "",
        _addresses,
    )
    redis_allowed_hosts: str = _setting(
        "REDIS_ALLOWED_HOSTS",
        "hosts and networks (10.0.0.0/8) that a cluster or the Sentinels may send us and our password to; empty: any",
        "",
        checked_hosts,
    )
    redis_tls: bool = _switch("REDIS_TLS", "connect with TLS, certificate and host name verified", False)
    redis_tls_ca_file: str = _setting(
        "REDIS_TLS_CA_FILE", "CA certificates (PEM) to verify with; empty: those of the system"
    )
    redis_tls_cert_file: str = _setting("REDIS_TLS_CERT_FILE", "our own certificate (PEM), where the server wants one")
    redis_tls_key_file: str = _setting("REDIS_TLS_KEY_FILE", "its private key (PEM); empty: it is in the same file")
    redis_tls_key_password: str = _setting(
        "REDIS_TLS_KEY_PASSWORD", "the password of that key, if it has one", secret=True
    )
    redis_tls_server_name: str = _setting(
        "REDIS_TLS_SERVER_NAME",
        "the name that certificates must be for; empty: the host that is connected to",
        "",
        lambda raw: checked_host(raw) if raw else raw,
    )
    redis_sentinel_tls: str = _setting(
        "REDIS_SENTINEL_TLS",
        "connect to the Sentinels with TLS: true or false; empty: as REDIS_TLS",
        "",
        lambda raw: str(_true_or_false(raw)).lower() if raw else "",
    )

    enable_checkout_sessions: bool = _switch(
        "REDIS_ENABLE_CHECKOUT_SESSIONS", "keep sessions in Redis; false: in the database", specified=True
    )
    enable_delivery_cache: bool = _switch("REDIS_ENABLE_DELIVERY_CACHE", "cache delivery charges", specified=True)
    enable_coupon_cache: bool = _switch("REDIS_ENABLE_COUPON_CACHE", "cache coupon validations", specified=True)
    enable_user_sessions: bool = _switch("REDIS_ENABLE_USER_SESSIONS", "track users' checkouts", specified=True)
    enable_statistics: bool = _switch("REDIS_ENABLE_STATISTICS", "show and keep statistics", specified=True)

    database_url: str = _setting(
        "DATABASE_URL",
        "the database behind Redis: sqlite:///… or postgresql://…",
        _default_database_url,
        checked_database_url,
        sealed=True,
    )
    database_schema: str = _setting(
        "CHECKOUT_DATABASE_SCHEMA",
        "the PostgreSQL schema of our tables, which setup makes; empty: the first of the search path",
        "",
        _schema,
    )
    timeout: float = _seconds("CHECKOUT_TIMEOUT", "longest wait for one answer of Redis, in seconds", 0.25, 0.001, 60)
    database_timeout: float = _seconds(
        "CHECKOUT_DATABASE_TIMEOUT", "longest wait for one answer or a lock of the database, in seconds", 2.0, 0.01, 60
    )
    session_ttl: float = _seconds(
        "CHECKOUT_SESSION_TTL", "life of a session after its last use, in seconds", 1800.0, 1, 86_400
    )
    session_max_age: float = _seconds(
        "CHECKOUT_SESSION_MAX_AGE", "age at which every session ends, used or not, in seconds", 86_400.0, 1, 31_536_000
    )
    delivery_ttl: float = _seconds(
        "CHECKOUT_DELIVERY_TTL", "life of a cached delivery charge, in seconds", 300.0, 1, 86_400
    )
    delivery_decimals: int = _number(
        "CHECKOUT_DELIVERY_DECIMALS",
        "decimals of distance (km) and order value that the delivery price depends on",
        2,
        0,
        6,
    )
    coupon_ttl: float = _seconds(
        "CHECKOUT_COUPON_TTL", "life of a cached coupon that was valid, in seconds", 600.0, 1, 86_400
    )
    coupon_invalid_ttl: float = _seconds(
        "CHECKOUT_COUPON_INVALID_TTL", "the same for one that was not valid, in seconds", 60.0, 1, 86_400
    )
    user_ttl: float = _seconds(
        "CHECKOUT_USER_TTL",
        "life of what is tracked of a user after the last checkout, in seconds",
        86_400.0,
        1,
        31_536_000,
    )
    statistics_ttl: float = _seconds(
        "CHECKOUT_STATISTICS_TTL", "life of one minute's statistics, in seconds", 3600.0, 60, 86_400
    )
    durability: str = _choice(
        "CHECKOUT_DURABILITY",
        "what a write waits for: database, or redis (the database gets it later)",
        "database",
        "redis",
    )
    external_deletes: str = _choice(
        "CHECKOUT_EXTERNAL_DELETES",
        "a session that another program deleted in Redis: refill it from the database, or honour a proven deletion",
        "refill",
        "honour",
    )
    trust: float = _seconds(
        "CHECKOUT_TRUST", "how long a process trusts Redis after it looked for pending rows, in seconds", 1.0, 0.01, 60
    )
    flush: float = _seconds(
        "CHECKOUT_FLUSH",
        "how long a write that only Redis has waits for others, to be flushed to the database together, in seconds",
        0.5,
        0.01,
        60,
    )
    serve_token_value: str = _setting(
        "CHECKOUT_SERVE_TOKEN", "the bearer token that serve wants of its clients", secret=True
    )
    serve_token_file: str = _setting("CHECKOUT_SERVE_TOKEN_FILE", "a file that holds it")
    env_file: str = _setting(
        ENV_FILE,
        "one file that is read in place of .env.local and .env, whoever owns it; set in the environment only",
    )
    debug: str = _setting(
        "DEBUG", "what to log: redis:* is every Redis operation, checkout:* all else; a list", shared=True
    )
    log_format: str = _choice("LOG_FORMAT", "text or json", "text", "json", shared=True)
    log_file: str = _setting("LOG_FILE", "a file instead of stderr, rotated at 10 MB; or /dev/stdout", shared=True)

    @classmethod
    def load(
        cls,
        *,
        flags: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Settings:
        """Every setting, ``flags`` being typed values by field name; raises ``ConfigurationError``."""
        resolved = resolve(flags=flags, environ=environ, directory=directory)
        problems = [item.problem for item in resolved.values() if item.problem]
        if problems:
            raise ConfigurationError(*problems)
        return cls(**{name: item.value for name, item in resolved.items()} | {"redis_url": ""})

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in VARIABLES}
        checked, problems = by_hand(values, VARIABLES)
        self.__dict__.update(checked)
        if not problems and (contradiction := self.contradiction()):
            problems.append(" ".join(contradiction))
        if problems:
            raise ConfigurationError(*problems)

    def unchecked(self, **values: Any) -> Settings:
        """The same with other values, whatever they are: of a probe that ends soon, or to see what contradicts what."""
        settings = Settings()
        settings.__dict__.update(vars(self) | values)
        return settings

    def __repr__(self) -> str:
        """Secrets masked: it may end up in a log or a traceback."""
        shown = (f"{name}={variable.masked(getattr(self, name))!r}" for name, variable in VARIABLES.items())
        return f"Settings({', '.join(shown)})"

    def sentinels(self) -> list[tuple[str, int]]:
        """Hosts and ports of the Sentinels; none for a standalone Redis."""
        return _pairs(self.redis_sentinels)

    @property
    def sentinel_tls(self) -> bool:
        return self.redis_tls if not self.redis_sentinel_tls else self.redis_sentinel_tls == "true"

    @property
    def uses_tls(self) -> bool:
        """Whether Redis or the Sentinels are reached with TLS."""
        return self.redis_tls or (bool(self.redis_sentinels) and self.sentinel_tls)

    @property
    def is_cluster(self) -> bool:
        return self.redis_mode == "cluster"

    def cluster_nodes(self) -> list[tuple[str, int]]:
        """The nodes that are asked where the cluster's keys are."""
        return list(dict.fromkeys([(self.redis_host, self.redis_port), *_pairs(self.redis_cluster_nodes)]))

    def allows(self, host: str) -> bool:
        """Whether a cluster or a Sentinel may send us to a host; they may to those that other settings name."""
        named = {self.redis_host, *(name for name, _ in self.cluster_nodes())}
        return not self.redis_allowed_hosts or host in named or names_host(self.redis_allowed_hosts, host)

    def contradiction(self) -> tuple[str, str] | None:
        """Two settings that exclude each other: the variable to change, and why."""
        if self.is_cluster and self.redis_sentinels:
            return "REDIS_SENTINELS", "a cluster has no Sentinels: with REDIS_MODE=cluster it must be empty"
        if self.is_cluster and self.redis_db:
            return "REDIS_DB", "a cluster has only database 0: with REDIS_MODE=cluster it must be 0"
        if self.database_schema and self.database_url.startswith("sqlite"):
            return "CHECKOUT_DATABASE_SCHEMA", "SQLite has no schemas: with a DATABASE_URL of SQLite it must be empty"
        if self.redis_socket and self.is_cluster:
            return "REDIS_SOCKET", "a cluster's nodes name each other by host and port: a Unix socket reaches one only"
        if self.redis_socket and self.redis_sentinels:
            return "REDIS_SOCKET", "the Sentinels say where Redis is: with REDIS_SENTINELS it must be empty"
        if self.redis_socket and self.redis_tls:
            return "REDIS_TLS", "a Unix socket has no TLS, and needs none: with REDIS_SOCKET it must be false"
        return None

    @property
    def redis_place(self) -> str:
        """Where Redis is, for messages."""
        if self.redis_sentinels:
            return f"the primary of {self.redis_sentinel_service!r} (by the Sentinels {self.redis_sentinels})"
        if self.is_cluster:
            return ",".join(address_text(host, port) for host, port in self.cluster_nodes())
        return self.redis_socket or address_text(self.redis_host, self.redis_port)

    @property
    def database_place(self) -> str:
        """The database's URL without its password, and the schema where one is set."""
        place = without_password(self.database_url)
        return f"{place}, schema {self.database_schema}" if self.database_schema else place

    def password(self) -> str | None:
        """The Redis password from its variable or its file."""
        return _secret(self.redis_password, "REDIS_PASSWORD_FILE", self.redis_password_file)

    def serve_token(self) -> str | None:
        """The bearer token of ``checkoutctl serve``, from its variable or its file."""
        return _secret(self.serve_token_value, "CHECKOUT_SERVE_TOKEN_FILE", self.serve_token_file)

    def sentinel_password(self) -> str | None:
        """The Sentinels' password from its variable or its file."""
        return _secret(self.redis_sentinel_password, "REDIS_SENTINEL_PASSWORD_FILE", self.redis_sentinel_password_file)


def _secret(value: str, variable: str, file: str) -> str | None:
    if value or not file:
        return value or None
    name = f"{variable} {VARIABLES[_FIELDS[variable]].masked(file)}"
    try:
        text = text_of(read_regular(at_home(file), LARGEST_SECRET)[0]).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name}: {not_utf8(error)}") from None  # the error holds the file's content
    except (OSError, ValueError) as error:  # a NUL in the path
        raise ConfigurationError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if re.search(r"[\x00-\x08\n-\x1f\x7f]", text):
        raise ConfigurationError(f"{name}: it must hold one line, the secret alone")
    return text


def _pairs(addresses: str) -> list[tuple[str, int]]:
    return [split_address(address) for address in addresses.split(",") if address.strip()]


VARIABLES: dict[str, Variable] = {item.name: cast("Variable", item.metadata["variable"]) for item in fields(Settings)}
"""Each field of :class:`Settings` with its variable, in the order in which they are shown."""
_FIELDS = {variable.name: name for name, variable in VARIABLES.items()}


_PLACES = frozenset(
    {"REDIS_HOST", "REDIS_PORT", "REDIS_URL", "REDIS_SOCKET", "REDIS_SENTINELS", "REDIS_CLUSTER_NODES", "DATABASE_URL"}
    | {ENV_FILE}
)
"""Variables that say where the servers are."""


def env_files(directory: Path | None = None, environ: Mapping[str, str] | None = None) -> dict[Path, Origin]:
    """The files that settings are read from, strongest first."""
    named = (os.environ if environ is None else environ).get(ENV_FILE)
    if named:
        return {Path(named).absolute(): Origin.ENV_FILE}
    return {(directory or Path.cwd()) / name: Origin(name) for name in ENV_FILES}


def unread_env_files(directory: Path, environ: Mapping[str, str] | None = None) -> dict[Path, tuple[str, ...]]:
    """Environment files beside those that are read, and the names of our settings that each sets.

    Next.js reads ``.env.production`` and the like below ``.env.local``. One that cannot be read sets nothing.
    """
    from checkout_cli.config.env_files import other_env_files, values_of

    found: dict[Path, tuple[str, ...]] = {}
    for path in other_env_files(directory, set(env_files(directory, environ))):
        try:
            values = values_of(text_of(read_regular(path, LARGEST_ENV_FILE)[0]))
        except (OSError, ValueError):
            values = {}
        found[path] = tuple(name for name, value in values.items() if value is not None and name in _FIELDS)
    return found


def is_configured(directory: Path, environ: Mapping[str, str] | None = None) -> bool:
    """Whether a file in the directory, or a variable, says where Redis or the database is."""
    variables = os.environ if environ is None else environ
    named = (name for name in variables if name in _PLACES and variables[name])
    return next(named, None) is not None or any(path.exists() for path in env_files(directory, variables))


def env_text(path: Path, origin: Origin | None = None) -> str | None:
    """An environment file's content, ``None`` where there is no such file; raises ``ConfigurationError``.

    It must belong to us or root and be writable by nobody else, unless it is the one that CHECKOUT_ENV_FILE names.
    """
    try:
        content, status = read_regular(path, LARGEST_ENV_FILE)
        if origin is not Origin.ENV_FILE:
            insist_on_trust(path, status)
        return text_of(content)
    except FileNotFoundError as error:
        if origin is Origin.ENV_FILE:
            raise _unreadable(path, error.strerror or str(error)) from error
        return None
    except UnicodeDecodeError as error:
        raise _unreadable(path, not_utf8(error)) from None  # the error holds the file's content
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error


def read_env_file(path: Path, origin: Origin | None = None) -> dict[str, str]:
    """The variables of an environment file, if there is one; raises ``ConfigurationError``."""
    content = env_text(path, origin)
    if content is None:
        return {}
    from checkout_cli.config.env_files import values_of

    values = values_of(content)
    return {name: value for name, value in values.items() if value is not None and name != ENV_FILE}


def _unreadable(path: Path, reason: str) -> ConfigurationError:
    hint = typed("ls -l {}; it must be a file that you can read", path)
    return ConfigurationError(f"cannot read {path.name}: {reason}", hint=hint)


def exposed(path: Path) -> bool:
    """Whether group or others can read the file; always false on Windows, which has no such bits."""
    if os.name == "nt":
        return False
    try:
        mode = path.stat().st_mode
    except OSError:  # not there, or not ours to look at, which reading it will say
        return False
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def resolve(
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> dict[str, Resolved]:
    """Every setting by field name with its problem; ``ConfigurationError`` for an unreadable environment file."""
    environment = os.environ if environ is None else environ
    sources: list[tuple[Origin, Mapping[str, str]]] = [(Origin.ENVIRONMENT, environment)]
    sources += [(origin, read_env_file(path, origin)) for path, origin in env_files(directory, environment).items()]
    found = {name: _resolve_one(variable, (flags or {}).get(name), sources) for name, variable in VARIABLES.items()}
    return kept_apart(combined(found), environment)


def _resolve_one(variable: Variable, flag: Any, sources: list[tuple[Origin, Mapping[str, str]]]) -> Resolved:
    candidates = [] if flag is None else [(Origin.FLAG, str(flag))]
    candidates += [(origin, values[variable.name]) for origin, values in sources if values.get(variable.name)]
    if not candidates:
        return Resolved(variable, variable.default(), Origin.DEFAULT)
    origin, raw = candidates[0]
    try:
        return Resolved(variable, variable.parse(bare(raw, secret=variable.secret)), origin)
    except ValueError as error:
        if variable.shared and origin is not Origin.FLAG:
            shown = f"{variable.name} (from {origin}) is {without_password(raw)[:64]!r}"
            ignored = f"{shown}, perhaps for another program, and is not used: it {error}"
            return Resolved(variable, variable.default(), Origin.DEFAULT, ignored=ignored)
        shown = "" if variable.secret or variable.sealed else f" is {without_password(raw)[:64]!r} and"
        return Resolved(variable, variable.default(), origin, f"{variable.name} (from {origin}){shown} {error}")
