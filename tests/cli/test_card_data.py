"""Card data through the installed command: refused, and nowhere to be found afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl


def test_card_data_is_in_no_answer_no_log_no_redis_and_no_database(
    store: CheckoutStore, settings: Settings, checkoutctl: Checkoutctl
) -> None:
    written, digits = "4111 1111-1111 1111", "4111111111111111"
    loud = {"DEBUG": "redis:*"}
    made = checkoutctl("sessions", "create", "--file", "-", input='{"notes": "canary-that-is-kept"}').stdout.strip()
    attempts = [
        checkoutctl("sessions", "create", "--file", "-", *extra, env=loud, input=document)
        for extra in ((), ("--json",))
        for document in (
            json.dumps({"items": [{}, {}, {"notes": f"pay {written}"}]}),
            json.dumps({"payment": {"cardNumber": digits}}),
            json.dumps({digits: 1}),
            json.dumps({"amount": int(digits)}),
            json.dumps({"paymentStatus": digits}),
        )
    ]
    attempts += [
        checkoutctl("sessions", "create", "--file", "-", "--id", given, env=loud, input="{}")
        for given in (digits, written)
    ]
    attempts += [
        checkoutctl("sessions", "update", made, "--set", given, env=loud)
        for given in (
            f"notes={written}",
            f"a.b.c={digits}",
            f"{digits}=1",
            written,
            f"x.{digits}=1",
            f"paymentStatus={digits}",
        )
    ]
    attempts.append(checkoutctl("sessions", "update", written, "--set", "a=1", env=loud))
    for done in attempts:
        assert done.returncode == 2, done
        assert done.stdout == ""
        assert digits not in done.stderr
        assert written not in done.stderr
    assert "items[2].notes" in attempts[0].stderr
    kept = b"".join(store.redis.ask(("DUMP", key)) + key for key in store.redis.ask(("KEYS", "*")))
    database = settings.database_url.removeprefix("sqlite:///")
    files = b"".join(path.read_bytes() for path in Path(database).parent.glob("checkout.db*"))
    assert b"canary-that-is-kept" in files
    for place in (kept, files):
        assert digits.encode() not in place
        assert written.encode() not in place
