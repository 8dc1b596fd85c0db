"""``checkoutctl memory tune``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current


def tune(
    maxmemory: Annotated[
        str | None, typer.Option("--maxmemory", metavar="SIZE", help="The limit, such as 256mb or 2gb; 0 is none.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="POLICY", help="What is evicted when full, such as noeviction.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, max=64, help="Keys looked at to find one to evict (Redis: 5).")
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
    primaries get the same. Exit code 1: refused without --force, or changed and not persisted. 3: nothing to undo. 4:
    CONFIG is denied. 69: Redis is away, or has no CONFIG (managed services): it says where the setting lives.
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
