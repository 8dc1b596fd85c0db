"""Every command of an operator on every kind of server, as a table: exit code and seconds of each.

``python -m tests.benchmarks.run_every_server``
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.support.every_server import COMMANDS, run
from tests.support.odd_servers import ODD_SERVERS, odd_server


def main() -> None:
    """Print the table, a line for each command."""
    cells: dict[str, dict[str, str]] = {command: {} for command in COMMANDS}
    for name in ODD_SERVERS:
        with tempfile.TemporaryDirectory() as place, odd_server(name, Path(place)) as odd:
            for command, arguments in COMMANDS.items():
                outcome = run(odd, arguments, Path(place))
                cells[command][name] = f"{outcome.code} {outcome.seconds:.1f}"
    width = max(map(len, COMMANDS))
    for name_number, name in enumerate(ODD_SERVERS):
        print(f"{name_number + 1:>3}: {name}")
    print(" " * width, *(f"{number + 1:>6}" for number in range(len(ODD_SERVERS))))
    for command, row in cells.items():
        print(command.ljust(width), *(row[name].rjust(6) for name in ODD_SERVERS))


if __name__ == "__main__":
    main()
