"""What is in memory until it is sealed."""

from __future__ import annotations

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from core.model import Source
from core.readings import Chunk, Row, batch_of
from plugins.history.head import MERGE_RUNS, Head, merged, of_slot


def put(head: Head, slot: int, second: int) -> None:
    batch = batch_of(Chunk(array("I", [slot])), [Row(float(second))], time=float(second), source=Source.POLL)
    head.put(batch, [0])


def commit(head: Head, seq: int) -> None:
    runs = head.unsafe()
    if runs:
        head.safe(runs, merged(runs).columns, seq)


def test_looking_often_makes_no_more_runs_than_looking_once():
    head = Head()
    for second in range(500):
        put(head, 1, second)
        assert len(head.runs()) == 1
    assert of_slot(head.runs(), 1).values.tolist() == [float(second) for second in range(500)]


def test_what_is_being_made_safe_is_left_as_it_is():
    head = Head()
    put(head, 1, 1)
    taken = head.unsafe()
    put(head, 1, 2)
    put(head, 1, 3)
    assert head.runs()[0] is taken[0]
    head.safe(taken, taken[0].columns, 1)
    assert [(run.seq, len(run.columns)) for run in head.runs()] == [(1, 1), (None, 2)]
    assert (head.rows, head.unsafe_rows) == (3, 2)


def test_the_runs_of_many_commits_stay_few():
    head, seq = Head(), 0
    for seq in range(1, 1000):
        put(head, seq % 7, seq)
        commit(head, seq)
        runs = head.to_merge()
        if runs:
            head.merged(runs, merged(runs))
        assert len(head.runs()) <= MERGE_RUNS + 12
    assert head.to_seal()[-1].seq == seq
    assert head.rows == 999


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["put", "look", "take", "safe", "merge"]), max_size=80))
def test_nothing_is_lost_or_doubled_whatever_happens_in_between(happens: list[str]):
    head, expected, taken, seq = Head(), 0, [], 0
    for what in happens:
        if what == "put":
            put(head, 1, expected)
            expected += 1
        elif what == "look":
            head.runs()
        elif what == "take":
            taken = head.unsafe()
        elif what == "safe" and taken:
            seq += 1
            head.safe(taken, merged(taken).columns, seq)
            taken = []
        elif what == "merge" and (runs := head.to_merge()):
            head.merged(runs, merged(runs))
        assert of_slot(head.runs(), 1).values.tolist() == [float(second) for second in range(expected)]
        assert head.rows == expected
