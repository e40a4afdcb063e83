"""The files of samples: each delivery whole or not at all, whatever cut it off, and where to go on."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import CapturingLogger

from core.model import Device, Flag, Kind, Reason, Source
from core.plugin import Committed, Delivery, Lost, PointSamples, Position, Samples
from plugins.file_sink.errors import DirectoryInUse, FilesFailed
from plugins.file_sink.files import SampleFiles, good_part
from plugins.file_sink.lines import Commit, lines_of, read_commit

HERE = "0d6a1c3e"
TIME_MS = 1_790_000_000_123
POINT = Device("demo.a", "demo", "A").point("level", kind=Kind.NUMBER)


def samples(*values: float, **columns: Any) -> Samples:
    rows, nothing = len(values), bytes(len(values))
    return Samples(
        array("q", [TIME_MS] * rows), array("d", values),
        columns.get("reasons", nothing), columns.get("flags", nothing), columns.get("sources", nothing),
        columns.get("texts", {}), columns.get("integers", {}),
    )  # fmt: skip


def delivery(seq: int, *values: float, lost: Lost | None = None, **columns: Any) -> Delivery:
    """A delivery of one batch, of the point of slot 1."""
    given = values or (float(seq),)
    rows = PointSamples(array("I", [1] * len(given)), samples(*given, **columns))
    return Delivery(HERE, "local", (Committed(Position(1, seq), rows),), {1: POINT}, lost)


class Folder:
    """A directory of files, with what was logged about them."""

    def __init__(self, path: Path, *, rotate: float = 1e9, keep: int = 5) -> None:
        self.path = path
        self.log = CapturingLogger()
        self._bounds = {"rotate": rotate, "keep": keep}

    @contextmanager
    def open(self) -> Iterator[SampleFiles]:
        files = SampleFiles(self.path, log=self.log, **self._bounds)  # type: ignore[arg-type]
        files.open()
        try:
            yield files
        finally:
            files.close()

    def write(self, *seqs: int) -> None:
        with self.open() as files:
            for seq in seqs:
                files.append(lines_of(delivery(seq)))

    def position(self) -> Position | None:
        with self.open() as files:
            return files.position(HERE)

    @property
    def names(self) -> list[str]:
        return sorted(each.name for each in self.path.iterdir() if not each.name.startswith("."))

    @property
    def last(self) -> Path:
        return self.path / self.names[-1]

    @property
    def values(self) -> list[Any]:
        lines = [line for name in self.names for line in (self.path / name).read_bytes().splitlines()]
        return [line["value"] for line in map(json.loads, lines) if "value" in line]

    @property
    def events(self) -> list[str]:
        return [str(call.args[0]) for call in self.log.calls]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "samples")


# what is written


def test_each_sample_is_a_line_and_each_delivery_ends_with_its_commit(folder: Folder):
    with folder.open() as files:
        columns = {
            "reasons": bytes([0, Reason.FAULT]), "flags": bytes([0, Flag.FAULT | Flag.IN_ALARM]),
            "sources": bytes([Source.POLL, Source.TREND_LOG]),
        }  # fmt: skip
        files.append(lines_of(delivery(7, 21.5, float("nan"), **columns)))
        assert files.position(HERE) == Position(1, 7)
        assert files.position("another installation") is None
    good, bad, commit = map(json.loads, folder.last.read_bytes().splitlines())
    assert good == {
        "point_id": "demo.a.level", "slot": 1, "time": "2026-09-21T14:13:20.123Z", "value": 21.5, "quality": "good",
        "reason": None, "flags": [], "source": "poll",
    }  # fmt: skip
    assert [bad[name] for name in ("value", "quality", "reason", "flags", "source")] == [
        None, "bad", "fault", ["in_alarm", "fault"], "trend_log",
    ]  # fmt: skip
    assert {name: commit["commit"][name] for name in ("installation_id", "epoch", "seq", "samples")} == {
        "installation_id": HERE, "epoch": 1, "seq": 7, "samples": 2,
    }  # fmt: skip
    assert stat.S_IMODE(folder.last.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_point_that_was_deleted_has_no_id_and_a_loss_is_a_line():
    rows = PointSamples(array("I", [9]), samples(1.0))
    lost = Lost(Position(1, 1), Position(1, 3))
    found = Delivery(HERE, "local", (Committed(Position(1, 4), rows),), {}, lost)
    told, sample, _commit = map(json.loads, b"".join(lines_of(found)).splitlines())
    assert told == {"lost": {"first": {"epoch": 1, "seq": 1}, "last": {"epoch": 1, "seq": 3}}}
    assert (sample["point_id"], sample["slot"], sample["value"]) == (None, 9, 1.0)


@pytest.mark.parametrize(
    ("columns", "value"),
    [
        ({"texts": {0: 'a "b"\n{"commit":{}}\n'}}, 'a "b"\n{"commit":{}}\n'),
        ({"texts": {0: "\ud800"}}, "\ud800"),
        ({"integers": {0: 2**70}}, 2**70),
        ({"integers": {0: -(2**60) - 1}}, -(2**60) - 1),
    ],
    ids=["lines in a text", "half a character", "a large integer", "a small one"],
)
def test_any_value_is_one_line(columns: dict[str, Any], value: Any):
    lines = b"".join(lines_of(delivery(1, 1.0, **columns))).splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0])["value"] == value


def test_a_time_beyond_the_calendar_is_a_number():
    rows = PointSamples(array("I", [1]), Samples(array("q", [2**52]), array("d", [1.0]), b"\0", b"\0", b"\0"))
    found = Delivery(HERE, "local", (Committed(Position(1, 1), rows),), {})
    assert json.loads(next(lines_of(found)))["time"] == 2**52


# where to go on


def test_it_goes_on_where_the_last_commit_is(folder: Folder):
    assert folder.position() is None
    folder.write(1, 2)
    assert folder.position() == Position(1, 2)
    folder.write(3)
    assert folder.position() == Position(1, 3)
    assert folder.values == [1.0, 2.0, 3.0]
    assert folder.names == ["samples-00000001.ndjson"]
    assert folder.events == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_the_last_file_is_cut_it_is_mended_to_the_last_delivery_that_is_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    folder = Folder(tmp_path_factory.mktemp("cut") / "samples")
    folder.write(1, 2, 3)
    whole = folder.last.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    folder.last.write_bytes(whole[:cut] + data.draw(st.sampled_from([b"", b"\0\0\0", b'{"commit":', b"\xff\n"])))
    kept = sum(1 for end in range(cut + 1) if whole[:end].endswith(b"}}\n"))
    assert folder.position() == (Position(1, kept) if kept else None)
    folder.write(*range(kept + 1, 4))
    assert folder.last.read_bytes() == whole


def test_a_last_delivery_whose_checksum_is_wrong_is_cut_off_too(folder: Folder):
    folder.write(1, 2)
    content = folder.last.read_bytes()
    folder.last.write_bytes(content.replace(b'"value":2.0', b'"value":9.0'))
    assert folder.position() == Position(1, 1)
    assert folder.events == ["file_sink_cut"]
    folder.write(2)
    assert folder.last.read_bytes() == content


def test_a_file_that_is_damaged_further_back_is_set_aside_and_not_touched(folder: Folder):
    folder.write(1, 2, 3)
    content = folder.last.read_bytes().replace(b"\n", b"\r\n")
    folder.last.write_bytes(content)
    assert folder.position() is None
    assert folder.events == ["file_sink_damaged"]
    assert (folder.path / "samples-00000001.ndjson.damaged").read_bytes() == content
    folder.write(4)
    assert folder.position() == Position(1, 4)


def test_behind_a_file_that_was_set_aside_another_one_goes_on_from_the_file_before_it(tmp_path: Path):
    folder = Folder(tmp_path / "samples", rotate=600)
    folder.write(1, 2, 3, 4, 5, 6)
    assert folder.names == ["samples-00000001.ndjson", "samples-00000002.ndjson"]
    folder.last.write_bytes(folder.last.read_bytes().replace(b"\n", b" \n"))
    (known,) = {folder.position(), folder.position()}
    assert known is not None
    assert folder.events == ["file_sink_damaged"]
    folder.write(*range(known.seq + 1, 7))
    assert folder.names[1:] == ["samples-00000002.ndjson.damaged", "samples-00000003.ndjson"]
    (folder.path / folder.names[1]).unlink()
    assert folder.values == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_whatever_is_in_a_file_finding_the_good_part_of_it_ends(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(b'{"commit":' + content)
    with path.open("rb") as file:
        good = good_part(file.fileno(), path.stat().st_size)
    assert good.size == 0
    assert read_commit(content) is None


def test_a_commit_s_line_is_read_as_it_was_written():
    commit = Commit(HERE, Position(3, 9), 12, 345, 678)
    assert read_commit(commit.line()) == commit


# finishing files


def test_a_full_file_is_finished_with_a_commit_and_the_next_begins_with_it(tmp_path: Path):
    folder = Folder(tmp_path / "samples", rotate=1, keep=2)
    folder.write(1, 2, 3, 4)
    assert folder.names == [f"samples-0000000{number}.ndjson" for number in (2, 3, 4)]
    first, *_rest, last = map(json.loads, folder.last.read_bytes().splitlines())
    assert (first["commit"]["seq"], last["commit"]["seq"]) == (3, 4)
    assert folder.values == [2.0, 3.0, 4.0]
    assert folder.position() == Position(1, 4)


def test_a_file_that_was_only_begun_goes_on_from_the_one_before(tmp_path: Path):
    folder = Folder(tmp_path / "samples", rotate=1)
    folder.write(1, 2)
    (folder.path / "samples-00000003.ndjson").write_bytes(b'{"comm')
    assert folder.position() == Position(1, 2)
    folder.write(3)
    assert folder.values == [1.0, 2.0, 3.0]


def test_finished_files_may_be_moved_away(tmp_path: Path):
    folder = Folder(tmp_path / "samples", rotate=1)
    folder.write(1, 2, 3)
    for name in folder.names[:-1]:
        (folder.path / name).unlink()
    assert folder.position() == Position(1, 3)


# what the disk does


def test_two_cannot_write_to_one_directory(folder: Folder):
    with folder.open(), pytest.raises(DirectoryInUse, match="another `directory`"), folder.open():
        pass
    folder.write(1)


def test_a_directory_is_made_but_not_what_it_stands_in(tmp_path: Path):
    missing = Folder(tmp_path / "disk" / "samples")
    with pytest.raises(FilesFailed, match="No such file"), missing.open():
        pass


def test_a_file_that_was_moved_away_is_noticed_before_more_is_written_to_it(folder: Folder):
    with folder.open() as files:
        files.append(lines_of(delivery(1)))
        folder.last.rename(folder.path / "elsewhere")
        with pytest.raises(FilesFailed, match="No such file"):
            files.append(lines_of(delivery(2)))


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
from test_files import Folder, delivery, lines_of
from plugins.file_sink.errors import FilesFailed

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Folder(Path({path!r}))
folder.write(1)
size = folder.last.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, -1))
with folder.open() as files:
    try:
        files.append(lines_of(delivery(2)))
    except FilesFailed as error:
        print(error)
assert folder.last.stat().st_size == size
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
folder.write(2)
print(folder.values)
"""


def test_where_the_disk_is_full_nothing_is_left_of_the_delivery_and_it_goes_on_when_there_is_room(tmp_path: Path):
    """A limit on the size of files stands for the disk; it holds for a process, so that is another one."""
    here = Path(__file__)
    script = FULL.format(root=str(here.parents[3]), here=str(here.parent), path=str(tmp_path / "samples"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said, values = done.stdout.splitlines()
    assert os.strerror(errno.EFBIG) in said
    assert "goes on by itself" in said
    assert values == "[1.0, 2.0]"
