"""What a TAB costs in each shell, without what the shell itself needs to draw.

``python -m tests.benchmarks.bench_completion``. Each shell asks its own function many times in one process, from which
a process that only loads the file is taken away.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from tests.benchmarks.harness import Result, show

COMPLETIONS = Path(__file__).parent.parent.parent / "completions"
TIMES = 200
BAR = 0.010
"""Seconds."""
LINES = ("checkoutctl clea", "checkoutctl sessions list --status p", "checkoutctl doctor --explain evictio")

_BASH = """
source "$1"; shift
function=$(complete -p checkoutctl); function=${function#*-F }; function=${function%% *}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
for ((n = 0; n < TIMES; n++)); do "$function" checkoutctl "${COMP_WORDS[COMP_CWORD]}" x; done
"""
_ZSH = """
compdef() { }; _describe() { }; compadd() { }; _files() { }
source "$1"; shift
words=("$@") CURRENT=$#
for ((n = 0; n < TIMES; n++)); do _checkoutctl; done
true
"""
_FISH = "source {file}; for n in (seq TIMES); complete -C '{line}' >/dev/null; end"


def command(shell: str, line: str, times: int) -> list[str]:
    """A process that completes a line so many times."""
    words = line.split(" ")
    if shell == "fish":
        script = _FISH.format(file=COMPLETIONS / "checkoutctl.fish", line=line)
        return [shell, "--no-config", "-c", script.replace("TIMES", str(times))]
    script, file, options = {
        "bash": (_BASH, "checkoutctl.bash", ["--norc", "--noprofile"]),
        "zsh": (_ZSH, "_checkoutctl", ["-f"]),
    }[shell]
    return [shell, *options, "-c", script.replace("TIMES", str(times)), shell, str(COMPLETIONS / file), *words]


def seconds(shell: str, line: str, times: int) -> float:
    """How long that process takes."""
    started = time.perf_counter()
    subprocess.run(command(shell, line, times), check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Each shell with the slowest of some lines, and once to load the file."""
    results = []
    for shell in ("bash", "zsh", "fish"):
        if shutil.which(shell) is None:
            print(f"{shell} is not installed")
            continue
        each = max((seconds(shell, line, TIMES) - seconds(shell, line, 0)) / TIMES for line in LINES)
        results.append(Result(f"{shell}: one TAB / 10 ms", each, BAR, 1.0))
    show("completion: the slowest of three lines, a mean of 200 each", results)


if __name__ == "__main__":
    main()
