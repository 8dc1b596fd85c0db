"""The three roles and the least ACL rule of each, computed from what their commands need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from checkout_cli.commands.acl.needs import IN_CLUSTER, LIBRARY, SINCE, Access, Entry, Need, Needs, table
from checkout_cli.commands.record import records
from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput

PASSWORD = "PASSWORD"  # noqa: S105  (what stands for one)
"""What stands for the password in a rule."""
NEWEST, OLDER, OLDEST = (7, 2), (7, 0), (6, 2)
"""The versions of Redis whose rules differ; every Valkey is like the newest."""
_CLUSTER = frozenset(map(Need, ("cluster|slots", "cluster|myshardid", "cluster|info", "asking")))
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


class RoleName(StrEnum):
    """Whom a user is for."""

    READER = "reader"
    OPERATOR = "operator"
    APPLICATION = "application"


@dataclass(frozen=True)
class Role:
    """Commands that belong together; ``withheld`` are commands of Redis that they do without, and why."""

    JSON_KEYS = "role=name purpose commands withheld=not_granted"

    name: RoleName
    purpose: str
    entries: Mapping[str, Entry]
    withheld: Mapping[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> list[str]:
        """The names of its entries."""
        return list(self.entries)

    @property
    def withheld_by_reason(self) -> dict[str, str]:
        """The withheld commands as parts of a rule, those of one reason together, by the reason."""
        reasons = dict.fromkeys(self.withheld.values())
        return {
            reason: " ".join(f"+{command}" for command, its in self.withheld.items() if its == reason)
            for reason in reasons
        }

    @property
    def not_granted(self) -> dict[str, str]:
        """The withheld commands as parts of a rule."""
        return {f"+{command}": reason for command, reason in self.withheld.items()}

    def granted(self, settings: Settings) -> dict[str, Entry]:
        """The part of each entry that the role grants, with these settings."""

        def granted(needs: Needs) -> Needs:
            return frozenset(need for need in needs if need.command not in self.withheld)

        entries = {name: for_settings(entry, settings) for name, entry in self.entries.items()}
        return {name: Entry(granted(entry.needs), granted(entry.helps)) for name, entry in entries.items()}

    def needs(self, settings: Settings) -> Needs:
        """All that its user is granted."""
        return frozenset(need for entry in self.granted(settings).values() for need in entry.everything)


_PASSWORDS = "shows the server's own passwords (requirepass, masterauth)"
_HASHES = "shows the password hashes of all users"
_SECRETS = {"acl|list": _HASHES, "config|get": _PASSWORDS}
"""What no role is granted, because it shows secrets by which its user could become an administrator."""
_ONLY_LOOKS = "writes; doctor leaves its trial of a write out"
_OF_THE_SHOP = (*("evalsha", "getex", "hincrby", "pexpire", "script|load", "srandmember", "srem", "zadd", "zrem"),)
_THE_SHOPS = "the shop's; health and doctor do not find out what its user may do"

COMMANDS = table(records())
"""What each command needs, by what is typed after ``checkoutctl``, of all records."""
_USES = {name: use for record in records() for name, use in record.by_name().items()}
NO_ROLE = {name: use.no_role for name, use in _USES.items() if use.no_role}
"""Commands that no role has, and why."""

ROLES = {
    role.name: role
    for role in (
        Role(
            RoleName.READER,
            "looks, and changes nothing: dashboards, monitoring, the curious",
            {name: COMMANDS[name] for name, use in _USES.items() if use.role == RoleName.READER},
            {**_SECRETS, **dict.fromkeys(("set", "del"), _ONLY_LOOKS), **dict.fromkeys(_OF_THE_SHOP, _THE_SHOPS)},
        ),
        Role(
            RoleName.OPERATOR,
            "the engineer on call, and cron: looks, cleans up, hands over, changes sessions and caches",
            {name: COMMANDS[name] for name, use in _USES.items() if use.role},
            _SECRETS,
        ),
        Role(RoleName.APPLICATION, "the shop itself, through the library", dict(LIBRARY)),
    )
}


def for_settings(entry: Entry, settings: Settings) -> Entry:
    """An entry in a cluster, behind Sentinels, or for another database."""
    if not entry.everything:
        return entry
    if settings.is_cluster:
        needs = entry.needs | entry.fenced | _CLUSTER
        return Entry(needs, entry.helps - needs)
    needs = entry.needs | entry.fenced if settings.redis_sentinels else entry.needs
    if settings.redis_db:
        needs |= {Need("select")}
    needs, helps = (frozenset(need for need in some if need.command not in IN_CLUSTER) for some in (needs, entry.helps))
    return Entry(needs, helps - needs)


# Rules


@dataclass(frozen=True)
class Rule:
    """The least rule of a role for a user of a name; ``version`` is the oldest Redis that it is for."""

    JSON_KEYS = "*role user setuser=command aclFile=line olderServers"

    role: Role
    user: str
    needs: Needs

    def command(self, version: tuple[int, int] = NEWEST) -> str:
        """The line for ``redis-cli``. A user who exists keeps none of the passwords and grants he had (``reset``)."""
        return f"ACL SETUSER {self.user} reset {self.text(version)}"

    def line(self, version: tuple[int, int] = NEWEST) -> str:
        """The line for the server's ``users.acl`` or ``redis.conf``."""
        return f"user {self.user} {self.text(version)}"

    @property
    def older_servers(self) -> dict[str, dict[str, str]]:
        """Both lines for servers that are older than the newest, by their versions."""
        versions = {"7.0": OLDER, "6.2": OLDEST}
        return {name: {"setuser": self.command(at), "aclFile": self.line(at)} for name, at in versions.items()}

    def text(self, version: tuple[int, int] = NEWEST) -> str:
        """The rule of a new user, without its beginning."""
        return " ".join(("on", f">{PASSWORD}", "resetchannels", *grants(self.needs, version)))


def rule_of(role: RoleName, settings: Settings, user: str | None = None) -> Rule:
    """A role's least rule for a user, by default ``checkout-ROLE``; raises ``InvalidInput`` for an impossible name."""
    name = f"checkout-{role}" if user is None else user
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"not a name for a user: {name[:64]!r}", hint="1 to 64 letters, digits and - _ . @")
    return Rule(ROLES[role], name, ROLES[role].needs(settings))


def grants(needs: Iterable[Need], version: tuple[int, int] = NEWEST) -> list[str]:
    """Needs as parts of a rule: key patterns, then commands. Before 7.0, patterns do not tell reading from writing."""
    known = [need for need in needs if SINCE.get(need.command, version) <= version]
    accesses: dict[str, Access] = {}
    for need in known:
        if need.keys:
            accesses[need.keys] = accesses.get(need.keys, Access.NONE) | need.access
    signs = {Access.BOTH: "~", Access.WRITE: "%W~"}
    patterns = [(signs.get(accesses[keys], "%R~") if version >= OLDER else "~") + keys for keys in sorted(accesses)]
    return patterns + [f"+{command}" for command in sorted({need.command for need in known})]
