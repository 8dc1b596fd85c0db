"""``checkoutctl doctor``: the checks of each group are in the module of its name."""

from checkout_cli.commands.record import Command, Use


def _asked() -> str:
    from checkout_cli.commands.doctor.check import Need
    from checkout_cli.commands.doctor.run import all_checks

    return " ".join(need for check in all_checks().values() for need in check.needs if not isinstance(need, Need))


RECORD = Command(
    "doctor",
    place=10,
    summary="Examine all that checkouts depend on; say what to fix first.",
    example="checkoutctl doctor --only memory,sessions",
    uses=(Use("", "reader", "ping", _asked),),
)
