"""Memory settings as tables: present and proposed side by side, with their effect on the checkouts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from checkout_cli.commands.memory.advice import Advice
from checkout_cli.commands.memory.limits import Evicts, Limits, as_written
from checkout_cli.commands.memory.outlook import SOME_FILE, Outlook, State, outlook
from checkout_cli.commands.memory.persist import lines_for_file
from checkout_cli.commands.memory.tune import Step, Tuning
from checkout_cli.errors import CommandDenied
from checkout_cli.servers.per_server import MISSING
from checkout_cli.terminal.document import document as document_of
from checkout_cli.terminal.output import (
    by_server,
    columns_of,
    is_terminal,
    narrate,
    show,
    warn,
    warn_if_partial,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.terminal.safe import safe
from checkout_cli.units import size


def show_tuning(tuning: Tuning, *, as_json: bool, dry_run: bool = False) -> None:
    """The present settings, the proposed ones, or the outcome of a change."""
    if as_json:
        write_json(document(tuning, dry_run=dry_run))
    else:
        for step in by_server(tuning.steps):
            _show_step(step, tuning)
    warn_if_partial(tuning.missing)
    if tuning.asked:
        narrate(_conclusion(tuning))
    for step in tuning.steps:
        if step.persisted is not None and not step.persisted.done:
            warn(f"{step.state.place}: lost at the next restart: {step.persisted.reason}")
        elif step.persisted is not None and step.persisted.doubt:
            warn(f"{step.state.place}: {step.persisted.doubt}")


def show_advice(advice: Advice, *, as_json: bool) -> None:
    """The recommendation, its reasons, and the command for it."""
    if as_json:
        write_json(
            {
                "recommended": {"maxBytes": advice.maxmemory, "policy": advice.policy},
                "reasons": list(advice.reasons),
                **document_of(advice.now, MISSING),
                "command": None if any(step.state.no_config for step in advice.now.steps) else advice.command,
                "servers": [_server(step, advice.now) for step in advice.now.steps],
            }
        )
    else:
        limit = "none fits" if advice.maxmemory is None else _limit(advice.maxmemory)
        for step in advice.now.steps:
            if len(advice.now.steps) > 1:
                write_line(safe(step.place))
            today = step.state.limits
            rows = [
                ("maxmemory", _limit(today.maxmemory), limit),
                ("maxmemory-policy", today.policy or "unknown", advice.policy),
            ]
            write_table(columns_of("setting", "now", "recommended"), rows)
        _list(advice.reasons)
        locked = [line for step in advice.now.steps for line in _elsewhere(step.state)]
        _list(list(dict.fromkeys(locked)))
        if not locked:
            write_line(f"next: {advice.command}")
    warn_if_partial(advice.now.missing)


def document(tuning: Tuning, *, dry_run: bool = False) -> dict[str, Any]:
    """The settings as JSON; sizes are in bytes, ``maxBytes`` 0 is no limit."""
    return {
        "servers": [_server(step, tuning) for step in tuning.steps],
        "changed": tuning.agreed and any(not step.changes.is_empty for step in tuning.steps),
        "dryRun": dry_run,
        "undone": tuning.undone and tuning.agreed,
        **document_of(tuning, MISSING),
    }


def _server(step: Step, tuning: Tuning) -> dict[str, Any]:
    return document_of(step, Step.ASKED if tuning.asked else Step.JSON_KEYS)


def _show_step(step: Step, tuning: Tuning) -> None:
    columns = {"now": step.state.limits}
    if tuning.asked:
        columns["proposed"] = step.proposed
    if step.now is not None:
        columns = {"before": step.state.limits, "proposed": step.proposed, "now": step.now}
    names = ("maxmemory", "maxmemory-policy", "maxmemory-samples")
    rows = [[name, *(_setting(limits, name) for limits in columns.values())] for name in names]
    write_table(columns_of("setting", *columns), rows)
    _list(_meaning(step, tuning))


def _list(lines: Sequence[str]) -> None:
    """A bullet for each line; a terminal indents the rest of a long one."""
    if not is_terminal(sys.stdout):
        for line in lines:
            write_line(f"- {safe(line)}")
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row("-", Text(safe(line)))
    show(grid)


def proposal(tuning: Tuning) -> Iterator[str]:
    """The changes on each server, and their effect."""
    for step in tuning.steps:
        today, changes = step.state.limits, step.changes
        for name in changes.settings():
            yield f"{step.state.place}: {name} {_setting(today, name)} -> {_setting(changes, name)}"
        if tuning.persist:
            yield f"{step.state.place}: {_rewrite(step)}"
        yield from (f"  {line}" for line in _meaning(step, tuning))


def _setting(limits: Limits, name: str) -> str:
    return _limit(limits.maxmemory) if name == "maxmemory" else limits.settings().get(name, "unknown")


def _limit(size: int | None) -> str:
    if size is None:
        return "unknown"
    return as_written(size) if size else "0 (no limit)"


def _meaning(step: Step, tuning: Tuning) -> list[str]:
    state, limits = step.state, step.now or step.proposed
    ahead = outlook(state, limits)
    lines = [_fits(state, limits, ahead), _full(limits, ahead)]
    if state.primary is not None:
        lines.append(f"this is a replica: {state.primary} evicts for it, so the settings that count are those there")
    return lines + (_restart(step, tuning) if state.no_config is None else _elsewhere(state))


def _elsewhere(state: State) -> list[str]:
    if state.no_config is None:
        return []
    lines = [f"it cannot be changed from here: {state.no_config_in_words}"]
    if state.provider is not None:
        return [*lines, f"this is {state.provider.name}; {state.elsewhere}"]
    return lines if isinstance(state.no_config, CommandDenied) else [*lines, state.elsewhere]


def _fits(state: State, limits: Limits, ahead: Outlook) -> str:
    if state.counted is None:
        return "how much memory is in use is unknown: needs +info"
    if limits.maxmemory is None:
        return f"{size(state.counted)} are in use; the limit is unknown"
    if not limits.maxmemory:
        return f"{size(state.counted)} are in use, with no limit but the machine's"
    percentage = "unknown" if ahead.share is None else f"{ahead.share:.{0 if ahead.share >= 0.1 else 1}%}"
    share = f"{size(state.counted)} of {size(limits.maxmemory)} are in use ({percentage})"
    if not ahead.excess:
        return f"the data fits: {share}"
    if ahead.evicts is Evicts.NOTHING:
        return f"the data does not fit: {share}; {size(ahead.excess)} too much, so every write is refused"
    sessions = "" if ahead.sessions is None else f", about {ahead.sessions:,} sessions among it"
    return f"the data does not fit: {share}; {size(ahead.excess)} are evicted at once{sessions}"


def _full(limits: Limits, ahead: Outlook) -> str:
    if limits.policy is None:
        return "what it evicts when full is unknown"
    idle = "" if limits.maxmemory else " (without effect while there is no limit)"
    when = f"{limits.policy}{idle}: when full, "
    if ahead.evicts is Evicts.NOTHING:
        return f"{when}nothing is evicted, writes are refused, and new sessions go to the database"
    if ahead.evicts is Evicts.KEYS_WITH_TTL:
        return f"{when}any key with a time to live may be evicted, and all live checkouts have one"
    return f"{when}any key may be evicted: live checkouts, and the index that lists them"


def _restart(step: Step, tuning: Tuning) -> list[str]:
    state, kept, limits = step.state, step.persisted, step.now or step.proposed
    if kept is not None and kept.done and kept.doubt:
        return [f"written to {kept.file}, and read back there", kept.doubt]
    if kept is not None and kept.done and kept.seen:
        return [f"{kept.file} has it, as was read back there: it survives a restart by that file"]
    if kept is not None and kept.done:
        unseen = "the file cannot be seen from here, nor what it includes or a start-up argument overrides"
        return [f"the server says that it wrote {kept.file}; {unseen}"]
    if kept is not None:
        return [f"it does not survive a restart: {kept.reason}", f"into {kept.file} belongs: {'; '.join(kept.lines)}"]
    if not tuning.asked or (step.changes.is_empty and not tuning.persist):
        if state.config_file == "":
            return ["it was started without a configuration file: what was set since is lost at a restart"]
        return [f"its configuration file is {state.config_file}"] if state.config_file else []
    if tuning.persist:
        return [_rewrite(step)]
    if state.config_file:
        return [f"a restart brings back what {state.config_file} has; --persist writes this there"]
    return [f"lost at the next restart, unless {SOME_FILE} has: {'; '.join(lines_for_file(limits))}"]


def _rewrite(step: Step) -> str:
    """What persisting will do."""
    if step.way.obstacle:
        lines = "; ".join(lines_for_file(step.proposed))
        return f"no file is written: {step.way.obstacle}; into {step.way.where} belongs: {lines}"
    return "CONFIG REWRITE writes this, and all else that was changed while it runs, to its file"


def _conclusion(tuning: Tuning) -> str:
    if not tuning.anything_to_do:
        return "nothing to change: it is so already"
    if not tuning.agreed:
        return "nothing was changed (--dry-run)"
    if all(step.changes.is_empty for step in tuning.steps):
        return "no setting was changed" + (", and all are in the server's file now" if tuning.all_persisted else "")
    if tuning.undone:
        return "undone, and read back"
    return "changed, and read back; checkoutctl memory tune --undo takes it back"
