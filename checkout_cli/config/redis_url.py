"""``REDIS_URL``, and how it combines with the settings for its parts.

``redis://[user[:password]@]host[:port][/database]``, the same with ``rediss://`` for TLS, and
``unix://[user[:password]@]/path[?db=database]`` for a Unix socket. Host, port and TLS are always the URL's; user,
password and database where it has them. Of a part that is also set by itself, the stronger origin wins; two values of
the same origin that differ are a contradiction.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from checkout_cli.config.addresses import checked_host, checked_number

if TYPE_CHECKING:
    from checkout_cli.config.variables import Resolved

USUAL_PORT = 6379
LARGEST_DATABASE = 1_000_000
_LONGEST_SOCKET = 107
"""Bytes that the path of a Unix socket can have (Linux, unix(7); macOS allows 103)."""
_TLS_OPTIONS = {
    "ssl_ca_certs": "REDIS_TLS_CA_FILE",
    "ssl_ca_path": "REDIS_TLS_CA_FILE",
    "ssl_certfile": "REDIS_TLS_CERT_FILE",
    "ssl_keyfile": "REDIS_TLS_KEY_FILE",
    "ssl_password": "REDIS_TLS_KEY_PASSWORD",
}
"""Options of a URL in other programs, and the setting for each here."""


def checked_url(raw: str) -> str:
    """The URL unchanged; the ``ValueError`` never repeats it, for it may hold a password."""
    if raw:
        parts_of(raw)
    return raw


def parts_of(url: str) -> dict[str, Any]:
    """The parts of a URL by field of the settings; the ``ValueError`` says what it must be."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in {"redis", "rediss", "unix"}:
        raise ValueError("must begin with redis://, rediss:// or unix://")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("must have no spaces; what is special in a password is written as %20 and the like")
    if "#" in rest:
        raise ValueError("must have no '#'; in a password it is written %23")
    rest, _, query = rest.partition("?")
    credentials, at, place = rest.rpartition("@")
    if "/" in credentials or "@" in credentials:
        raise ValueError("must have '/' and '@' in a user's name or password written as %2F and %40")
    parts = _credentials(credentials) if at else {}
    parts |= _socket(place) if scheme.lower() == "unix" else _server(place, tls=scheme.lower() == "rediss")
    return parts | _options(query, parts)


def _credentials(text: str) -> dict[str, Any]:
    user, _, password = text.partition(":")
    parts = {"redis_username": _decoded(user), "redis_password": _decoded(password)}
    return {name: value for name, value in parts.items() if value}


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("must have its %-signs followed by the digits of UTF-8 characters") from None


def _socket(path: str) -> dict[str, Any]:
    if not path.startswith("/"):
        raise ValueError("must name an absolute path, as unix:///run/redis/redis.sock")
    return {"redis_socket": checked_socket(_decoded(path)), "redis_tls": False}


def _server(place: str, *, tls: bool) -> dict[str, Any]:
    address, _, database = place.partition("/")
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or ":" not in host:
            raise ValueError("must have an IPv6 address in brackets, as redis://[::1]:6379")
        port = port[1:]
    else:
        host, _, port = address.partition(":")
        if ":" in port:
            raise ValueError("must have an IPv6 address in brackets, as redis://[::1]:6379")
    if not host:
        raise ValueError("must name a host, as redis://localhost:6379/0")
    parts = {
        "redis_host": checked_host(_decoded(host)),
        "redis_port": _number("port", port, 1, 65535) if port else USUAL_PORT,
        "redis_socket": "",
        "redis_tls": tls,
    }
    if database.strip("/"):
        parts["redis_db"] = _number("database", database.rstrip("/"), 0, LARGEST_DATABASE)
    return parts


def _options(query: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The database; nothing that would switch off a check is accepted."""
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "db":
            options["redis_db"] = _number("database", value, 0, LARGEST_DATABASE)
        elif name in _TLS_OPTIONS:
            raise ValueError(f"must not have the option {name}: set {_TLS_OPTIONS[name]} instead")
        elif name in {"ssl_cert_reqs", "ssl_check_hostname"}:
            raise ValueError(f"must not have the option {name}: certificates and host names are always verified")
        else:
            raise ValueError("must have no other option than db; each other setting has a variable of its own")
    if "redis_db" in options and parts.get("redis_db", options["redis_db"]) != options["redis_db"]:
        raise ValueError("must name one database, not two")
    return options


def _number(what: str, text: str, low: int, high: int) -> int:
    try:
        return checked_number(text, low, high)
    except ValueError as error:
        raise ValueError(f"must have a {what} that is {str(error).removeprefix('must be ')}") from None


def checked_socket(raw: str) -> str:
    """The path of a Unix socket; the ``ValueError`` says what it must be."""
    if raw and not hasattr(socket, "AF_UNIX"):  # Windows
        raise ValueError("must be empty: this system has no Unix sockets")
    if raw and (not raw.startswith("/") or not raw.isprintable()):
        raise ValueError("must be an absolute path, as /run/redis/redis.sock")
    if len(raw.encode()) > _LONGEST_SOCKET:
        raise ValueError(f"must be at most {_LONGEST_SOCKET} bytes long, as the path of any Unix socket")
    return raw


def combined(found: Mapping[str, Resolved]) -> dict[str, Resolved]:
    """All settings with the parts of ``REDIS_URL``; a socket only where no host has a stronger origin."""
    merged = dict(found)
    if found["redis_url"].value and not found["redis_url"].problem:
        _merge_url(merged, found["redis_url"])
    _choose_socket(merged)
    return merged


def _merge_url(merged: dict[str, Resolved], url: Resolved) -> None:
    clashes: list[str] = []
    parts = parts_of(url.value)
    if "redis_password" in parts and merged["redis_password_file"].is_stronger_than(url):
        del parts["redis_password"]
    for name, value in parts.items():
        own = merged[name]
        if own.is_stronger_than(url):
            continue
        same = own.origin is url.origin
        if same and not own.problem and own.value != value:
            clashes.append(own.variable.name)
        problem = own.problem if same else None  # what is not in force is not looked at
        merged[name] = replace(own, value=value, origin=url.origin, via=url.variable.name, problem=problem)
    if clashes:
        names = " and ".join(clashes)
        problem = f"REDIS_URL (from {url.origin}) contradicts {names} from the same place: remove one or the other"
        merged["redis_url"] = replace(url, problem=problem)


def _choose_socket(merged: dict[str, Resolved]) -> None:
    """A socket and a host are two places: the stronger origin wins, and equal ones contradict each other."""
    chosen = merged["redis_socket"]
    if not chosen.value:
        return
    for name in ("redis_host", "redis_port"):
        own = merged[name]
        if own.is_stronger_than(chosen):
            merged["redis_socket"] = replace(chosen, value="", origin=own.origin, via=own.via or own.variable.name)
            return
        if own.is_set and own.origin is chosen.origin and own.value != own.variable.default():
            where = chosen.via or chosen.variable.name
            problem = f"{where} names a Unix socket, and {own.variable.name} (from {own.origin}) another place"
            merged["redis_socket"] = replace(chosen, problem=f"{problem}: remove one or the other")
            return
