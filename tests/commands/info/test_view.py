from __future__ import annotations

import json
from typing import Any

import pytest

from checkout_cli.commands.info.info import Change, InfoDiff, ServerInfo
from checkout_cli.commands.info.view import is_bytes, show_diff, show_info
from checkout_cli.servers.per_server import PerServer
from checkout_cli.terminal.document import document

REPORT = PerServer(
    1_763_900_000_000,
    (
        ServerInfo(
            "shop:6379",
            {
                "memory": {"used_memory": "2097152", "used_memory_human": "2.00M", "maxmemory_policy": "noeviction"},
                "keyspace": {"db0": "keys=3,expires=2,avg_ttl=100"},
                "server": {"run_id": "00123", "odd": "\x1b]0;x\x07", "ratio": "1.50", "negative": "-1"},
            },
        ),
    ),
)


def test_fields_are_told_with_their_meaning_and_bytes_with_their_size(capsys: pytest.CaptureFixture[str]) -> None:
    show_info(REPORT, as_json=False)
    out = capsys.readouterr().out
    assert "used_memory       2,097,152 (2.0 MiB)  what its data and buffers take" in out
    assert "used_memory_human" not in out
    assert "\x1b" not in out


def test_json_has_numbers_as_numbers_and_fields_of_fields_as_objects() -> None:
    (server,) = document(REPORT)["servers"]
    assert server["sections"]["memory"] == {
        "used_memory": 2097152,
        "used_memory_human": "2.00M",
        "maxmemory_policy": "noeviction",
    }
    assert server["sections"]["keyspace"]["db0"] == {"keys": 3, "expires": 2, "avg_ttl": 100}
    assert server["sections"]["server"]["run_id"] == "00123"  # no number begins so
    assert server["sections"]["server"]["ratio"] == 1.5
    assert server["sections"]["server"]["negative"] == -1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("used_memory_rss", True),
        ("maxmemory", True),
        ("rss_overhead_bytes", True),
        ("mem_fragmentation_ratio", False),
        ("maxmemory_policy", False),
        ("mem_allocator", False),
        ("evicted_keys", False),
    ],
)
def test_what_counts_bytes_is_known_by_its_name(name: str, expected: bool) -> None:
    assert is_bytes(name) is expected


def test_a_difference_has_its_rate(capsys: pytest.CaptureFixture[str]) -> None:
    changes = (
        Change("a:1", "stats", "evicted_keys", "10", "30", 10.0),
        Change("a:1", "memory", "maxmemory_policy", "noeviction", "allkeys-lru", 10.0),
    )
    show_diff(InfoDiff(10.0, changes), as_json=True)
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [(item["field"], item["perSecond"]) for item in shown["changes"]] == [
        ("evicted_keys", 2.0),
        ("maxmemory_policy", None),
    ]
    show_diff(InfoDiff(10.0, changes), as_json=False)
    told = capsys.readouterr()
    assert "evicted_keys" in told.out
    assert "+20" in told.out
    assert told.err == "2 fields have changed in 10.0 s\n"
