"""``checkoutctl memory``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, audit, bounded, current
from checkout_cli.arguments.options import Finite
from checkout_cli.commands.memory.tune_command import tune

app = typer.Typer(
    help="See what takes Redis' memory, and what happens when it is full.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def show(as_json: options.Json = False, timeout: options.Timeout = options.TIMEOUT) -> Report:
    """Show how full Redis is, how fast it fills, and which checkouts its policy would evict first.

    Growth, and the minutes until it is full, are since the last time that this command looked. What is evicted first is
    judged from about 1,000 keys, without counting as a use of them where the server allows that (CLIENT NO-TOUCH).
    """
    from checkout_cli.commands.memory.show import look_at_memory
    from checkout_cli.commands.memory.view import show_memory

    with current().redis(timeout) as redis:
        report = look_at_memory(redis)
    show_memory(report, as_json=as_json)
    return report


@app.command()
def families(
    sample: Annotated[
        int | None,
        typer.Option(min=1000, metavar="KEYS", help="Estimate from so many keys, and say how far off that is."),
    ] = None,
    cursor: options.Cursor = "0",
    max_load: Annotated[
        float,
        typer.Option(
            metavar="PERCENT",
            click_type=Finite(0, 100, min_open=True),
            help="Keep Redis busy for no more than so much of the time.",
        ),
    ] = 100.0,
    max_seconds: options.Rest = None,
    biggest: Annotated[int, typer.Option(min=0, max=1000, help="How many of the biggest keys to show.")] = 5,
    reveal: options.Reveal = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Show which families of keys take how much memory, for how long they live, and the biggest keys.

    Every key is looked at with SCAN, MEMORY USAGE and PTTL, which disturb nothing; aggregates are as MEMORY USAGE
    estimates them, and a key may count twice while Redis resizes its table. Ctrl-C shows what was counted until then
    (exit code 130) and where to go on. --sample takes a second, however many keys there are.
    """
    from checkout_cli.commands.memory.groups import look_at_families
    from checkout_cli.commands.memory.groups_view import show_families

    context = current()
    with context.redis(timeout) as redis, bounded("Measuring keys", max_seconds, quiet=as_json) as run:
        report = look_at_families(redis, run, sample=sample, cursor=cursor, max_load=max_load, biggest=biggest)
    if reveal:
        audit("memory families", f"{len(report.biggest)} keys")
    show_families(report, as_json=as_json, reveal=reveal)
    return report


app.command("tune")(tune)
