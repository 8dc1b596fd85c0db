from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import checkout_cli
from checkout_cli import errors
from checkout_cli.errors import CheckoutError, ExitCode


def family(root: type[CheckoutError]) -> Iterator[type[CheckoutError]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


def every_error() -> list[type[CheckoutError]]:
    """All of them, also those that are defined beside what raises them."""
    for module in pkgutil.walk_packages(checkout_cli.__path__, "checkout_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [error for error in family(CheckoutError) if error.__module__.startswith("checkout_cli.")]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_every_error_has_an_exit_code_of_the_table_and_says_what_it_means(error: type[CheckoutError]) -> None:
    assert isinstance(error.exit_code, ExitCode)
    assert error.exit_code not in {ExitCode.OK, ExitCode.INTERRUPTED}
    assert error.__doc__
    assert error.__doc__ != CheckoutError.__doc__ or error is CheckoutError


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_a_default_hint_is_a_command_of_ours_or_a_sentence(error: type[CheckoutError]) -> None:
    hint = error.default_hint
    assert hint == hint.strip()
    assert "\n" not in hint


def test_the_exit_codes_are_those_that_are_documented() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FINDING": 1,
        "USAGE": 2,
        "NOT_FOUND": 3,
        "DENIED": 4,
        "UNAVAILABLE": 69,
        "TRY_AGAIN": 75,
        "CONFIGURATION": 78,
        "INTERRUPTED": 130,
    }


def test_missing_expired_corrupt_and_unreachable_are_told_apart_by_type() -> None:
    missing, expired = errors.SessionNotFound, errors.SessionExpired
    corrupt, unreachable = errors.SessionCorrupt, errors.TierUnavailable
    assert len({missing, expired, corrupt, unreachable}) == 4
    assert issubclass(expired, missing)  # who asks for "not there" wants both
    for one, other in ((missing, corrupt), (missing, unreachable), (corrupt, unreachable)):
        assert not issubclass(one, other)
        assert not issubclass(other, one)


def test_what_is_no_outage_is_no_reason_to_fall_back() -> None:
    for error in (errors.AccessDenied, errors.ConfigurationError, errors.InvalidInput, errors.SessionCorrupt):
        assert not issubclass(error, errors.TierUnavailable)


def test_the_place_that_raises_can_give_a_better_hint_or_none() -> None:
    assert errors.RedisUnavailable("away").hint == "checkoutctl doctor"
    assert errors.RedisUnavailable("away", hint="start it").hint == "start it"
    assert errors.RedisUnavailable("away", hint="").hint == ""
    assert str(errors.RedisUnavailable("away", hint="start it")) == "away"


def test_a_hint_that_is_no_command_is_advice_and_the_next_step_a_command() -> None:
    away = errors.RedisUnavailable("away", hint="start it")
    assert (away.advice, away.next_step) == ("start it", "checkoutctl doctor")
    away = errors.RedisUnavailable("away", hint="kill -CONT 7")
    assert (away.advice, away.next_step) == ("", "kill -CONT 7")
    assert errors.ConfigurationError("wrong", hint="leave it out").next_step == "checkoutctl config check"
    assert errors.InvalidInput("bad").next_step == ""  # the command's own help
