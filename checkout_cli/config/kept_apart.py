"""A secret never goes to a host that a weaker origin names: no directory's file sends the shell's password away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from checkout_cli.config.variables import Origin

if TYPE_CHECKING:
    from checkout_cli.config.variables import Resolved

_REDIS = ("redis_password", "redis_password_file", "redis_tls_key_password")
_SENTINELS = ("redis_sentinel_password", "redis_sentinel_password_file")
_POSTGRES = ("PGPASSWORD", "PGPASSFILE")
"""The driver's own variables, which serve a ``DATABASE_URL`` without a password."""
_POSTGRES_HOST = r"(?s)\Apostgres[^:]*://(?:[^@]*@)?(?![/?]|\Z)|[?&](?:host|hostaddr|service)="
_POSTGRES_PASSWORD = r"(?s)://[^:/@]*:[^@]+@|[?&](?:password|passfile)="  # noqa: S105  (a pattern)


def kept_apart(found: Mapping[str, Resolved], environment: Mapping[str, str]) -> dict[str, Resolved]:
    """All settings, with a problem where a secret's origin is stronger than that of the host it would go to."""
    merged = dict(found)
    for host, secrets in _hosts(found):
        for name in secrets:
            secret = found[name]
            unused = name.endswith("_file") and found[name.removesuffix("_file")].value
            if secret.value and not unused and _is_weaker(found[host], secret.origin):
                merged[host] = _problem(found[host], secret.via or secret.variable.name, secret.origin)
    url = found["database_url"]
    names_host = re.search(_POSTGRES_HOST, str(url.value)) and not re.search(_POSTGRES_PASSWORD, str(url.value))
    if names_host and _is_weaker(url, Origin.ENVIRONMENT):
        for name in filter(environment.get, _POSTGRES):
            merged["database_url"] = _problem(url, name, Origin.ENVIRONMENT)
    return merged


def _hosts(found: Mapping[str, Resolved]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each setting that is in force and names hosts, with the secrets that these get."""
    if found["redis_sentinels"].value:
        yield "redis_sentinels", _REDIS + _SENTINELS
    elif found["redis_socket"].value:
        yield "redis_socket", _REDIS
    else:
        yield "redis_host", _REDIS
        yield "redis_cluster_nodes", _REDIS if found["redis_mode"].value == "cluster" else ()


def _is_weaker(host: Resolved, origin: Origin) -> bool:
    """Whether a weaker origin names another host than the default; a file that the environment names is as strong."""
    as_strong = {Origin.ENV_FILE: Origin.ENVIRONMENT}
    strength = list(Origin)
    its, ours = (strength.index(as_strong.get(each, each)) for each in (host.origin, origin))
    return its > ours and host.is_set and host.value != host.variable.default()


def _problem(host: Resolved, secret: str, origin: Origin) -> Resolved:
    name = host.via or host.variable.name
    place = f"the host of {name}" if host.variable.sealed else f"{host.value!s:.64} of {name}"
    problem = f"{secret} (from {origin}) would go to {place} (from {host.origin}): set both in one place"
    return replace(host, problem=problem)
