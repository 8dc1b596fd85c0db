"""Whether the judges of both runs see what is wrong, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import redis

from checkout_cli.servers.embedded import HOST
from tests.beside.parties import Party, process_environment
from tests.beside.places import Place
from tests.beside.rolling import HEADER_DROPPED, HEADER_KEPT, How, roll
from tests.beside.together import Deed, Judge, Together
from tests.older_program import INDEX

ID = "session-0001"

# Rolling, with stand-ins for our side


def control_program(kind: str, settings: Mapping[str, str], directory: Path, name: str) -> Party:
    command = ["tests.beside.control_program", kind]
    return Party(name, command, process_environment(directory, settings), directory)


@pytest.mark.parametrize("fresh", [HEADER_KEPT, HEADER_DROPPED])
def test_two_older_programs_side_by_side_are_judged_right(place: Place, fresh: float, tmp_path: Path) -> None:
    roll(place, How(fresh=fresh, restarts=1), tmp_path, ours=partial(control_program, "faithful")).assert_right()


def test_a_side_that_forgets_its_updates_is_judged_wrong(place: Place, tmp_path: Path) -> None:
    found = roll(place, How(), tmp_path, ours=partial(control_program, "forgetful"))
    assert min(found.wrong_as_we_read, found.wrong_as_it_reads, found.silent) > 0, found.told()


def test_an_index_that_refuses_the_older_program_is_noticed(place: Place, tmp_path: Path) -> None:
    with redis.Redis(host=HOST, port=int(place.settings["REDIS_PORT"])) as client:
        client.zadd(INDEX, {"somebody-elses": 1})
    found = roll(place, How(number=4), tmp_path, ours=partial(control_program, "faithful"))
    assert found.refused_additions > 0


def test_acknowledged_writes_that_an_old_snapshot_takes_back_are_noticed(place: Place, tmp_path: Path) -> None:
    """This stand-in has no database, and says of each write that it has."""
    how = How(number=20, old_snapshot=True)
    found = roll(place, how, tmp_path, ours=partial(control_program, "faithful"))
    assert found.silent > 0


# Together, with deeds made up here: the older program writes "it N", and we write "we N"


def its(number: int, seen: str | None, at: float = 0.0) -> Deed:
    return Deed("write", ID, at, acked=True, field="notes", seen=seen, value=f"it {number}")


def ours(number: int, seen: str | None, durability: str = "database") -> Deed:
    return Deed("write", ID, 0.0, acked=True, field="notes", seen=seen, value=f"we {number}", durability=durability)


def deletion(at: float) -> Deed:
    return Deed("delete", ID, at, acked=True)


def judged(theirs: list[Deed], ours: list[Deed], read: str | None, *on_record: str) -> Together:
    """The verdict where the last read finds a value, or no session."""
    sessions = {ID: None if read is None else {"notes": read}}
    record = {ID: [{"notes": value} for value in on_record]}
    return Judge(theirs, ours, record).verdict(sessions, sessions, sessions)


def test_what_was_replaced_by_who_had_seen_it_is_not_lost() -> None:
    found = judged([its(1, None), its(3, "we 2")], [ours(2, "it 1"), ours(4, "it 3")], "we 4")
    assert (found.ours, found.ours_lost, found.theirs, found.last_missing, found.silent) == (2, 0, 2, 0, 0)


def test_what_was_overwritten_unseen_is_lost() -> None:
    assert judged([its(2, None)], [ours(1, None)], "it 2").ours_lost == 1
    found = judged([its(1, None)], [ours(2, None)], "we 2")
    assert (found.last_missing_afterwards, found.last_silent, found.silent) == (1, 1, 1)


def test_what_is_on_record_is_not_silent_nor_what_led_to_it() -> None:
    found = judged([its(1, None), its(2, "it 1")], [ours(3, None)], "we 3", "it 2")
    assert (found.last_missing_afterwards, found.last_silent, found.silent, found.conflicts) == (1, 0, 0, 1)


def test_our_own_acknowledged_write_is_lost_even_if_it_is_on_record() -> None:
    assert judged([its(2, None)], [ours(1, None)], "it 2", "we 1").ours_lost == 1
    assert judged([its(2, None)], [ours(1, None, "redis")], "it 2", "we 1").ours_in_redis_lost == 0


def test_a_deleted_session_that_is_read_again_is_noticed() -> None:
    found = judged([], [deletion(1.0)], "it 1")
    assert (found.deleted, found.came_back) == (1, 1)
    assert judged([], [deletion(1.0)], None).came_back == 0


def test_what_was_written_before_a_deletion_went_with_it_and_what_came_after_it_is_owed() -> None:
    assert judged([its(1, None, at=0.5)], [deletion(1.0)], None).silent == 0
    assert judged([its(1, None, at=1.5)], [deletion(1.0)], None).silent == 1
    assert judged([its(1, None, at=1.5)], [deletion(1.0)], None, "it 1").silent == 0
    assert judged([its(1, None, at=1.5), deletion(2.0)], [deletion(1.0)], None).silent == 0


def test_what_the_older_program_deleted_itself_is_not_owed_and_our_part_of_it_is() -> None:
    found = judged([its(1, None, at=0.5), deletion(1.0)], [ours(2, "it 1")], None)
    assert (found.silent, found.ours_lost) == (0, 1)
