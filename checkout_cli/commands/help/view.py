"""Help topics on a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from checkout_cli.commands.help.topics import Topic
from checkout_cli.terminal.output import columns_of, is_terminal, narrate, show, write, write_json, write_table

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
        from rich.console import Group
        from rich.constrain import Constrain
        from rich.markdown import Markdown

        show(Constrain(Group(Markdown(topic.text, code_theme="ansi_dark", inline_code_theme="ansi_dark")), _LINE))
    else:
        write(topic.text)
