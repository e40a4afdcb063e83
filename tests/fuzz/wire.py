"""Throws random and mutated octets at all decoders of BACnet: `python tests/fuzz/wire.py --cases 10000000 --seed 1`.

Fails on anything but DecodeError, and on an input that takes longer than a second. Prints what to do it again with.
"""

# ruff: noqa: T201 - it is a program, and prints

from __future__ import annotations

import argparse
import multiprocessing
import random
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from corpus import entries
from decoders import DECODERS

from plugins.bacnet.wire.errors import DecodeError

CASES_IN_A_CHUNK = 20_000
LONGEST_S = 1.0
ENDLESS_S = 10.0
NAMES = tuple(DECODERS)
LONGEST_DATAGRAM = 65_507
MOST_MUTATIONS = 4
TRIES = 3
LONGEST_PRINTED = 4096
EXTREME = (0x00, 0x04, 0x05, 0x06, 0x07, 0x0E, 0x0F, 0x1F, 0x4F, 0x55, 0x75, 0x7F, 0x80, 0xF5, 0xFD, 0xFE, 0xFF)
LENGTHS = (b"\x00", b"\x05", b"\xfd", b"\xfe\x00\x03", b"\xfe\xff\xff", b"\xff\x00\x00\x00\x02", b"\xff" * 5)
SHARE_OF_NOISE, SHARE_OF_GIANTS = 0.1, 0.0005


class TooLong(BaseException):
    """One input took longer of the processor's time than it may."""


@attrs.frozen
class Failure:
    """An input that a decoder did not take as it should."""

    chunk: int
    case: int
    decoder: str
    octets: bytes
    trace: str


@attrs.frozen
class Outcome:
    """How a chunk of cases went: inputs that a decoder took, and that it refused."""

    taken: Counter[str]
    refused: Counter[str]
    failure: Failure | None = None


class Alarm:
    """Ends a case that runs for ever: looks every `ENDLESS_S` of the processor's time whether it is still the same."""

    def __init__(self) -> None:
        self.case = self._seen = -1
        signal.signal(signal.SIGVTALRM, self._look)
        signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS_S, ENDLESS_S)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _look(self, *_: object) -> None:
        if self.case == self._seen:
            raise TooLong(f"more than {ENDLESS_S:g} s")
        self._seen = self.case


def flip_bits(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    for _ in range(rng.randint(1, 4)):
        octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)


