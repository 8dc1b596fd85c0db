"""``DATABASE_URL``: what it must be, and what other programs put into theirs that the driver here refuses.

Shops hand one URL to several programs, and each of those has options of its own: Prisma, node-postgres, JDBC, Django.
The driver would refuse one that it does not know only when it connects, in words that name no way out.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from urllib.parse import parse_qsl

_WORDS = (
    "application_name channel_binding connect_timeout dbname fallback_application_name gssdelegation gssencmode gsslib",
    "host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts",
    "max_protocol_version min_protocol_version options passfile password port require_auth requirepeer service",
    "sslcert sslcertmode sslcrl sslcrldir sslkey sslmode sslnegotiation sslpassword sslrootcert sslsni",
    "ssl_max_protocol_version ssl_min_protocol_version target_session_attrs tcp_user_timeout user",
)
_OPTIONS = frozenset(word for line in _WORDS for word in line.split())
"""The options of PostgreSQL's library (its documentation, "Parameter Key Words"), without those that we set."""
_SEVERAL = {"host", "port"}
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "sslnegotiation": ("postgres", "direct"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_NUMBERS = ("connect_timeout", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "port")

_NAMED = {
    "set CHECKOUT_DATABASE_SCHEMA instead": "schema currentSchema search_path searchpath",
    "set CHECKOUT_DATABASE_TIMEOUT instead": "pool_timeout socket_timeout socketTimeout statement_timeout lock_timeout "
    "query_timeout command_timeout timeout loginTimeout connectTimeout connectionTimeout connectionTimeoutMillis "
    "connection_timeout",
    "leave it out, poolers are reckoned with": "pgbouncer statement_cache_size prepared_statement_cache_size "
    "prepare_threshold prepareThreshold preferQueryMode pool_mode workaround supa",
    "leave it out, a process opens at most 20 connections": "connection_limit max_connections maxPoolSize poolSize "
    "pool_size max_overflow max min conn_max_age conn_health_checks pool_recycle pool_pre_ping idleTimeoutMillis "
    "idle_timeout single_use_connections",
    "write sslmode=require instead, or sslmode=verify-full": "ssl sslaccept ssl_require sslfactory sslMode usessl "
    "useSSL uselibpqcompat ssl_mode",
    "write sslrootcert= and the path of the CA instead": "sslca ssl_ca sslRootCert",
    "write sslcert= and sslkey= and their paths instead": "sslidentity",
    "write application_name= instead": "ApplicationName applicationName",
    "write target_session_attrs= instead": "targetServerType",
    "leave it out, text is always sent as UTF-8": "client_encoding charset encoding characterEncoding",
    "write keepalives=1 instead": "keepAlive tcpKeepAlive",
    "write options= instead": "server_settings",
}
_INSTEAD = {name: instead for instead, names in _NAMED.items() for name in names.split()}
"""Options of other programs, and what to write in place of each."""
_SHOWABLE = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")


def checked_database_url(raw: str) -> str:
    """The URL unchanged; the ``ValueError`` says what it must be, and never repeats it: it may hold a password."""
    scheme, found, rest = raw.partition("://")
    if not found or scheme.partition("+")[0] not in {"sqlite", "postgresql", "postgres"}:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if scheme.startswith("sqlite"):
        if "?" in rest:
            raise ValueError("must have no options after the file: CHECKOUT_DATABASE_TIMEOUT is the wait for a lock")
        return raw
    if "#" in rest or any(character.isspace() or not character.isprintable() for character in rest):
        raise ValueError("must have no '#' and no spaces; in a password they are written %23 and %20")
    address, _, query = rest.partition("?")
    user, _, place = address.rpartition("@")
    if {"/", "@"} & set(user) or "@" in query:
        raise ValueError("must have '/', '?' and '@' in a user's name or password written as %2F, %3F and %40")
    if "," in place.partition("/")[0]:
        raise ValueError("must name several hosts as options: postgresql:///name?host=one:5432&host=two:5432")
    _check_options(query)
    return raw


def _check_options(query: str) -> None:
    seen = set[str]()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise ValueError(_unknown(name))
        if name in seen and name not in _SEVERAL:
            raise ValueError(f"must have the option {name} once")
        seen.add(name)
        choices = _CHOICES.get(name)
        if choices and value not in choices:
            raise ValueError(f"must have one of these as {name}: {', '.join(choices)}{_rather(name, value)}")
        if name in _NUMBERS and not all(re.fullmatch("[0-9]{1,9}", part) for part in value.split(",")):
            raise ValueError(f"must have a number as {name}")


def _unknown(name: str) -> str:
    if name in _INSTEAD:
        return f"must not have the option {name}: {_INSTEAD[name]}"
    if not _SHOWABLE.fullmatch(name):
        return "must have no other options than those of PostgreSQL's library, such as sslmode"
    similar = get_close_matches(name.lower(), _OPTIONS, n=1, cutoff=0.8)
    suggestion = f"did you mean {similar[0]}?" if similar else "PostgreSQL's library has none of this name"
    return f"must not have the option {name}: {suggestion}"


def _rather(name: str, value: str) -> str:
    return "; no-verify is called require there" if (name, value) == ("sslmode", "no-verify") else ""
