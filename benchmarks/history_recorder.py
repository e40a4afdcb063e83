"""The contender that keeps samples by SQLAlchemy's ORM, in a table laid out as that of Home Assistant's recorder.

`python benchmarks/history_recorder.py DATABASE`: each sample is a row of states, with the id of the row before and with
five indexes; what came in a second is committed together. `load` fills the table at once, and makes the indexes then.
"""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Float, ForeignKey, Identity, Index, LargeBinary, SmallInteger, String, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from benchmarks.history_measures import Written
from benchmarks.history_process import serve
from benchmarks.history_rows import House, Read, Row
from benchmarks.history_tables import LOADING, rows_of

COMMIT_EVERY_S = 1.0


class Table(DeclarativeBase):
    """All tables."""


class StatesMeta(Table):
    """What a state is of."""

    __tablename__ = "states_meta"
    metadata_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    entity_id: Mapped[str | None] = mapped_column(String(255), index=True, unique=True)


class StateAttributes(Table):
    """What else a state says; equal ones are there once."""

    __tablename__ = "state_attributes"
    attributes_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    hash: Mapped[int | None] = mapped_column(index=True)
    shared_attrs: Mapped[str | None]


class States(Table):
    """A state at a time; older releases' columns, which are there and empty, are in the table as well."""

    __tablename__ = "states"
    __table_args__ = (Index("ix_states_metadata_id_last_updated_ts", "metadata_id", "last_updated_ts"),)
    state_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    entity_id: Mapped[str | None]
    state: Mapped[str | None] = mapped_column(String(255))
    attributes: Mapped[str | None]
    event_id: Mapped[int | None] = mapped_column(SmallInteger)
    last_changed: Mapped[str | None]
    last_changed_ts: Mapped[float | None] = mapped_column(Float)
    last_reported_ts: Mapped[float | None] = mapped_column(Float)
    last_updated: Mapped[str | None]
    last_updated_ts: Mapped[float | None] = mapped_column(Float, index=True)
    old_state_id: Mapped[int | None] = mapped_column(ForeignKey("states.state_id"), index=True)
    attributes_id: Mapped[int | None] = mapped_column(ForeignKey("state_attributes.attributes_id"), index=True)
    context_id: Mapped[str | None]
    context_user_id: Mapped[str | None]
    context_parent_id: Mapped[str | None]
    origin_idx: Mapped[int | None] = mapped_column(SmallInteger)
    context_id_bin: Mapped[bytes | None] = mapped_column(LargeBinary(16), index=True)
    context_user_id_bin: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    context_parent_id_bin: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    metadata_id: Mapped[int | None] = mapped_column(ForeignKey("states_meta.metadata_id"))
    old_state: Mapped["States | None"] = relationship("States", remote_side=[state_id])


class Recorder:
    """Writes states from one thread, as they come."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._engine = create_engine(f"sqlite:///{database}")
        event.listen(self._engine, "connect", _prepare)
        Table.metadata.create_all(self._engine)
        self._newest: dict[int, int] = {}  # the id of the last row of each point
        self._houses: dict[str, House] = {}

    async def load(self, house: str, end_minute: int) -> Mapping[str, Any]:
        """Fill the table with all up to a minute."""
        indexes = [*States.__table__.indexes]
        for index in indexes:
            index.drop(self._engine)
        source = self._house(house)
        self._engine.dispose()
        with sqlite3.connect(self._database) as connection:
            connection.executescript(LOADING)
            points = range(1, source.points + 1)
            connection.executemany(
                "INSERT INTO states_meta VALUES (?, ?)", ((point, f"sensor.{point}") for point in points)
            )
            connection.execute("INSERT INTO state_attributes VALUES (1, 1, '{}')")
            connection.executemany(
                "INSERT INTO states (state, last_updated_ts, old_state_id, attributes_id, origin_idx, context_id_bin, "
                "metadata_id) VALUES (?, ?, ?, 1, 0, ?, ?)",
                self._states(rows_of(source, 0, end_minute)),
            )
        connection.close()
        for index in indexes:
            index.create(self._engine)
        self._engine.dispose()
        with sqlite3.connect(self._database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        return {}

    def _states(self, rows: Iterable[Row]) -> Iterator[tuple[object, ...]]:
        for number, (point, time_ms, value, _reason, _flags, _source) in enumerate(rows, 1):
            yield _text(value), time_ms / 1000, self._newest.get(point), os.urandom(16), point + 1
            self._newest[point] = number

    async def arrive(self, house: str, first_minute: int, end_minute: int) -> Mapping[str, Any]:
        """Take some minutes as fast as they can be taken, until they are safe."""
        reads = [*self._house(house).reads(first_minute, end_minute)]
        written = Written()
        began, cpu = time.perf_counter(), time.process_time()
        self._record(reads)
        return {
            "seconds": time.perf_counter() - began,
            "cpu_s": time.process_time() - cpu,
            **written.answer(),
        }

    def _record(self, reads: Sequence[Read]) -> None:
        pending: dict[int, States] = {}
        with Session(self._engine) as session:
            committed = time.monotonic()
            for read in reads:
                for point, time_ms, value, _reason, _flags, _source in read.rows():
                    state = States(
                        state=_text(value),
                        last_updated_ts=time_ms / 1000,
                        attributes_id=1,
                        origin_idx=0,
                        context_id_bin=os.urandom(16),
                        metadata_id=point + 1,
                    )
                    if point in pending:
                        state.old_state = pending[point]
                    else:
                        state.old_state_id = self._newest.get(point)
                    pending[point] = state
                    session.add(state)
                if time.monotonic() - committed >= COMMIT_EVERY_S:
                    self._commit(session, pending)
                    committed = time.monotonic()
            self._commit(session, pending)

    def _commit(self, session: Session, pending: dict[int, States]) -> None:
        session.flush()
        self._newest.update((point, state.state_id) for point, state in pending.items())
        session.commit()
        session.expunge_all()
        pending.clear()

    def _house(self, folder: str) -> House:
        return self._houses.setdefault(folder, House(Path(folder)))


def _prepare(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _text(value: float | str | None) -> str:
    return "unavailable" if value is None else str(value)


def main() -> None:
    recorder = Recorder(Path(sys.argv[1]))
    asyncio.run(serve({"load": recorder.load, "arrive": recorder.arrive}))


if __name__ == "__main__":
    main()
