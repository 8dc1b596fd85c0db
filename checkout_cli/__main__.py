"""``python -m checkout_cli`` is ``checkoutctl``: where both begin, before anything slow is imported."""

from __future__ import annotations

import gc
import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly also while it is still being imported, or has finished already."""
    try:
        from checkout_cli.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.disable()  # else the interpreter collects once more at its exit


if __name__ == "__main__":
    main()
