"""The user's crontab: our block in it, everything else as it is."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from checkout_cli.commands.cron.jobs import BEGIN, END
from checkout_cli.errors import CheckoutError, ExitCode
from checkout_cli.files.atomic_file import state_directory, write_atomically

NOT_INSTALLED = "not installed"
_TIMEOUT = 20.0
_FOREIGN = re.compile(
    r"^#.*\b(?:managed by|ansible managed|puppet|chef|do not edit(?! this file - edit the master))", re.I | re.M
)
"""How crontabs begin that another tool writes; the last is not what some versions of crontab itself write."""


class CrontabUnavailable(CheckoutError):
    """There is no crontab to edit."""

    exit_code = ExitCode.UNAVAILABLE
    default_hint = "checkoutctl cron print --format systemd"


@dataclass(frozen=True)
class Change:
    """A crontab before and after; ``block`` are our lines before, ``None`` where there are none."""

    JSON_KEYS = "diff"

    before: str
    after: str
    block: str | None

    @property
    def diff(self) -> str:
        """The change as ``diff -u`` shows it; empty where there is none."""
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), "crontab", "crontab, new")
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def read() -> str:
    """The user's crontab, or nothing; raises ``CrontabUnavailable`` where crontab is missing or refuses this user."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    if "no crontab for" in done.stderr.lower():
        return ""
    raise CrontabUnavailable(f"crontab -l: {_first_line(done.stderr) or f'exit code {done.returncode}'}")


def changed(before: str, wanted: str | None, *, force: bool = False) -> Change:
    """Put our block there, or in its old place, or with ``None`` take it out.

    Raises ``CheckoutError`` where our marks are not a pair, or another tool writes this crontab (unless ``force``).
    """
    lines = _lines(before)
    begins = [number for number, line in enumerate(lines) if line.strip() == BEGIN]
    ends = [number for number, line in enumerate(lines) if line.strip() == END]
    if len(begins) != len(ends) or len(begins) > 1 or (begins and begins[0] > ends[0]):
        raise CheckoutError(f"the marks {BEGIN!r} and {END!r} are no pair", hint="crontab -e")
    old = "".join(lines[begins[0] : ends[0] + 1]) if begins else None
    others = "".join(lines[: begins[0]] + lines[ends[0] + 1 :]) if begins else before
    found = _FOREIGN.search(others)
    if found and not force:
        raise CheckoutError(
            f"another tool writes this crontab: {found[0].strip()[:60]!r}",
            hint="give it what checkoutctl cron print says, or checkoutctl cron install --force",
        )
    if wanted is None:
        after = others
    elif begins:
        after = "".join([*lines[: begins[0]], wanted, *lines[ends[0] + 1 :]])
    else:
        after = before + ("" if not before or before.endswith("\n") else "\n") + wanted
    return Change(before, after, old)


def installed(wanted: str) -> str:
    """The state of our block in the user's crontab, in words; ``NOT_INSTALLED`` where there is none."""
    try:
        ours = changed(read(), None, force=True).block
    except CrontabUnavailable as error:
        return str(error)
    if ours is None:
        return NOT_INSTALLED
    return "installed" if ours == wanted else "installed, and edited or for another directory"


def write(change: Change) -> Path | None:
    """Install it, unless it changed meanwhile; returns the copy of the one before (mode 0600), if there was one."""
    if read() != change.before:
        raise CheckoutError("the crontab was changed meanwhile; nothing was written", hint="checkoutctl cron install")
    kept = None
    if change.before:
        name = f"{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() // 1000 % 1_000_000:06}"
        try:
            kept = state_directory() / "crontabs" / name
            write_atomically(kept, _bytes(change.before))
        except OSError as error:
            where = "" if kept is None else f" at {kept}"
            raise CheckoutError(
                f"the old crontab cannot be kept{where}, so nothing was written: {error.strerror}",
                hint="set XDG_STATE_HOME to a directory that you can write to",
            ) from error
    done = _crontab("-", given=change.after)
    if done.returncode:
        raise CheckoutError(f"crontab refuses: {_first_line(done.stderr)}", hint="checkoutctl cron print")
    return kept


def _lines(text: str) -> list[str]:
    """Lines as cron has them: what else ends one elsewhere (CR, form feed) is part of somebody's command."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _bytes(text: str) -> bytes:
    """As they were read, also where they were no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _crontab(argument: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("crontab")
    if program is None:
        raise CrontabUnavailable("there is no program crontab on this machine")
    try:
        done = subprocess.run(
            [program, argument],
            input=None if given is None else _bytes(given),
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CrontabUnavailable(f"crontab {argument}: {type(error).__name__}") from error
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
