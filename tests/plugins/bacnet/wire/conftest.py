"""What hypothesis makes of the datatypes of the wire: ``st.from_type(Ref)`` and its like."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from plugins.bacnet.wire.datatypes import Bits, Date, ObjectId, Ref, Time

# How long an example takes says nothing where others use the machine, too.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

OCTET = st.integers(0, 255)
NUMBERS = st.one_of(
    st.integers(0, 512), st.sampled_from([255, 256, 65535, 65536, 2**22 - 1]), st.integers(0, 2**32 - 1)
)

st.register_type_strategy(ObjectId, st.builds(ObjectId, st.integers(0, 1023), st.integers(0, 0x3FFFFF)))
st.register_type_strategy(Ref, st.builds(Ref, st.from_type(ObjectId), NUMBERS, st.none() | NUMBERS))
st.register_type_strategy(Date, st.builds(Date, OCTET, OCTET, OCTET, OCTET))
st.register_type_strategy(Time, st.builds(Time, OCTET, OCTET, OCTET, OCTET))
st.register_type_strategy(Bits, st.builds(Bits, st.lists(st.booleans(), max_size=300).map(tuple)))
