"""Hosts and ports as people write them; IPv6 has brackets where a port follows."""

from __future__ import annotations

import ipaddress
import re

_LONGEST_HOST = 253
_LONGEST_LABEL = 63
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


def checked_host(raw: str) -> str:
    """A host's name or address, without brackets; the ``ValueError`` says what it must be."""
    if any(character.isspace() or not character.isprintable() or character in "/@[]" for character in raw):
        raise ValueError("must be a host name or an address, without a scheme or a path")
    if raw.count(":") == 1:  # an IPv6 address has more
        raise ValueError("must be a host name or an address; the port has a setting of its own")
    if ":" in raw and ip_address(raw) is None:
        raise ValueError("must be a host name or an address, and is no IPv6 address")
    if len(raw) > _LONGEST_HOST or any(len(label) > _LONGEST_LABEL for label in raw.split(".")):
        raise ValueError("is longer than a host name can be")
    try:
        raw.encode("idna")  # as the resolver does, which refuses an empty part such as that of "a..b"
    except UnicodeError:
        raise ValueError("must be a host name or an address, and has an empty or an impossible part") from None
    return raw


def checked_number(raw: str, low: int, high: int) -> int:
    """A whole number within limits; the ``ValueError`` says what it must be."""
    if not _WHOLE_NUMBER.fullmatch(raw) or not low <= int(raw) <= high:
        raise ValueError(f"must be a whole number from {low} to {high}")
    return int(raw)


def split_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[host]:port``; the ``ValueError`` says what it must be."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host.strip("[]"):
        raise ValueError("must be addresses such as 10.0.0.1:6379,[fd00::1]:6379")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must be addresses such as 10.0.0.1:6379,[fd00::1]:6379: IPv6 stands in brackets")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return checked_host(bare), checked_number(port, 1, 65535)


def address_text(host: str, port: int) -> str:
    """``host:port`` that can be typed again: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def checked_hosts(raw: str) -> str:
    """Names, addresses and networks, separated by commas.

    Raises:
        ValueError: one of them is none; the text says what they must be.
    """
    for part in filter(None, map(str.strip, raw.split(","))):
        if "/" not in part:
            checked_host(part)
            continue
        try:
            ipaddress.ip_network(part)
        except ValueError:
            raise ValueError("must be hosts and networks such as redis-1.internal,10.0.0.0/8") from None
    return raw


def names_host(hosts: str, host: str) -> bool:
    """Whether a list that :func:`checked_hosts` accepts names a host, by itself or by its network."""
    parts = [part.lower() for part in map(str.strip, hosts.split(",")) if part]
    if host.lower() in parts:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(part) for part in parts if "/" in part or _is_address(part))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    found = ip_address(host)
    return host.lower() == "localhost" or (found is not None and found.is_loopback)


def ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text is, if it is one."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
