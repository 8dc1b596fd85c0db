from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.commands.incident.diff import compare
from checkout_cli.commands.incident.incident import Incident, default_path, gather, keep, versions
from checkout_cli.commands.incident.view import content
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, InvalidInput
from checkout_cli.files.last_look import LastLook
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import ValkeyServer

PARTS = {"health", "doctor", "info", "memory", "slowLog", "latency"}


def gathered(settings: Settings, place: Path) -> Incident:
    return gather(lambda: settings, directory=place, last_look=LastLook(place / "state"))


def test_every_part_is_there(store: CheckoutStore, tmp_path: Path) -> None:
    store.create({})
    incident = gathered(store.settings, tmp_path)
    assert set(incident.parts) == PARTS
    assert {name for name, part in incident.parts.items() if part.problem is not None} == set()
    document = json.loads(content(incident))
    assert document["kind"] == "checkoutctl incident"
    assert document["health"]["status"] == "healthy"
    assert document["versions"]["checkoutctl"]
    assert len(document["configuration"]) > 20


def test_nothing_of_a_shopper_or_a_secret_is_in_it(
    valkey_server: Callable[..., ValkeyServer], store: CheckoutStore, tmp_path: Path
) -> None:
    server = valkey_server("--requirepass", "canary-password", "--slowlog-log-slower-than", "0")
    settings = replace(store.settings, redis_port=server.port, redis_password="canary-password")
    with CheckoutStore.open(settings) as mine:
        checkout_id = "4645c59d-c428-4017-af90-canary432787"
        mine.create({"userEmail": "canary@shop.example", "userId": "canary-user-12345"}, checkout_id=checkout_id)
        mine.redis.ask(("SET", "canary@shop.example", "x"))
    text = content(gathered(settings, tmp_path)).decode()
    assert "checkout:session:4645c59d" in text
    assert "canary" not in text


def test_with_redis_away_the_rest_is_there_and_says_why(settings: Settings, tmp_path: Path) -> None:
    away = replace(settings, redis_port=1)
    incident = gathered(away, tmp_path)
    assert {name for name, part in incident.parts.items() if part.problem is not None} == PARTS - {"health", "doctor"}
    document = json.loads(content(incident))
    assert document["health"]["status"] == "unhealthy"
    assert "refused" in document["info"]["error"]


def test_with_a_wrong_configuration_there_is_still_a_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_PORT=0\n")

    def load() -> Settings:
        raise ConfigurationError("REDIS_PORT is 0")

    document = json.loads(content(gather(load, directory=tmp_path, last_look=LastLook(tmp_path / "state"))))
    assert document["health"]["environment"]["configured"] is False
    assert next(item for item in document["configuration"] if item["variable"] == "REDIS_PORT")["problem"]
    assert document["info"]["error"]


def test_what_happened_between_two_files_is_told(store: CheckoutStore, tmp_path: Path) -> None:
    keep(tmp_path / "a.json", content(gathered(store.settings, tmp_path)))
    store.redis.ask(("CONFIG", "SET", "maxmemory", "104857600"))
    try:
        keep(tmp_path / "b.json", content(gathered(store.settings, tmp_path)))
    finally:
        store.redis.ask(("CONFIG", "SET", "maxmemory", "0"))
    changes = {
        (change.part, change.path): change for change in compare(tmp_path / "a.json", tmp_path / "b.json").changes
    }
    assert changes["doctor", "checks[memory-limit].status"].after == "ok"
    limit = next(change for (part, path), change in changes.items() if path.endswith("memory.maxmemory"))
    assert (limit.before, limit.after) == (0, 104857600)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("the one before")
    (tmp_path / "x.json").chmod(0o644)
    keep(tmp_path / "x.json", b"{}")
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == 0o600
    assert (tmp_path / "x.json").read_bytes() == b"{}"
    with pytest.raises(InvalidInput):
        keep(tmp_path / "x.json" / "y.json", b"{}")


def test_the_default_name_says_when() -> None:
    assert default_path(1_763_900_000_000) == Path("incident-20251123T121320Z.json")


def test_versions_are_those_that_run() -> None:
    import redis

    assert versions()["redis"] == redis.__version__
