"""What is written reads as it was, and of what was not written so nothing is said but that it is damaged."""

from __future__ import annotations

import math
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from unittest.mock import patch

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.history import blobs, blocks, coding, rollups, sides, tables
from plugins.history.blocks import FEW_ROWS, Block
from plugins.history.columns import Columns
from plugins.history.containers import FIRST_BYTES, POINTS, Container, excerpt
from plugins.history.errors import DamagedHistory
from plugins.history.rollups import Rolled
from plugins.history.summing import COLUMNS, nothing
from plugins.history.tables import pack_table, unpack_table

NUMBERS = st.one_of(
    st.floats(allow_infinity=False),
    st.integers(-(10**6), 10**6).map(lambda number: number / 100),
    st.integers(-(2**40), 2**40).map(float),
    st.floats(width=32, allow_infinity=False),
    st.sampled_from([0.0, -0.0, math.nan, 1e308, 5e-324, 2.0**53]),
)
TEXTS = st.text(st.characters(), max_size=8)
"""Any text, with half surrogates."""
INTEGERS = st.integers(-(2**200), 2**200)


def columns(*, slots: st.SearchStrategy[int], most: int = 60) -> st.SearchStrategy[Columns]:
    """Make rows, some of which have a text or a large integer."""
    row = st.tuples(
        slots, st.integers(0, 2**52), NUMBERS, st.integers(0, 2**24 - 1), st.none() | TEXTS, st.none() | INTEGERS
    )
    return st.lists(row, min_size=1, max_size=most).map(_columns)


def _columns(rows: list[tuple[int, int, float, int, str | None, int | None]]) -> Columns:
    slots, times, values, status, texts, integers = zip(*rows, strict=True)
    return Columns(
        np.array(slots, np.uint32), np.array(times, np.int64), np.array(values), np.array(status, np.uint32),
        {row: text for row, text in enumerate(texts) if text is not None},
        {row: number for row, number in enumerate(integers) if number is not None},
    )  # fmt: skip


