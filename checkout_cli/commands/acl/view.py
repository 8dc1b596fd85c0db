"""How roles, their rules and what a user may do look."""

from __future__ import annotations

from checkout_cli.commands.acl.check import Capabilities, Source, State
from checkout_cli.commands.acl.roles import NO_ROLE, PASSWORD, ROLES, Role, Rule
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import columns_of, narrate, warn, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe

_ROLES = columns_of("role", "whom it is for", "may run")
_LOOKS = (" --check", " --dry-run", " --advise")
_CHECKED = columns_of("command", "state", "not granted")
_OLDER = {
    "7.0": "Redis 7.0, which lacks some commands",
    "6.2": "Redis 6.2, whose key patterns do not tell reading from writing",
}


def show_roles(*, as_json: bool) -> None:
    """All roles and their commands, and the commands of none."""
    if as_json:
        write_json({"roles": [document(role) for role in ROLES.values()], "inNoRole": NO_ROLE})
        return
    write_table(_ROLES, [(role.name, role.purpose, _may(role)) for role in ROLES.values()])
    for name, reason in NO_ROLE.items():
        narrate(f"{name} is in no role: {reason}")
    narrate("next: checkoutctl acl operator")


def _may(role: Role) -> str:
    """The commands of a role, in words; those of a smaller role are not repeated."""
    names = _names(role)
    for other in ROLES.values():
        if set(other.entries) < set(role.entries):
            more = [name for name in names if name not in _names(other)]
            return f"all that {other.name} may, and {', '.join(more)}"
    return ", ".join(names)


def _names(role: Role) -> list[str]:
    """A role's commands; one that may write may also be asked to look only."""
    return [name for name in role.entries if not (name.endswith(_LOOKS) and name.partition(" --")[0] in role.entries)]


def show_rule(rule: Rule, *, as_json: bool) -> None:
    """The rule as lines that can be typed, the one for this day's servers first."""
    if as_json:
        write_json(rule)
        return
    write_line(rule.command())
    write_line()
    write_line("# in users.acl or redis.conf:")
    write_line(rule.line())
    for name, reason in _OLDER.items():
        write_line()
        write_line(f"# for {reason}:")
        write_line(rule.older_servers[name]["setuser"])
    narrate(f"{rule.role.name}: {rule.role.purpose}")
    for reason, commands in rule.role.withheld_by_reason.items():
        narrate(f"  without {commands}: {reason}")
    narrate(
        f"Put a password of your own in place of {PASSWORD}; type it in redis-cli, where '>' and '*' are just letters."
    )
    narrate("SCAN lists the names of all keys, also of other programs; what is in those stays out of reach.")


def show_check(found: Capabilities, *, as_json: bool) -> None:
    """Every command of the role and what it lacks on stdout; how to mend it last."""
    if as_json:
        write_json(found)
        return
    rows = [
        (one.name, one.state, " ".join(dict.fromkeys((*one.missing, *one.reduced, *one.unknown))))
        for one in found.commands
    ]
    write_table(_CHECKED, rows)
    if found.repair is not None:
        write_line()
        write_line(found.repair)
    _narrate(found)


def _narrate(found: Capabilities) -> None:
    number = sum(one.state is State.WORKS for one in found.commands)
    narrate(f"user {found.user}: {number} of {len(found.commands)} commands of the role {found.role.name} work in full")
    if not found.has_users:
        warn("this server is older than Redis 6: it has no users, and everybody may run everything")
    if found.absent:
        narrate(f"this server has no {', '.join(name.replace('|', ' ').upper() for name in found.absent)}")
    if found.source is Source.TRIAL:
        warn("MULTI is denied: what writes cannot be tried without writing; grant +multi +discard to know")
    for reason, commands in found.role.withheld_by_reason.items():
        narrate(f"not asked for {commands}: {reason}")
    if found.missing:
        warn(f"no answer from {safe(', '.join(found.missing))}: what is granted there is not known")
