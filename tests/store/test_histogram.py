"""Histograms of times: what a bucket holds, and how far a percentile can be off."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.store.histogram import BUCKETS, bucket_of, percentile, upper_bound

times = st.floats(min_value=1e-6, max_value=3600)


@given(times)
def test_a_time_lies_between_the_bounds_of_its_bucket(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert seconds <= upper_bound(bucket)
    assert bucket == 0 or seconds > upper_bound(bucket - 1)


@pytest.mark.parametrize("bucket", range(BUCKETS))
def test_the_longest_time_of_a_bucket_belongs_to_it(bucket: int) -> None:
    assert bucket_of(upper_bound(bucket)) == bucket


def test_four_buckets_double_the_time() -> None:
    assert upper_bound(0) == 1e-6
    assert [upper_bound(bucket + 4) / upper_bound(bucket) for bucket in range(BUCKETS - 4)] == pytest.approx(
        [2.0] * (BUCKETS - 4)
    )


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, math.nan, -math.inf])
def test_what_is_no_time_worth_measuring_is_in_the_first_bucket(seconds: float) -> None:
    assert bucket_of(seconds) == 0


@pytest.mark.parametrize("seconds", [3600.0, 1e9, math.inf])
def test_whatever_took_an_hour_or_longer_is_in_the_last_bucket(seconds: float) -> None:
    assert bucket_of(seconds) == BUCKETS - 1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_a_percentile_is_never_below_the_truth_and_less_than_a_fifth_above_it(share: float) -> None:
    chance = random.Random(share)
    measured = sorted(chance.lognormvariate(-6, 1) for _ in range(1000))
    truth = measured[max(math.ceil(share * len(measured)) - 1, 0)]
    told = percentile(Counter(map(bucket_of, measured)), share)
    assert told is not None
    assert truth <= told < 1.2 * truth


@given(st.lists(times, min_size=1), st.lists(times, min_size=1))
def test_the_counts_of_two_processes_are_added_up_bucket_by_bucket(here: list[float], there: list[float]) -> None:
    added = Counter(map(bucket_of, here)) + Counter(map(bucket_of, there))
    assert percentile(added, 0.95) == percentile(Counter(map(bucket_of, here + there)), 0.95)


@pytest.mark.parametrize("counts", [{}, {4: 0}, {4: -3}])
def test_where_nothing_was_counted_there_is_no_percentile(counts: dict[int, int]) -> None:
    assert percentile(counts, 0.5) is None


def test_what_another_program_wrote_there_is_no_reason_to_fail() -> None:
    assert percentile({-5: 1, 10_000: 1}, 0.0) == upper_bound(0)
    assert percentile({-5: 1, 10_000: 1}, 1.0) == upper_bound(BUCKETS - 1)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        percentile({1: 1}, share)
