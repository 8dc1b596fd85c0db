"""As much of ``redis-cli`` as our answers ask anybody to type, where none is installed."""

from __future__ import annotations

import argparse
import sys

import redis


def main() -> int:
    """Run one command and print its reply."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-h", dest="host", default="127.0.0.1")
    parser.add_argument("-p", dest="port", type=int, default=6379)
    parser.add_argument("-n", dest="db", type=int, default=0)
    parser.add_argument("-s", dest="unix_socket_path")
    parser.add_argument("--askpass", action="store_true")
    known, words = parser.parse_known_args()
    given = {name: value for name, value in vars(known).items() if name != "askpass"}
    password = input("Please input password: ") if known.askpass else None
    with redis.Redis(**given, password=password or None, protocol=2) as client:
        sys.stdout.write(f"{client.execute_command(*words)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
