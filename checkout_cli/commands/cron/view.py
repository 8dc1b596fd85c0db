"""How cron's jobs look: systemd's units, and when each job ran."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from checkout_cli.commands.cron.runs import CronStatus, JobStatus, Outcome
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import columns_of, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe
from checkout_cli.units import span


def show_units(units: Mapping[str, str]) -> None:
    """Each file after its name, and the commands that enable them."""
    for name, text in units.items():
        write_line(f"# ~/.config/systemd/user/{name}")
        write_line(text)
    write_line("# systemctl --user daemon-reload")
    timers = " ".join(name for name in units if name.endswith(".timer"))
    write_line(f"# systemctl --user enable --now {timers}")


def show_status(status: CronStatus, *, as_json: bool) -> None:
    """The state of the crontab, and when each job ran."""
    if as_json:
        write_json(status)
        return
    write_line(f"crontab: {status.installed}")
    columns = columns_of("job", "every", "last run", "#took", "exit", "")
    write_table(columns, [_row(each, status.now) for each in status.jobs])


def show_outcome(job: str, outcome: Outcome, *, as_json: bool) -> None:
    """The output of a job that is trouble, as it came, for cron to mail."""
    if as_json:
        write_json({"job": job, **document(outcome)})
    elif outcome.trouble:
        sys.stderr.write(outcome.said or f"checkoutctl {job} ended with {outcome.exit_code}\n")


def _row(each: JobStatus, now: float) -> list[str]:
    every = f"{each.job.every} min"
    if each.last is None:
        return [each.job.name, every, "never", "", "", "overdue" if each.overdue else "not due yet"]
    ago = f"{span(max(now * 1000 - each.last.finished_at, 0))} ago"
    late = ": ".join(word for word in ("overdue" if each.overdue else "", safe(each.reason or "")) if word)
    return [each.job.name, every, ago, f"{each.last.seconds:.1f} s", str(each.last.exit_code), late]