def same(one: Columns, other: Columns) -> None:
    """See that two are the same, bit by bit, but that any NaN is as good as another."""
    for name in ("slots", "times", "status"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert [bits(value) for value in one.values] == [bits(value) for value in other.values]
    assert (dict(one.texts), dict(one.integers)) == (dict(other.texts), dict(other.integers))


def bits(value: float) -> tuple[float, float]:
    return (math.inf, 0) if math.isnan(value) else (value, math.copysign(1, value))


def excerpted(body: bytes, slots: Sequence[int]) -> Container:
    """Read for some points what a database has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE block (body BLOB)")
        connection.execute("INSERT INTO block VALUES (?)", (body,))
        with connection.blobopen("block", "body", 1, readonly=True) as blob:
            return excerpt(blob, slots)


@settings(max_examples=60, deadline=None)
@given(columns(slots=st.integers(0, 2**32 - 1)))
def test_a_batch_of_the_journal_reads_as_it_was_written(rows: Columns):
    same(blobs.decode(blobs.encode(rows)), rows)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**25).map(lambda group: group * POINTS), columns(slots=st.integers(0, POINTS - 1)))
def test_a_block_reads_as_it_was_written_whole_and_point_by_point(first: int, rows: Columns):
    rows = Columns(
        rows.slots + np.uint32(first), rows.times, rows.values, rows.status, rows.texts, rows.integers
    ).ordered()
    block = Block(blocks.encode(rows))
    same(block.all(), rows)
    for slot in {first, *rows.slots.tolist(), first + POINTS}:
        same(block.of(slot), rows.of(slot))
        same(Block(excerpted(blocks.encode(rows), [slot])).of(slot), rows.of(slot))


def test_points_with_many_rows_are_parts_of_their_own_and_read_the_same():
    count = FEW_ROWS + 1
    times = np.arange(2 * count, dtype=np.int64)
    rows = Columns(
        np.repeat(np.array([5, 7], np.uint32), count), np.concatenate([times[:count], times[count:]]),
        np.sin(times), np.zeros(2 * count, np.uint32), {3: "of 5", count + 4: "of 7"},
    )  # fmt: skip
    block = Block(blocks.encode(rows))
    same(block.all(), rows)
    same(block.of(7), rows.of(7))
    assert block.of(7).texts == {4: "of 7"}
    assert len(block.of(6)) == 0


def test_of_a_large_block_no_more_is_read_than_what_a_point_needs():
    count = FEW_ROWS + 1
    slots = np.repeat(np.arange(POINTS, dtype=np.uint32), count)
    times = np.tile(np.arange(count, dtype=np.int64), POINTS)
    rows = Columns(slots, times, np.sin(np.arange(len(slots))), np.zeros(len(slots), np.uint32))
    body = blocks.encode(rows)
    assert len(body) > 10 * FIRST_BYTES
    block = Block(excerpted(body, [20, POINTS + 1]))
    same(block.of(20), rows.of(20))
    with pytest.raises(ValueError, match="not read while the blob was open"):
        block.of(POINTS - 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_numbers_read_bit_by_bit_as_they_were_written(numbers: list[float]):
    read = coding.unpack_values(coding.pack_values(np.array(numbers, np.float64)))
    assert [bits(number) for number in read] == [bits(number) for number in numbers]


@pytest.mark.parametrize(
    ("numbers", "most"),
    [([20.5, 21.0, 20.75] * 100, 150), ([1.0, 0.0] * 150, 150), ([np.float32(0.1) * n for n in range(300)], 1500)],
    ids=["hundredths", "booleans", "float32"],
)
def test_numbers_of_few_digits_are_written_shortly(numbers: list[float], most: int):
    assert len(coding.pack_values(np.array(numbers, np.float64))) < most


@st.composite
def rolled(draw: st.DrawFn) -> list[tuple[int, Rolled]]:
    """Make roll-ups of some points of a group."""
    points = draw(st.lists(st.integers(0, POINTS - 1), unique=True, min_size=1, max_size=4).map(sorted))
    found = []
    for slot in points:
        starts = np.array(sorted(draw(st.sets(st.integers(0, 1000), min_size=1, max_size=8))), np.int64) * 300_000
        sums = nothing(len(starts))
        for name in COLUMNS:
            whole = {"counts", "covered"}
            strategy = st.integers(0, 2**32 - 1) if name in whole else st.integers(0, 2) if name == "worst" else NUMBERS
            column = draw(st.lists(strategy, min_size=len(starts), max_size=len(starts)))
            getattr(sums, name)[:] = column
        for state in draw(st.sets(st.integers(-(2**31), 2**31), max_size=3)):
            sums.states[state] = np.array(
                draw(st.lists(st.integers(0, 86_400_000), min_size=len(starts), max_size=len(starts))), np.int64
            )
        found.append((slot, Rolled(starts, sums)))
    return found


@pytest.mark.parametrize("long_rows", [0, rollups.LONG_ROWS], ids=["by column", "in one table"])
@settings(max_examples=40, deadline=None)
@given(points=rolled())
def test_roll_ups_read_as_they_were_written(long_rows: int, points: list[tuple[int, Rolled]]):
    with patch.object(rollups, "LONG_ROWS", long_rows):
        body = rollups.encode(points)
    assert rollups.slots(body) == [slot for slot, _part in points]
    assert rollups.decode(body, POINTS) is None
    for slot, part in points:
        read = rollups.decode(body, slot)
        assert read is not None
        assert read.starts.tolist() == part.starts.tolist()
        for name in COLUMNS:
            mine, given_ = getattr(read.sums, name).tolist(), getattr(part.sums, name).tolist()
            assert [bits(value) for value in mine] == [bits(value) for value in given_], name
        held = {state: lengths.tolist() for state, lengths in part.sums.states.items() if lengths.any()}
        assert {state: lengths.tolist() for state, lengths in read.sums.states.items()} == held


@st.composite
def short_columns(draw: st.DrawFn) -> list[Sequence[float]]:
    """Make equally long columns of integers, or of numbers."""
    rows = draw(st.integers(1, 6))
    kinds = draw(st.lists(st.sampled_from([st.integers(-(2**63), 2**63 - 1), NUMBERS]), min_size=1, max_size=6))
    return [draw(st.lists(kind, min_size=rows, max_size=rows)) for kind in kinds]


@settings(max_examples=100, deadline=None)
@given(short_columns())
def test_a_table_reads_as_it_was_written(written: list[Sequence[float]]):
    packed = [
        np.array(column, np.int64 if all(isinstance(each, int) for each in column) else np.float64)
        for column in written
    ]
    read = unpack_table(memoryview(pack_table(packed)))
    assert [column.dtype for column in read] == [column.dtype for column in packed]
    for mine, given_ in zip(read, packed, strict=True):
        assert [bits(value) for value in mine.tolist()] == [bits(value) for value in given_.tolist()]


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 2**32 - 1) | st.integers(0, 5), forms=st.binary(max_size=6), raw=st.binary(max_size=130))
def test_a_table_with_the_right_checksum_over_anything_is_damaged_or_reads(rows: int, forms: bytes, raw: bytes):
    fitting = raw.ljust(8 * rows * len(forms), b"x") if rows <= 5 else raw
    for frame in (raw, *(zstandard.ZstdCompressor().compress(octets) for octets in (raw, fitting))):
        body = forms + frame
        head = tables._HEAD.pack(zlib.crc32(body, rows), rows, len(forms))
        try:
            assert len(unpack_table(memoryview(head + body))) == len(forms)
        except DamagedHistory:
            continue


ROWS = _columns([(3, 1000 + n, n / 10, n % 3, "text" if n == 5 else None, 2**60 if n == 6 else None) for n in range(9)])
ROLLED = [(3, Rolled(np.array([0, 300_000]), nothing(2)))]
WRITTEN: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "blob": (blobs.encode(ROWS), lambda body: blobs.decode(body).samples()),
    "block": (blocks.encode(ROWS), lambda body: Block(body).all().samples()),
    "point": (blocks.encode(ROWS), lambda body: Block(body).of(3).samples()),
    "excerpt": (blocks.encode(ROWS), lambda body: Block(excerpted(body, [3])).of(3).samples()),
    "rollup": (rollups.encode(ROLLED), lambda body: rollups.decode(body, 3)),
    "column": (coding.pack_values(ROWS.values), lambda body: coding.unpack_values(body).tolist()),
    "side": (sides.written(ROWS.texts, ROWS.integers), sides.read),
}
CHECKED = sorted({*WRITTEN} - {"side"})
"""What has a checksum; side columns stand within what has one."""


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=80))
def test_random_octets_are_damaged_or_nothing(name: str, raw: bytes):
    written, read = WRITTEN[name]
    for body in (raw, written[:4] + raw, written[: len(written) // 2] + raw):
        try:
            read(body)
        except DamagedHistory:
            continue


@pytest.mark.parametrize("name", CHECKED)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_was_changed_or_cut_off_is_damaged_or_reads_as_it_was_written(name: str, data: st.DataObject):
    written, read = WRITTEN[name]
    at = data.draw(st.integers(0, len(written) - 1))
    changed = bytearray(written)
    changed[at] ^= data.draw(st.integers(1, 255))
    for body in (bytes(changed), written[:at]):
        try:
            found = read(body)
        except DamagedHistory:
            continue
        assert repr(found) == repr(read(written))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 2**32 - 1) | st.integers(0, 5), raw=st.binary(max_size=130))
def test_a_batch_with_the_right_checksum_over_anything_is_damaged_or_reads(rows: int, raw: bytes):
    for body in (raw, zstandard.ZstdCompressor().compress(raw)):
        try:
            assert len(blobs.decode(blobs._HEAD.pack(blobs.MAGIC, zlib.crc32(body, rows), rows) + body)) == rows
        except DamagedHistory:
            continue


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"texts": 1}', b"\xff", b'{"texts": {"x": ""}, "integers": {}}'])
def test_side_columns_of_another_shape_are_damaged(body: bytes):
    with pytest.raises(DamagedHistory):
        sides.read(body)
