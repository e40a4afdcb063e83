"""Chunks that fit an APDU, keep their order and lose nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.objects import TYPES, Prop
from plugins.bacnet.planner import budget_of, cost, halves, pack
from plugins.bacnet.wire.datatypes import ObjectId, Ref

objects = st.builds(ObjectId, st.sampled_from([*TYPES, 8, 200]), st.integers(0, 0x3FFFFF))
refs = st.builds(Ref, objects, st.sampled_from([*Prop, 512, 5000]), st.one_of(st.none(), st.integers(0, 1000)))
entries = st.lists(st.lists(refs, min_size=1, max_size=3).map(tuple), max_size=60)


@given(entries, st.integers(32, 1476))
def test_chunks_keep_everything_in_order_within_the_budget(wanted, budget):
    chunks = pack(wanted, budget)
    assert [entry for chunk in chunks for entry in chunk] == wanted
    for chunk in chunks:
        flat = [ref for entry in chunk for ref in entry]
        assert len(chunk) == 1 or cost(flat) <= budget


@given(st.lists(refs, min_size=2, max_size=40))
def test_halves_are_both_smaller_and_together_the_whole(chunk):
    left, right = halves(chunk)
    assert [*left, *right] == chunk
    assert left
    assert right


def test_a_chunk_is_torn_between_objects_where_it_can_be():
    one, other = ObjectId(0, 1), ObjectId(0, 2)
    chunk = [Ref(one, 85), Ref(one, 111), Ref(one, 28), Ref(other, 85)]
    assert halves(chunk) == (chunk[:3], chunk[3:])
    assert halves(chunk[:2]) == (chunk[:1], chunk[1:2])


def test_as_many_points_go_together_as_were_measured_to_fit():
    points = [
        (Ref(ObjectId(0, number), Prop.PRESENT_VALUE), Ref(ObjectId(0, number), Prop.STATUS_FLAGS))
        for number in range(200)
    ]
    sizes = {apdu: len(pack(points, budget_of(apdu))[0]) for apdu in (1476, 1024, 480, 206, 50)}
    assert sizes == {1476: 64, 1024: 44, 480: 20, 206: 8, 50: 2}
