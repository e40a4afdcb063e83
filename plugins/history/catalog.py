"""The catalog: which partitions there are, and how each of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import attrs

from plugins.history.databases import (
    BESIDE,
    DAMAGED,
    UNFINISHED,
    opened_to_read,
    removed,
    rolled_back,
    translated,
)
from plugins.history.errors import DamagedHistory, HistoryError
from plugins.history.spans import Span, span_labelled

SUFFIX = ".sqlite3"
REWRITTEN, ROLLED = "rewritten", "rolled"
"""What is noted in a file: that it is compact and in order, and that its roll-ups are made."""
ROLLUP = "rollup-"


@attrs.frozen(order=True)
class Key:
    """Which partition: its time, and the class of its points; ``generation`` grows as it is written anew."""

    span: Span
    class_name: str
    generation: int = 0

    @property
    def file_name(self) -> str:
        """The name of its file: ``2026-11-23.week.0.sqlite3``."""
        return f"{self.span.label}.{self.generation}{SUFFIX}"

    @property
    def is_rollup(self) -> bool:
        """Whether it has roll-ups, not samples."""
        return self.class_name.startswith(ROLLUP)


class Catalog:
    """Which partitions there are; what it says is replaced, never changed, so that any thread may look.

    ``compact`` are those of samples that are `rewritten` as their time is over, ``rolled`` those of them whose roll-ups
    are made, ``suspects`` those that did not read as they were written, and how that showed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: tuple[Key, ...] = ()
        self.compact: frozenset[Key] = frozenset()
        self.rolled: frozenset[Key] = frozenset()
        self.suspects: Mapping[Key, str] = {}
        self.version = 0

    def refresh(self) -> None:
        """See what is in the folder, and delete what a newer generation has taken the place of, and what is left over.

        Raises HistoryError.
        """
        newest: dict[tuple[Span, str], Key] = {}
        with translated(self.folder):
            for key in sorted(filter(None, map(_key_of, self.folder.glob(f"*/*{SUFFIX}")))):
                older = newest.get((key.span, key.class_name))
                if older is not None:
                    _tried(removed, self.path(older))
                newest[key.span, key.class_name] = key
            for unfinished in self.folder.glob(f"*/*{UNFINISHED}"):
                _tried(removed, unfinished)
        self._use(newest.values())
        for key in self.keys:
            with suppress(HistoryError):  # whoever asks for what is in it is told
                rolled_back(self.path(key))
            if key.generation and not key.is_rollup:
                self._look_at(key)

    def _look_at(self, key: Key) -> None:
        try:
            facts = _facts(self.path(key))
        except DamagedHistory as error:
            self.suspect(key, error)
        except HistoryError:  # by the time that it is needed it may be read again
            return
        else:
            if facts.get(REWRITTEN):
                self.note_compact(key, rolled=bool(facts.get(ROLLED)))

    def samples(self) -> list[Key]:
        """Return the partitions of samples, by time."""
        return [key for key in self.keys if not key.is_rollup]

    def note_compact(self, key: Key, *, rolled: bool) -> None:
        """Note that a partition is rewritten, and whether its roll-ups are made."""
        self.compact |= {key}
        self.rolled = self.rolled | {key} if rolled else self.rolled - {key}

    def note_grown(self, key: Key) -> None:
        """Note that a partition has something new, so that it is to be rewritten, and its roll-ups made anew."""
        self.compact -= {key}
        self.rolled -= {key}

    def unroll(self, keys: Iterable[Key]) -> None:
        """Note that the roll-ups of partitions are to be made anew."""
        self.rolled -= set(keys)

    def suspect(self, key: Key, error: DamagedHistory) -> None:
        """Note that a partition does not read as it was written."""
        if key in self.keys and key not in self.suspects:
            self.suspects = {**self.suspects, key: str(error)}

    def path(self, key: Key) -> Path:
        """Return where a partition's file is."""
        return self.folder / key.class_name / key.file_name

    def current(self, span: Span, class_name: str) -> Key:
        """Return a partition as it is now, or would be if it were made."""
        there = [key for key in self.keys if key.span == span and key.class_name == class_name]
        return there[0] if there else Key(span, class_name)

    def note(self, key: Key) -> None:
        """Note that a partition is there, instead of what it was."""
        self._use([key, *(each for each in self.keys if not _same(each, key))])

    def forget(self, key: Key) -> None:
        """Note that a partition is not there any more."""
        self._use([each for each in self.keys if not _same(each, key)])

    def drop(self, key: Key) -> None:
        """Delete a partition."""
        self.forget(key)
        with translated(self.path(key)):
            removed(self.path(key))

    def _use(self, keys: Iterable[Key]) -> None:
        keys = tuple(sorted(set(keys)))
        if keys != self.keys:
            self.keys = keys
            self.compact &= set(keys)
            self.rolled &= set(keys)
            self.suspects = {key: wrong for key, wrong in self.suspects.items() if key in keys}
            self.version += 1

    def damaged(self) -> list[str]:
        """Return the files that were put aside, by their names in the folder."""
        aside = [path for path in self.folder.glob(f"**/*{DAMAGED}-*") if not path.name.endswith(("-wal", "-shm"))]
        return sorted(path.relative_to(self.folder).as_posix() for path in aside)

    def drop_damaged(self, name: str) -> None:
        """Delete a file that was put aside, by the name that `damaged` gave."""
        with translated(self.folder / name):
            removed(self.folder / name)

    def size_of(self, key: Key) -> int:
        """Return the bytes of a partition's file and what belongs to it."""
        path = self.path(key)
        return sum(_size(path.with_name(path.name + suffix)) for suffix in BESIDE)

    def size(self) -> int:
        """Return the bytes of all files of the history."""
        return sum(_size(path) for path in self.folder.glob("**/*") if path.is_file())


def _key_of(path: Path) -> Key | None:
    """Return which partition's a file is; None for one that is none."""
    label, _dot, generation = path.name.removesuffix(SUFFIX).rpartition(".")
    span = span_labelled(label)
    return Key(span, path.parent.name, int(generation)) if span is not None and generation.isdecimal() else None


def _same(one: Key, other: Key) -> bool:
    """Tell whether two are the same partition, of whatever generation."""
    return one.span == other.span and one.class_name == other.class_name


def _tried(work: Callable[[Path], None], path: Path) -> None:
    """Do something that can be done another time where the disk does not let us now."""
    with suppress(OSError):
        work(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _facts(path: Path) -> dict[str, int]:
    with translated(path), closing(opened_to_read(path)) as connection:
        return dict(connection.execute("SELECT name, value FROM fact"))