def set_octets(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    for _ in range(rng.randint(1, 3)):
        octets[rng.randrange(len(octets))] = rng.randrange(256)


def set_extreme_octets(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    for _ in range(rng.randint(1, 3)):
        octets[rng.randrange(len(octets))] = rng.choice(EXTREME)


def set_length(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    """Make a tag announce another length, in the first octet and those of the extended length."""
    at = rng.randrange(len(octets))
    octets[at] = octets[at] & 0xF8 | 5
    octets[at + 1 : at + 1 + rng.randrange(2)] = rng.choice(LENGTHS)


def truncate(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    del octets[rng.randrange(len(octets)) :]


def remove(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    at = rng.randrange(len(octets))
    del octets[at : at + rng.randint(1, 8)]


def insert(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    at = rng.randrange(len(octets) + 1)
    octets[at:at] = rng.randbytes(rng.randint(1, 8))


def duplicate(rng: random.Random, octets: bytearray, _other: bytes) -> None:
    start = rng.randrange(len(octets))
    part = octets[start : start + rng.randint(1, 24)]
    octets[start:start] = part * rng.choice((1, 1, 1, 2, 40))


def splice(rng: random.Random, octets: bytearray, other: bytes) -> None:
    octets[rng.randrange(len(octets)) :] = other[rng.randrange(len(other) + 1) :]


def mend_envelope(_rng: random.Random, octets: bytearray, _other: bytes) -> None:
    """Let a datagram have the length that it says, so that it is looked into."""
    if octets[0] == 0x81 and len(octets) >= 4:
        octets[2:4] = (len(octets) & 0xFFFF).to_bytes(2, "big")


MUTATIONS: Sequence[Callable[[random.Random, bytearray, bytes], None]] = (
    flip_bits,
    set_octets,
    set_extreme_octets,
    set_length,
    truncate,
    remove,
    insert,
    duplicate,
    splice,
)


def giant(rng: random.Random, octets: bytes) -> bytes:
    """Fill the longest datagram there is with one short pattern, or with one datum."""
    room = LONGEST_DATAGRAM - len(octets)
    at = rng.randrange(len(octets) + 1)
    if rng.random() < 0.5:
        pattern = octets[at : at + rng.randint(1, 12)] or b"\x0e"
        return octets[:at] + (pattern * room)[:room] + octets[at:]
    first = rng.randrange(16) << 4 | rng.choice((0x05, 0x0D))
    head = bytes((first, 0xFE)) + (room - 4).to_bytes(2, "big")
    return octets[:at] + head + rng.randbytes(room - 4) + octets[at:]


def make_input(rng: random.Random, corpus: Mapping[str, Sequence[bytes]]) -> tuple[str, bytes]:
    """Make a case: for which decoder, and what it gets."""
    share = rng.random()
    if share < SHARE_OF_NOISE:
        return rng.choice(NAMES), rng.randbytes(rng.choice((1, 2, 3, 4, 6, 8, 12, 20, 48)))
    name = rng.choice(NAMES)
    valid = rng.choice(corpus[name])
    if share < SHARE_OF_NOISE + SHARE_OF_GIANTS:
        octets = bytearray(giant(rng, valid))
    else:
        octets = bytearray(valid)
        other = rng.choice(corpus[rng.choice(NAMES)])
        for _ in range(rng.randint(1, MOST_MUTATIONS)):
            if octets:
                rng.choice(MUTATIONS)(rng, octets, other)
    if octets and rng.random() < 0.8:
        mend_envelope(rng, octets, b"")
    if rng.random() < 0.1:
        name = rng.choice(NAMES)
    return name, bytes(octets)


def corpus_by_name() -> dict[str, list[bytes]]:
    corpus: dict[str, list[bytes]] = defaultdict(list)
    for name, octets in entries():
        corpus[name].append(octets)
    return corpus


def input_of(chunk: int, case: int, *, seed: int) -> bytes:
    """Make an input again."""
    rng = random.Random(f"{seed}:{chunk}")
    corpus = corpus_by_name()
    for _ in range(case):
        make_input(rng, corpus)
    return make_input(rng, corpus)[1]


def run_chunk(chunk: int, *, seed: int, total: int) -> Outcome:
    """Run the cases of one chunk, which depend on the seed and its number alone."""
    rng = random.Random(f"{seed}:{chunk}")
    corpus = corpus_by_name()
    taken: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    alarm = Alarm()
    try:
        for case in range(min(CASES_IN_A_CHUNK, total - chunk * CASES_IN_A_CHUNK)):
            name, octets = make_input(rng, corpus)
            alarm.case = case
            try:
                count = taken if accepts(DECODERS[name], octets) else refused
            except (Exception, TooLong):
                return Outcome(taken, refused, Failure(chunk, case, name, octets, traceback.format_exc()))
            count[name] += 1
    finally:
        alarm.stop()
    return Outcome(taken, refused)


def accepts(decoder: Callable[[bytes], object], octets: bytes) -> bool:
    """Tell whether a decoder takes octets; raises what it raises other than DecodeError, and TooLong."""
    for _ in range(TRIES):  # where others use the machine, too, even the processor's time is longer now and then
        start = time.process_time()
        try:
            decoder(octets)
            taken = True
        except DecodeError:
            taken = False
        if time.process_time() - start <= LONGEST_S:
            return taken
    raise TooLong(f"more than {LONGEST_S:g} s, {TRIES} times")


def run_one(octets: bytes) -> None:
    """Give one input to all decoders, and tell what they make of it; raises what they raise."""
    for name, decoder in DECODERS.items():
        start = time.process_time()
        try:
            said = str(decoder(octets) or "taken")
        except DecodeError as error:
            said = f"DecodeError: {error}"
        print(f"{name:32} {time.process_time() - start:8.4f} s  {said[:120]}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="of a run before; by default another each time")
    parser.add_argument("--jobs", type=int, default=1, help="processes; what is thrown does not depend on it")
    parser.add_argument("--input", metavar="HEX", help="give this one input to all decoders, and nothing else")
    parser.add_argument("--again", metavar="CHUNK:CASE", help="as --input, by its place in the run of a seed")
    return parser.parse_args()


def main() -> int:
    given = options()
    if given.input is not None:
        run_one(bytes.fromhex(given.input))
        return 0
    if given.again is not None:
        run_one(input_of(*map(int, given.again.split(":")), seed=given.seed))
        return 0
    seed = random.randrange(2**32) if given.seed is None else given.seed
    chunks = -(-given.cases // CASES_IN_A_CHUNK)
    print(f"{given.cases:,} cases, seed {seed}, {given.jobs} jobs", flush=True)
    taken: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    start = told = time.monotonic()
    with multiprocessing.Pool(given.jobs) as pool:
        work = partial(run_chunk, seed=seed, total=given.cases)
        for outcome in pool.imap_unordered(work, range(chunks)):
            taken += outcome.taken
            refused += outcome.refused
            if outcome.failure is not None:
                failure = outcome.failure
                print(failure.trace)
                print(f"FAILED: seed {seed}, chunk {failure.chunk}, case {failure.case}, decoder {failure.decoder}")
                print(f"again: --seed {seed} --again {failure.chunk}:{failure.case}")
                print(f"input: {failure.octets[:LONGEST_PRINTED].hex()}")
                return 1
            done = taken.total() + refused.total()
            if time.monotonic() - told > 10 or done == given.cases:
                told = time.monotonic()
                print(f"{done:>12,} cases  {done / (told - start):>9,.0f} a second", flush=True)
    for name in DECODERS:
        print(f"{name:32} {taken[name]:>10,} taken {refused[name]:>10,} refused")
    print(
        f"PASSED: {given.cases:,} cases, seed {seed}: {taken.total():,} taken, {refused.total():,} refused by "
        f"DecodeError, nothing else, none longer than {LONGEST_S:g} s, in {time.monotonic() - start:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
