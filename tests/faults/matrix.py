"""The rows of the fault matrix, in order; a test names its row with ``@pytest.mark.fault("…")``."""

from __future__ import annotations

ROWS = (
    "kill -9, old snapshot",
    "lost reply",
    "slow",
    "late write",
    "asymmetric partition",
    "OOM",
    "eviction",
    "READONLY",
    "failover",
    "slot move",
    "cluster node dead",
    "database locked",
    "database killed mid-commit",
    "database or both down",
    "crash after commit",
    "corrupt, WRONGTYPE",
    "AOF damage",
    "NOREPLICAS, BUSY, MISCONF, maxclients, LOADING",
    "wrong password, ACL",
    "clock skew",
    "disk full",
    "1 stalled writer or filler",
    "2 snapshot restart, unchanged session",
    "3 SIGSTOP, publish times out",
    "4 Redis cut for one process",
    "5 database cut for one process",
    "6 newer publish refused during drain",
    "7 foreign SET",
    "8 Sentinel",
    "9 counters",
    "10 crash at every step",
    "11 negative controls",
)

NOT_HERE = {
    "slot move": "the store does not support Cluster yet",
    "cluster node dead": "the store does not support Cluster yet",
}
