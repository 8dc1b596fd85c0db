"""What a server says of itself without what is another at each run, so that all that follows from it is the same too.

This is done to the server's replies and not to the output: a table is as wide as its widest cell, and a share is one of
two sizes. Only values are replaced; a field that a server lacks stays away.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any

FIELDS = {
    # which server it is, where and of which version
    "(redis|valkey)_version": "9.1.0",
    "(redis|valkey)_git_sha1": "00000000",
    "(redis|valkey)_build_id": "0123456789abcdef",
    "os": "Linux 6.1.0 x86_64",
    "executable": "/usr/bin/valkey-server",
    "gcc_version": "12.2.0",
    "monotonic_clock": "X86 TSC @ 2400 ticks/us",
    "server_time_usec": "1772445695000000",
    # memory
    "used_memory": "1054016",
    "used_memory_human": "1.01M",
    "used_memory_rss": "8261632",
    "used_memory_rss_human": "7.88M",
    "used_memory_peak": "2140048",
    "used_memory_peak_human": "2.04M",
    "used_memory_peak_perc": "49.25%",
    "used_memory_overhead": "1000040",
    "used_memory_startup": "998936",
    "used_memory_dataset": "53976",
    "used_memory_dataset_perc": "98.00%",
    "used_memory_lua|used_memory_vm_eval": "35840",  # Lua collects its garbage when it likes
    "used_memory_lua_human": "35.00K",
    "used_memory_vm_total": "71680",
    "used_memory_vm_total_human": "70.00K",
    "engines_total_used_memory": "71680",
    "total_system_memory": "25276000000",
    "total_system_memory_human": "23.54G",
    "allocator_allocated": "1644704",
    "allocator_(active|resident)": "8192000",
    "allocator_(frag_ratio|rss_ratio|frag_bytes|rss_bytes|muzzy)|rss_overhead_(ratio|bytes)": "0",
    "mem_fragmentation_ratio": "5.02",
    "mem_fragmentation_bytes": "6616928",
    "mem_clients_normal|mem_overhead_db_hashtable_rehashing|databases_.*rehashing.*": "0",
    # how busy it was just now, and for how long
    "rdb_changes_since_last_save": "500",
    "instantaneous_.*": "0",
    "total_net_(in|out)put_bytes": "20000",
    "total_(active_defrag|eviction_exceeded)_time": "0",
    "expired_stale_perc": "0.00",
    "eventloop_.*|io_threads.*_time.*": "100",
    "used_cpu_.*|used_active_time_.*": "0.050000",
    "lazyfreed_objects": "0",
    "client_recent_max_.*|reply_buffer_.*": "0",
    "lru_clock": "10837920",
}
"""Fields of INFO, as regular expressions, and the value that each has here."""

_FIELD = [(re.compile(rf"^({name}):(?!$).*?(?=\r?$)", re.MULTILINE), value) for name, value in FIELDS.items()]
_CALLS = re.compile(r"^cmdstat_(.*?):calls=(\d+),usec=\d+,usec_per_call=[\d.]+", re.MULTILINE)
_PERCENTILES = re.compile(r"(?<=[:,])p([\d.]+)=[\d.]+")


def commands_in(packed: bytes) -> Iterator[list[bytes]]:
    """The commands in what is sent to a server, each as its words."""
    at = 0

    def number() -> int:
        nonlocal at
        end = packed.index(b"\r\n", at)
        line, at = packed[at + 1 : end], end + 2
        return int(line)

    while at < len(packed):
        words = []
        for _ in range(number()):
            size = number()
            words.append(packed[at : at + size])
            at += size + 2
        yield words


def steady(command: list[bytes], reply: Any, name: str) -> Any:
    """What the server of this name has said to a command."""
    asked = b" ".join(command[:2]).upper()
    if asked.startswith(b"INFO") and isinstance(reply, bytes):
        return _info(reply.decode(errors="surrogateescape"), name).encode(errors="surrogateescape")
    if asked == b"TIME":
        return [reply[0], b"0"]
    if asked in {b"SLOWLOG GET", b"LATENCY LATEST", b"LATENCY HISTORY"} and isinstance(reply, list):
        return []  # what a busy machine has made slow
    if asked == b"LATENCY DOCTOR" and isinstance(reply, bytes):
        return b"Dave, no latency spike was observed."
    if asked == b"LATENCY HISTOGRAM" and isinstance(reply, list):
        return [[*part[:2], b"histogram_usec", [16, part[1]]] if isinstance(part, list) else part for part in reply]
    if asked == b"MEMORY USAGE" and isinstance(reply, int):
        return 64 + 16 * (zlib.crc32(command[2]) % 30)  # the allocator's own rounding is not always the same
    return reply


def _info(text: str, name: str) -> str:
    for field, value in _FIELD:
        text = field.sub(lambda found, value=value: f"{found[1]}:{value}", text)
    for field, size in (("run_id", 20), ("master_replid", 20)):
        fixed = (f"{zlib.crc32((name + field).encode()):08x}" * 5)[: 2 * size]
        text = re.sub(rf"^{field}:\w+", f"{field}:{fixed}", text, flags=re.MULTILINE)
    text = re.sub(r"^process_id:\d+", f"process_id:{process_id(name)}", text, flags=re.MULTILINE)
    text = re.sub(r"^(engine_\d+:.*used_memory=)\d+", r"\g<1>71680", text, flags=re.MULTILINE)
    text = _CALLS.sub(_took, text)
    return re.sub(
        r"^latency_percentiles_usec_.*$",
        lambda line: _PERCENTILES.sub(lambda found: f"p{found[1]}=10.000", line[0]),
        text,
        flags=re.MULTILINE,
    )


def process_id(name: str) -> int:
    """The number that the process of a server has here."""
    return 4000 + zlib.crc32(name.encode()) % 1000


def _took(found: re.Match[str]) -> str:
    """A millisecond a call, and a little more, which differs: lists are in order of it."""
    calls = int(found[2])
    took = 1000 * calls + zlib.crc32(found[1].encode()) % 1000
    return f"cmdstat_{found[1]}:calls={calls},usec={took},usec_per_call={took / max(calls, 1):.2f}"
