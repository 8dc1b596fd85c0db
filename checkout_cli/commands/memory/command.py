"""``checkoutctl memory``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, audit, bounded, current
from checkout_cli.arguments.options import Finite

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
    output: options.Output = None,
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

    shape = options.shape_of(output, as_json=as_json)
    quiet = shape != "table"
    with current().redis(timeout) as redis, bounded("Measuring keys", max_seconds, quiet=quiet) as run:
        report = look_at_families(redis, run, sample=sample, cursor=cursor, max_load=max_load, biggest=biggest)
    if reveal:
        audit("memory families", f"{len(report.biggest)} keys")
    show_families(report, shape, reveal=reveal)
    return report


@app.command()
def tune(
    maxmemory: Annotated[
        str | None, typer.Option("--maxmemory", metavar="SIZE", help="The limit, such as 256mb or 2gb; 0 is none.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="POLICY", help="What is evicted when full, such as noeviction.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, max=64, help="Keys looked at to find one to evict (Redis: 5).")
    ] = None,
    advise: Annotated[bool, typer.Option("--advise", help="Recommend a limit and a policy from the data.")] = False,
    persist: Annotated[bool, typer.Option("--persist", help="Write it to the server's file (CONFIG REWRITE).")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Return to what it was before the last change.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if the data does not fit, or others changed it since.")
    ] = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report | None:
    """Show Redis' memory limit and eviction policy and what they mean, and change them once you agree.

    What was set is read back, and can be undone. A limit under what is in use needs --force. In a cluster, all
    primaries get the same. Where --persist would not last, or could keep the server from starting, as with included
    files, it names the lines to write and where. Exit code 1: refused without --force, or changed and not persisted. 3:
    nothing to undo. 4: CONFIG is denied. 69: Redis is away, or has no CONFIG (managed services): it says where the
    setting lives.
    """
    from checkout_cli.commands.memory import tune as operations
    from checkout_cli.commands.memory.advice import advise as recommend
    from checkout_cli.commands.memory.limits import limits_wanted
    from checkout_cli.commands.memory.tune_view import proposal, show_advice, show_tuning
    from checkout_cli.terminal.prompt import confirm

    wanted = limits_wanted(maxmemory, policy, samples)
    operations.checked(wanted, advise=advise, undo=undo, persist=persist)
    with current().store(timeout) as store:
        if advise:
            show_advice(recommend(store), as_json=as_json)
            return None
        done = operations.run(
            store,
            wanted,
            agreed=lambda it: confirm(() if dry_run or yes else proposal(it), "Change it?", yes=yes, dry_run=dry_run),
            persist=persist,
            force=force,
            undo=undo,
        )
    show_tuning(done, as_json=as_json, dry_run=dry_run)
    return done
