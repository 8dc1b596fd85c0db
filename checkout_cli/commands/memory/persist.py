"""Writing a server's settings to its configuration file, where a restart by that file is sure to work and to have them.

CONFIG REWRITE writes the file that the server was started with, and no file that this one includes. It also writes a
line for each ACL user, unless they have a file of their own: a user that an included file or a start-up argument
defines is then defined twice, and the server refuses to start. So it is not sent where that can be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from checkout_cli.commands.memory.limits import MAXMEMORY, POLICY, SAMPLES, Limits, size_in_bytes
from checkout_cli.commands.memory.outlook import SOME_FILE, State
from checkout_cli.config.trusted_file import read_regular
from checkout_cli.errors import CommandDenied, CommandUnknown, InvalidInput, RedisUnavailable
from checkout_cli.servers.inspection import Inspector
from checkout_cli.servers.machine import Machine

LARGEST_FILE = 1 << 20
_PLAIN_DEFAULT = re.compile(
    r"user default on (?:nopass|(?:sanitize-payload )?#[0-9a-f]{64})(?: sanitize-payload| ~\*| &\*| \+@all)*"
)
"""The default user as it is without a line of its own, or with the password of requirepass."""
_DEFAULTS = {MAXMEMORY: "0", POLICY: "noeviction"}


@dataclass(frozen=True)
class Persisted:
    """Whether the settings were written to the server's file; if not, the ``reason``, and the lines that belong there.

    ``file`` is where these belong: a path on the server's machine, or words. ``seen`` is whether they were read back in
    the file, ``doubt`` why a restart may bring back something else all the same.
    """

    done: bool
    file: str
    reason: str
    lines: tuple[str, ...]
    seen: bool = False
    doubt: str = ""


@dataclass(frozen=True)
class ConfigFile:
    """A server's configuration file, as it can be read on this machine."""

    path: Path
    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, path: Path) -> ConfigFile | None:
        """The file; ``None`` where it cannot be read."""
        try:
            text = read_regular(path, LARGEST_FILE)[0].decode("utf-8", "replace")
        except (OSError, ValueError):
            return None
        lines = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
        return cls(path, tuple(tuple(word.strip("\"'") for word in line) for line in lines if line))

    def values(self, name: str) -> list[str]:
        """The first word behind a name, for each of its lines."""
        return [line[1] for line in self.words if len(line) > 1 and line[0].lower() == name]

    @property
    def limits(self) -> Limits:
        """The limit and the policy that a server gets by this file alone."""
        found = {name: self.values(name)[-1:] or [default] for name, default in _DEFAULTS.items()}
        try:
            maxmemory = size_in_bytes(found[MAXMEMORY][0])
        except InvalidInput:
            return Limits()
        return Limits(maxmemory, found[POLICY][0].lower())

    def ends_with(self, limits: Limits) -> bool:
        """Whether these stand below its last include line, where no included file overrides them."""
        includes = [number for number, line in enumerate(self.words) if line[0].lower() == "include"]
        rest = ConfigFile(self.path, self.words[includes[-1] + 1 :] if includes else self.words)
        return all(map(rest.values, _DEFAULTS)) and _same(rest.limits, limits)


@dataclass(frozen=True)
class Rewriting:
    """The file, if it can be seen; why CONFIG REWRITE is not sent, and ``where`` the lines belong then."""

    file: ConfigFile | None = None
    obstacle: str = ""
    where: str = SOME_FILE


def rewriting(state: State, machine: Machine) -> Rewriting:
    """How the settings of a server can be made to survive a restart."""
    if not state.config_file:
        unknown = "the server does not tell its configuration file"
        return Rewriting(obstacle=unknown if state.config_file is None else _NO_FILE)
    path = state.config_file
    file = ConfigFile.of(Path(path)) if _runs_here(state, machine) else None
    if file is not None and (included := file.values("include")):
        reason = f"{path} includes {', '.join(included)}, which CONFIG REWRITE does not write"
        return Rewriting(file, reason, f"{path}, below its last include line")
    return Rewriting(file, _twice_defined(state) if file is None else "", path)


_NO_FILE = "the server was started without a configuration file"


def _runs_here(state: State, machine: Machine) -> bool:
    """Whether the server is provably a process of this machine, so that its path is one of ours."""
    pid, port = state.info.integer("process_id"), state.info.integer("tcp_port")
    process = machine.process(pid) if pid and port and machine.is_here(state.server.host) else None
    return process is not None and process.is_server and port in machine.ports_of([process])


def _twice_defined(state: State) -> str:
    """Why a line for a user could be a second one, in a file that cannot be seen; empty where it surely is not."""
    try:
        if state.server.config("aclfile").get("aclfile"):
            return ""  # no lines for users are written then
        rules = Inspector(state.server).user_rules()
    except CommandUnknown:
        return ""  # a server without users
    except CommandDenied as refusal:
        return f"the file cannot be seen from here, nor whether it defines users: needs {refusal.grant}"
    odd = [rule.split()[1] for rule in rules if not _PLAIN_DEFAULT.fullmatch(rule)]
    if not odd:
        return ""
    return (
        f"the file cannot be seen from here: if it includes another one that defines the user {odd[0]}, CONFIG REWRITE "
        "would define it twice, and the server not start"
    )


def persist(state: State, after: Limits, way: Rewriting, *, is_our_change: bool) -> Persisted:
    """Send CONFIG REWRITE where that is safe, and read the file back where it can be seen.

    ``is_our_change`` is whether the settings before this change were known to be set at run time.
    """
    lines, reason = lines_for_file(after), way.obstacle
    before = None if way.file is None else way.file.limits
    if reason and way.file is not None and way.file.ends_with(after):
        return Persisted(True, str(way.file.path), "", lines, seen=True)  # somebody has written them there by hand
    if not reason:
        try:
            state.server.rewrite_config()
        except CommandDenied as refusal:
            reason = f"this user may not write it: needs {refusal.grant}"
        except CommandUnknown:
            reason = "this server has no CONFIG REWRITE"
        except RedisUnavailable as refusal:
            reason = str(refusal).removeprefix(f"Redis at {state.place}: ")
    if reason or way.file is None or before is None:
        return Persisted(not reason, way.where, reason, lines)
    now = ConfigFile.of(way.file.path)
    if now is None or not _same(now.limits, after):
        return Persisted(False, way.where, f"{way.file.path} does not have it after CONFIG REWRITE", lines)
    doubt = ""
    if not is_our_change and not _same(before, state.limits):
        arguments = " ".join(f"--{line}" for line in lines)
        doubt = (
            f"before, the server did not have what its file said: if start-up arguments set it, make them {arguments}"
        )
    return Persisted(True, way.where, "", lines, seen=True, doubt=doubt)


def _same(one: Limits, other: Limits) -> bool:
    return (one.maxmemory, one.policy) == (other.maxmemory, other.policy)


def lines_for_file(limits: Limits) -> tuple[str, ...]:
    """The lines of a configuration file for these limits."""
    return tuple(f"{name} {value}" for name, value in limits.settings().items() if name != SAMPLES)
