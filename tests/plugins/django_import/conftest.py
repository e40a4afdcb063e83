"""The command as a person calls it, on files and data directories of the test's own."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest

from core.cli import main
from core.clock import SystemClock
from core.registry import Registry
from plugins.django_import.known import looked_at


@attrs.frozen
class Outcome:
    """What the command said and answered."""

    code: int
    out: list[str]
    err: str

    def starting(self, sign: str) -> list[str]:
        """The lines of one sort: new (+), told otherwise (~), refused (!)."""
        return [line[2:] for line in self.out if line.startswith(f"{sign} ")]


class Household:
    """A data directory and the files beside it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._capsys = capsys

    def file(self, name: str, content: object) -> Path:
        """Write a file: bytes and text as they are, anything else as JSON."""
        path = self.folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def run(self, file: Path, *options: str) -> Outcome:
        code = main(["--data-dir", str(self.data), "import-django", str(file), *options])
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out.splitlines(), captured.err)

    def apply(self, name: str, content: object, *options: str) -> Outcome:
        return self.run(self.file(name, content), "--apply", *options)

    def registry(self) -> Registry:
        """What the directory knows."""

        async def look() -> Registry:
            async with looked_at(self.data, SystemClock()) as registry:
                return registry

        return asyncio.run(look())

    def rows(self) -> list[list[Any]]:
        """Everything that is stored."""
        with sqlite3.connect(self.data / "plantroom.sqlite3") as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = [list(connection.execute(f"SELECT * FROM {table} ORDER BY 1")) for table in sorted(tables)]
        connection.close()
        return rows


@pytest.fixture
def household(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Household:
    monkeypatch.chdir(tmp_path)
    return Household(tmp_path, capsys)
