"""Help topics on a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from checkout_cli.commands.help.topics import Topic
from checkout_cli.terminal.output import columns_of, is_terminal, narrate, show, write, write_json, write_table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

_LINE = 100
"""Columns of a readable line of prose."""


def show_topics(topics: Sequence[Topic], *, as_json: bool) -> None:
    """The names of the topics, each with its title."""
    if as_json:
        write_json({"topics": [{"topic": each.name, "title": each.title} for each in topics]})
        return
    write_table(columns_of("topic", "about"), [(each.name, each.title) for each in topics])
    narrate("read one: checkoutctl help TOPIC; the options of a command: checkoutctl COMMAND --help")


def show_topic(topic: Topic, *, as_json: bool) -> None:
    """One topic: laid out on a terminal, its Markdown as it is in a pipe."""
    if as_json:
        write_json(topic)
    elif is_terminal(sys.stdout):
        show(_laid_out(topic.text))
    else:
        write(topic.text)


def _laid_out(text: str) -> RenderableType:
    from rich.constrain import Constrain
    from rich.markdown import Markdown, TableElement

    class WholeWords(TableElement):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
            for table in super().__rich_console__(console, options):
                for column in table.columns:  # type: ignore[union-attr]
                    column.overflow = "fold"  # Rich would cut a word that is wider than its column
                yield table  # type: ignore[misc]

    class Page(Markdown):
        elements: ClassVar = {**Markdown.elements, "table_open": WholeWords}

    return Constrain(Page(text, code_theme="ansi_dark"), _LINE)
