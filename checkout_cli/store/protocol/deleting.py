"""When a missing key proves a deletion by an external writer (refinement 10').

A proof is taken before a version is put into Redis, and again after its key was found missing. If both are equal,
nothing was evicted or flushed on that very server, and the key has not expired; no script of ours deletes the key of a
living row, so somebody else did. After CONFIG RESETSTAT the counters prove nothing.
"""

from __future__ import annotations

_GONE = "evicted_keys"
_COMMANDS = ("flushall", "flushdb", "swapdb", "move", "rename", "renamenx", "migrate", "restore")
"""What else takes keys away, or puts others in their place, and is counted by the server."""
_RESET = ("cmdstat_config|resetstat:", "cmdstat_config:")
"""The second is what servers older than Redis 7 count all CONFIG commands as."""


def proof_of(identity: bytes, stats: bytes, commands: bytes) -> str:
    """What INFO's sections ``stats`` and ``commandstats`` prove; empty: nothing."""
    lines = commands.decode(errors="replace").splitlines()
    if any(line.startswith(_RESET) for line in lines):
        return ""
    evicted = [line for line in stats.decode(errors="replace").splitlines() if line.startswith(f"{_GONE}:")]
    if len(evicted) != 1:
        return ""
    calls = dict.fromkeys(_COMMANDS, "0")
    for line in lines:
        name, _, rest = line.partition(":calls=")
        if name.removeprefix("cmdstat_") in calls:
            calls[name.removeprefix("cmdstat_")] = rest.partition(",")[0]
    return " ".join([identity.decode(errors="replace"), evicted[0].partition(":")[2], *calls.values()])


def is_proven(version: int, ends_at: int, noted: str, present: str, now: int) -> bool:
    """Whether the missing key of a version was deleted; ``noted`` at its publication, ``present`` is the proof now.

    ``ends_at`` is the earliest moment (ms) at which its key can have expired.
    """
    return bool(present) and noted == note_of(version, present) and now < ends_at


def note_of(version: int, proof: str) -> str:
    """The note that is kept with a version published under a proof."""
    return f"{version} {proof}"
