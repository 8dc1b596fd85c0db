"""``checkoutctl help``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from checkout_cli.arguments import options


def help(  # noqa: A001  (the word that is typed)
    typer_context: typer.Context,
    topic: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC]", help="A topic, or the words of a command.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Read about a topic, such as durability, migration or production; without one, list them.

    For the words of a command it prints the help of that command.
    """
    from checkout_cli.commands.help.topics import all_topics, names
    from checkout_cli.commands.help.topics import topic as topic_of
    from checkout_cli.commands.help.view import show_topic, show_topics
    from checkout_cli.terminal.output import write_line

    words = topic or []
    if not words:
        show_topics(all_topics(), as_json=as_json)
        return
    usage = _usage(typer_context, words)
    if usage and (len(words) > 1 or words[0] not in names()):
        write_line(usage)
    else:
        show_topic(topic_of(" ".join(words)), as_json=as_json)


def _usage(typer_context: typer.Context, words: list[str]) -> str:
    """The help of the command of these words; empty where there is none."""
    context: Any = typer_context.find_root()
    for word in words:
        inner = getattr(context.command, "commands", {})
        if word not in inner:
            return ""
        command = inner[word]
        context = type(context)(command, info_name=word, parent=context)
    return str(context.get_help())
