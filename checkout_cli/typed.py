"""Commands that are printed to be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

# fmt: off
PROGRAMS = frozenset((
    "checkoutctl", "cd", "redis-cli", "valkey-cli", "redis-server", "valkey-server", "redis-sentinel", "kill",
    "systemctl", "service", "rc-service", "rc-update", "ps", "ssh", "brew", "sudo", "apt-get", "dnf", "yum",
    "pacman", "apk", "choco", "pip", "createdb", "psql", "sqlite3", "openssl", "getent", "nc", "ip", "ss", "lsof",
    "netstat", "findstr", "docker", "ls", "df", "du", "free", "find", "fuser", "chmod", "chown", "cat", "tail",
    "grep", "tr", "xargs", "echo", "tee", "sysctl", "timedatectl", "date", "crontab", "export", "unset",
    "sleep", "true",
))
# fmt: on
"""The programs, and words of the shell, that we ask anybody to type."""
_BETWEEN = re.compile(r"[;&|]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_PROSE = re.compile(r"[A-Z][A-Z-]*|.*(?:…|[A-Za-z][,:])|[A-Z]+:[A-Z]+")
"""A placeholder to replace, or a word of a sentence; Redis' own commands are in capitals too."""
_OF_REDIS = frozenset({"redis-cli", "valkey-cli"})
_WRITING = (" config set ", " config unset ")
_OURS = re.compile(r"(?P<before>(?:^|[;&|]\s*)(?:[A-Z_]+=\S+ )*)checkoutctl(?= )")


def typed(template: str, *data: object) -> str:
    """The command with the data in place of each ``{}``, quoted for a shell; empty where they cannot be typed.

    A word of data that begins with a dash goes behind ``--``, unless an option wants it, which gets it behind ``=``.
    """
    words = [str(datum) for datum in data]
    if not all(word.isprintable() for word in words):  # a control character, or bytes that are no text
        return ""
    rest = iter(words)

    def quoted(found: re.Match[str]) -> str:
        word, option = next(rest), found[1] or ""
        is_part = found.start() > 0 and not template[found.start() - 1].isspace()  # such as a variable's value
        if not word.startswith("-") or is_part:
            return option + shlex.quote(word)
        return f"{option.rstrip()}={shlex.quote(word)}" if option else f"-- {shlex.quote(word)}"

    return re.sub(r"((?<!\S)--[a-z-]+ )?\{\}", quoted, template)


def is_typeable(text: str) -> bool:
    """Whether all of a text can be typed as it is: commands of known programs, and no word of a sentence."""
    try:
        commands = list(_commands(text))
    except ValueError:  # a quote that is never closed
        return False
    return bool(commands) and all(map(_is_command, commands))


def _commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a line, without the assignments before them and the redirections."""
    parser = shlex.shlex(text, posix=True, punctuation_chars=";&|<>")
    parser.whitespace_split = True
    parser.commenters = ""
    command: list[str] = []
    for word in parser:
        if _BETWEEN.fullmatch(word):
            yield command
            command = []
        elif command or not _ASSIGNMENT.fullmatch(word):
            command.append(word)
    yield command


def _is_command(words: list[str]) -> bool:
    if not words or words[0].rpartition("/")[2] not in PROGRAMS:
        return False
    return words[0] in _OF_REDIS or not any(map(_PROSE.fullmatch, words[1:]))


def with_options(command: str, directory: str, servers: str) -> str:
    """A command line in which every checkoutctl has these global options; settings are written for no server's sake."""

    def with_them(found: re.Match[str]) -> str:
        writes = command.startswith(_WRITING, found.end())
        wanted = (directory, "" if writes else servers)
        # a command may be the very line that was typed, with them
        options = " ".join(each for each in wanted if each and f" {each} " not in command)
        return f"{found['before']}checkoutctl {options}".rstrip()

    return _OURS.sub(with_them, command)
