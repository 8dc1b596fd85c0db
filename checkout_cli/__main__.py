"""``python -m checkout_cli`` is ``checkoutctl``: where both begin, before anything slow is imported."""

from __future__ import annotations

import gc
import sys

from checkout_cli.cli.ending import INTERRUPTED, end_when_told, no_more_signals


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly also while it is still being imported, or has finished already."""
    try:
        try:
            end_when_told()
            from checkout_cli.cli.main import main as run

            run()
        finally:
            no_more_signals()
            gc.disable()  # else the interpreter collects once more at its exit
    except KeyboardInterrupt:  # of the run, or of somebody impatient on the way out
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
