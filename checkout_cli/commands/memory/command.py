"""``checkoutctl memory``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments.context import (
    DEFAULT_TIMEOUT,
    JsonOption,
    Report,
    RevealOption,
    TimeoutOption,
    audit,
    context_of,
)
from checkout_cli.commands.memory.tune_command import tune

app = typer.Typer(
    help="See what takes Redis' memory, and what happens when it is full.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def show(typer_context: typer.Context, as_json: JsonOption = False, timeout: TimeoutOption = DEFAULT_TIMEOUT) -> Report:
    """Show how full Redis is, how fast it fills, and which checkouts its policy would evict first.

    Growth, and the minutes until it is full, are since the last time that this command looked. What is evicted first is
    judged from about 1,000 keys, without counting as a use of them where the server allows that (CLIENT NO-TOUCH).
    """
    from checkout_cli.commands.memory.show import look_at_memory
    from checkout_cli.commands.memory.view import show_memory

    with context_of(typer_context).redis(timeout) as redis:
        report = look_at_memory(redis)
    show_memory(report, as_json=as_json)
    return report


@app.command()
def families(
    typer_context: typer.Context,
    sample: Annotated[
        int | None,
        typer.Option(min=1000, metavar="KEYS", help="Estimate from so many keys, and say how far off that is."),
    ] = None,
    cursor: Annotated[str, typer.Option(help="Go on where another run stopped; it says where.")] = "0",
    max_load: Annotated[
        float, typer.Option(metavar="PERCENT", help="Keep Redis busy for no more than so much of the time.")
    ] = 100.0,
    max_seconds: Annotated[
        float | None, typer.Option(help="Stop after this long; --cursor goes on with the rest.")
    ] = None,
    biggest: Annotated[int, typer.Option(min=0, max=1000, help="How many of the biggest keys to show.")] = 5,
    reveal: RevealOption = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> Report:
    """Show which families of keys take how much memory, for how long they live, and the biggest keys.

    Every key is looked at with SCAN, MEMORY USAGE and PTTL, which disturb nothing; aggregates are as MEMORY USAGE
    estimates them, and a key may count twice while Redis resizes its table. Ctrl-C shows what was counted until then
    (exit code 130) and where to go on. --sample takes a second, however many keys there are.
    """
    from checkout_cli.commands.memory.groups import look_at_families
    from checkout_cli.commands.memory.groups_view import show_families
    from checkout_cli.jobs.priority import give_way
    from checkout_cli.terminal.progress import progress

    give_way()
    with context_of(typer_context).redis(timeout) as redis, progress("Measuring keys", quiet=as_json) as advance:
        report = look_at_families(
            redis,
            sample=sample,
            cursor=cursor,
            max_load=max_load,
            max_seconds=max_seconds,
            biggest=biggest,
            progress=advance,
        )
    if reveal:
        audit("memory families", f"{len(report.biggest)} keys")
    show_families(report, as_json=as_json, reveal=reveal)
    return report


app.command("tune")(tune)
