"""Commands that mend what the settings or a server have wrong, with the address filled in, to be typed as they are."""

from __future__ import annotations

import re
import shlex

from checkout_cli.config.addresses import split_address
from checkout_cli.config.settings import Settings
from checkout_cli.typed import typed

REDIS_CLI = "redis-cli "
_PASSWORD = re.compile(r"(?<=//)([^:/?#]*):.*@")
_BARE = re.compile(r"\bredis-cli (?!-[hs] )")


def setting(**values: object) -> str:
    """The command that writes settings; empty where a value cannot be typed."""
    return typed(" ".join(["checkoutctl config set", *(f"{name}={{}}" for name in values)]), *values.values())


def to_the_primary(settings: Settings, host: str, port: int) -> str:
    """The command that follows a replica's word for its primary, if the settings allow us to go there."""
    if not settings.allows(host) or not 0 < port < 65_536 or "?" in host:
        return "set REDIS_HOST and REDIS_PORT to the primary"
    return setting(REDIS_HOST=host, REDIS_PORT=port)


def with_address(fix: str, settings: Settings, place: str = "") -> str:
    """A fix in which every redis-cli goes to our server, or to the one at ``place`` (host:port)."""
    options = _options(settings, place)
    return _BARE.sub(lambda _: " ".join(("redis-cli", options, "")), fix)


def redis_cli(settings: Settings, *words: str, place: str = "") -> str:
    """A command of Redis for an administrator, who is asked for the password where there is one."""
    return with_address(f"{REDIS_CLI}{shlex.join(words)}", settings, place)


def psql(settings: Settings, *statements: str) -> str:
    """Statements for the database's administrator, who is asked for the password where there is one."""
    url = _PASSWORD.sub(r"\1@", re.sub(r"\Apostgres(ql)?(\+\w+)?:", "postgresql:", settings.database_url))
    return typed("psql {}" + " -c {}" * len(statements), url, *statements)


def _options(settings: Settings, place: str) -> str:
    options = []
    if settings.redis_socket:
        options += ["-s", settings.redis_socket]
    else:
        host, port = split_address(place) if place else (settings.redis_host, settings.redis_port)
        options += ["-h", host, "-p", str(port)]
    options += ["-c"] if settings.is_cluster else []
    options += ["-n", str(settings.redis_db)] if settings.redis_db else []
    if settings.redis_tls:
        files = {"--cacert": settings.redis_tls_ca_file, "--cert": settings.redis_tls_cert_file}
        files["--key"] = settings.redis_tls_key_file
        options += ["--tls", *(word for name, file in files.items() if file for word in (name, file))]
    if settings.redis_username or settings.redis_password or settings.redis_password_file:
        options.append("--askpass")  # as the default user, who may do what ours may not
    return shlex.join(options)
