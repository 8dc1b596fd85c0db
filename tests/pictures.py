"""The pictures beside the help topics: real commands on a real terminal, in colour.

``python -m tests.pictures`` makes all of them anew, as SVG files without any reference to elsewhere.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.readme import HELP
from tests.recording import Shop

WIDTH = 100
FROZEN = "doctor"
"""The one that is run while Redis hangs."""
SCREENS = ("doctor", "top --once", "sessions why {open}", "stats", "demo --fast")
FONTS = re.compile(r"\s*@font-face \{.*?\}\n", re.DOTALL)


def name_of(words: str) -> str:
    """The file of a command's picture: ``sessions-why.svg``."""
    named = [word for word in words.split() if word.isalpha()]
    return f"{'-'.join(named)}.svg"


def picture(words: str, shown: str) -> str:
    """An SVG of a terminal that shows this text, with its escape sequences."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(Text.from_ansi(shown), soft_wrap=True)
    return FONTS.sub("", console.export_svg(title=f"checkoutctl {words}", unique_id=name_of(words)[:-4]))


def main() -> None:
    """Make all of them."""
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(Path(directory))
        try:
            shop.fill()
            shop.somebody_searches()
            for screen in SCREENS:
                words = screen.format(open=shop.open[:8])
                if screen == FROZEN:
                    shop.redis.pause()
                shown = shop.on_screen(words, width=WIDTH, term="xterm-256color", progress=False)
                shop.redis.resume()
                (HELP / name_of(screen)).write_text(picture(words, shown), encoding="utf-8")
        finally:
            shop.redis.kill()


if __name__ == "__main__":
    main()
