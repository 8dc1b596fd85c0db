from __future__ import annotations

import json

import pytest

from checkout_cli.commands.help.topics import names
from tests.support.command import Checkoutctl

REQUIRED = {
    "cron",
    "durability",
    "exit-codes",
    "external-writers",
    "http",
    "memory",
    "migration",
    "privacy",
    "production",
    "settings",
    "troubleshooting",
}


def test_the_topics_of_the_design_exist() -> None:
    assert set(names()) >= REQUIRED


@pytest.mark.parametrize("topic", names())
def test_in_a_pipe_a_topic_is_its_markdown_without_marks(checkoutctl: Checkoutctl, topic: str) -> None:
    done = checkoutctl("help", topic)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# ")
    assert "<!--" not in done.stdout
    assert "\x1b" not in done.stdout


def test_without_a_topic_it_lists_them(checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("help")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == names()


def test_an_unknown_topic_names_the_nearest_one(checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("help", "durabilty")
    assert (done.returncode, done.stdout) == (2, "")
    assert "next: checkoutctl help durability" in done.stderr


@pytest.mark.parametrize("word", ["qqq", "../settings", "settings.md", "", "\x1b[31m"])
def test_no_other_word_reads_a_file(checkoutctl: Checkoutctl, word: str) -> None:
    done = checkoutctl("help", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert "\x1b" not in done.stderr


def test_the_words_of_a_command_print_its_help(checkoutctl: Checkoutctl) -> None:
    assert checkoutctl("help", "sessions", "list").stdout == checkoutctl("sessions", "list", "--help").stdout
    assert checkoutctl("help", "ping").stdout == checkoutctl("ping", "--help").stdout


def test_as_json_a_topic_is_one_document(checkoutctl: Checkoutctl) -> None:
    found = json.loads(checkoutctl("help", "cron", "--json").stdout)
    assert found["topic"] == "cron"
    assert found["markdown"].startswith(f"# {found['title']}\n")
    assert [each["topic"] for each in json.loads(checkoutctl("help", "--json").stdout)["topics"]] == names()
