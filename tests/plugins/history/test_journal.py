"""The journal: what is safe, in what order, and what is kept of it for whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_history import imported

from core.samples import Committed, Gap, Position
from plugins.history import blobs
from plugins.history.columns import columns_of
from plugins.history.errors import DamagedHistory, HistoryError
from plugins.history.journal import Commit, Journal, JournalReader

EPOCH = 1_790_000_000
ENOUGH = 2**40


def blob(number: int, *, rows: int = 1) -> bytes:
    return blobs.encode(columns_of(number, imported([(at, number / 7 + at) for at in range(rows)])))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Journal]]:
    """Open the journal, once more each time."""
    journals: list[Journal] = []

    def again(epoch: int = EPOCH) -> Journal:
        for each in journals:
            each.close()
        journals.append(Journal(path, epoch=epoch))
        return journals[-1]

    yield again
    for each in journals:
        each.close()


def write(journal: Journal, *numbers: int) -> None:
    for number in numbers:
        journal.commit(Commit(alive_ms=number, blob=blob(number)))


def unsealed(journal: Journal) -> list[int]:
    """Return the slots of what is not sealed; each has its number in these tests."""
    return [int(blobs.decode(body).slots[0]) for _seq, body in journal.unsealed()]


def read(path: Path, position: Position, newest: Position, limit: int = 100) -> list[tuple]:
    """Return positions of batches, and first and last ones of what is lost."""
    reader = JournalReader(path)
    found = reader.read_after(position, newest, limit)
    reader.close()
    return [(each.position,) if isinstance(each, Committed) else (each.first, each.last) for each in found]


def at(seq: int, epoch: int = EPOCH) -> Position:
    return Position(epoch, seq)


def test_a_journal_begins_an_epoch_and_stays_in_it(opened):
    write(opened(), 1, 2)
    journal = opened(EPOCH + 1000)
    assert (journal.epoch, journal.newest, journal.alive_ms) == (EPOCH, 2, 2)
    assert unsealed(journal) == [1, 2]


def test_numbers_go_on_behind_what_was_sealed_and_deleted(opened):
    journal = opened()
    write(journal, 1, 2, 3)
    assert journal.seal(3, outbox_bytes=ENOUGH) == 0
    journal = opened()
    assert (journal.newest, unsealed(journal)) == (3, [])
    write(journal, 4)
    assert opened().newest == 4


def test_what_is_sealed_up_to_a_number_is_replayed_from_the_next_one(opened):
    journal = opened()
    write(journal, 1, 2, 3)
    journal.seal(2, outbox_bytes=ENOUGH)
    assert unsealed(opened()) == [3]


def test_cursors_and_gaps_are_kept_with_what_was_written_together_with_them(opened):
    journal = opened()
    gap = Gap(1000, 2000, "not_running")
    journal.commit(Commit(1, blob(1), {"a": at(0), "b": at(1)}, [gap]))
    journal.commit(Commit(2, None, {"b": None}, [Gap(1000, 2500, "not_running")]))
    journal = opened()
    assert journal.cursors == {"a": at(0)}
    assert journal.gaps() == [Gap(1000, 2500, "not_running")]
    assert journal.newest == 1


def test_a_cursor_holds_what_it_has_not_passed_though_it_is_sealed(opened, path):
    journal = opened()
    write(journal, 1, 2, 3)
    journal.commit(Commit(4, None, {"slow": at(1), "fast": at(3)}))
    journal.seal(3, outbox_bytes=ENOUGH)
    assert read(path, at(1), at(3)) == [(at(2),), (at(3),)]
    assert read(path, at(0), at(3)) == [(at(1), at(1)), (at(2),), (at(3),)]
    journal.commit(Commit(5, None, {"slow": at(3)}))
    journal.seal(3, outbox_bytes=ENOUGH)
    assert read(path, at(1), at(3)) == [(at(2), at(3))]


def test_a_cursor_of_an_epoch_before_holds_all_of_this_one(opened, path):
    journal = opened()
    journal.commit(Commit(1, blob(1), {"slow": at(77, EPOCH - 1)}))
    write(journal, 2)
    journal.seal(2, outbox_bytes=ENOUGH)
    lost = (at(78, EPOCH - 1), at(0))
    assert read(path, at(77, EPOCH - 1), at(2)) == [lost, (at(1),), (at(2),)]


def test_what_is_kept_for_cursors_is_bounded_and_the_newest_is_kept(opened, path):
    journal = opened()
    journal.commit(Commit(0, None, {"slow": at(0)}))
    write(journal, *range(1, 11))
    size = len(blob(1))
    assert journal.seal(8, outbox_bytes=4 * size) == 6
    assert read(path, at(0), at(10)) == [(at(1), at(6)), *[(at(seq),) for seq in range(7, 11)]]


def test_what_is_not_sealed_is_never_cut_for_want_of_room(opened, path):
    journal = opened()
    journal.commit(Commit(0, None, {"slow": at(0)}))
    write(journal, 1, 2, 3)
    assert journal.seal(1, outbox_bytes=0) == 1
    assert unsealed(opened()) == [2, 3]


def test_nothing_is_read_beyond_what_was_said_to_be_the_newest(opened, path):
    write(opened(), 1, 2, 3)
    assert read(path, at(0), at(2)) == [(at(1),), (at(2),)]
    assert read(path, at(2), at(2)) == []
    assert read(path, at(0), at(3), limit=2) == [(at(1),), (at(2),)]
    assert read(path, at(3), at(2)) == []


def test_a_batch_that_is_damaged_is_lost_and_the_others_are_not(opened, path):
    journal = opened()
    write(journal, 1)
    journal.commit(Commit(2, blob(2)[:-1] + b"?"))
    write(journal, 3)
    assert read(path, at(0), at(3)) == [(at(1),), (at(2), at(2)), (at(3),)]


def test_a_commit_that_fails_leaves_everything_as_it_was(opened):
    journal = opened()
    write(journal, 1)
    with pytest.raises(HistoryError):
        journal.commit(Commit(2, blob(2), {"a": at(1)}, [Gap(1, 2, None)]))  # type: ignore[arg-type] - NOT NULL
    assert (journal.newest, journal.cursors) == (1, {})
    write(journal, 2)
    assert unsealed(opened()) == [1, 2]


def test_what_is_no_journal_is_damaged(path):
    path.write_bytes(b"not a database, though of the length of a header at least" * 100)
    with pytest.raises(DamagedHistory, match="is damaged"):
        Journal(path, epoch=EPOCH)


OPERATIONS = st.lists(
    st.one_of(
        st.just(("write",)),
        st.tuples(st.just("seal"), st.integers(0, 6), st.sampled_from([0, 150, ENOUGH])),
        st.tuples(st.just("move"), st.sampled_from("ab"), st.integers(0, 6)),
        st.tuples(st.just("forget"), st.sampled_from("ab")),
        st.just(("reopen",)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(operations=OPERATIONS)
def test_a_cursor_finds_every_batch_after_it_or_is_told_that_it_is_lost(operations, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite3"
    journal, cursors, cut = Journal(path, epoch=EPOCH), {}, 0
    for name, *given_ in operations:
        if name == "write":
            write(journal, journal.newest + 1)
        elif name == "seal":
            back, room = given_
            through = max(journal.sealed, journal.newest - back)
            before = min([through, *cursors.values()]) if cursors else through
            lost = journal.seal(through, outbox_bytes=room)
            cut = max(cut, before, through if lost else 0)
        elif name == "move":
            who, back = given_
            cursors[who] = max(cursors.get(who, 0), journal.newest - back)
            journal.commit(Commit(0, None, {who: at(cursors[who])}))
        elif name == "forget":
            cursors.pop(given_[0], None)
            journal.commit(Commit(0, None, {given_[0]: None}))
        else:
            journal.close()
            journal = Journal(path, epoch=EPOCH)
        assert journal.cursors == {who: at(seq) for who, seq in cursors.items()}
        assert unsealed(journal) == list(range(journal.sealed + 1, journal.newest + 1))
        for seq in {0, *cursors.values()}:
            found = read(path, at(seq), at(journal.newest))
            covered = [number for each in found for number in range(each[0].seq, each[-1].seq + 1)]
            assert covered == list(range(seq + 1, journal.newest + 1))
            assert all(each[-1].seq <= cut for each in found if len(each) == 2)
    journal.close()
