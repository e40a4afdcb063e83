"""Streams the past of points, however long it is, as fast as the client reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from aiohttp import web

from core.api.history.buckets import bucket_rows
from core.api.history.lines import Csv, JsonLines
from core.api.history.parquet import Parquet
from core.api.history.questions import Asked, check_size
from core.api.history.rows import sample_rows
from core.errors import NotAcceptable
from core.media_types import preferred
from core.routes import Media
from core.services import History

JSON = "application/json"
STREAMED = (JsonLines.media_type, Csv.media_type, Parquet.media_type)
ANSWERS_ALSO = (
    Media(
        JsonLines.media_type,
        '{"time":"2026-01-31T12:00:00.000Z","value":21.5,"quality":"good","flags":[],"source":"poll"}\n',
    ),
    Media(
        Csv.media_type,
        "time,value,text,quality,reason,flags,source\r\n2026-01-31T12:00:00.000Z,21.5,,good,,,poll\r\n",
    ),
    Media(Parquet.media_type, "PAR1 (a binary file)"),
)
VARY = {"Vary": "Accept"}
"""Of all answers that depend on the Accept header."""


class Format(Protocol):
    """A media type that rows can be written in one after the other."""

    media_type: str
    file_name: str

    async def begin(self) -> bytes:
        """Write what comes before the rows; may refuse the question."""
        ...

    async def rows(self, rows: Sequence[Any]) -> bytes:
        """Write some rows, or keep them for later."""
        ...

    async def end(self) -> bytes:
        """Write what comes behind the rows."""
        ...


def media_type_of(request: web.Request) -> str:
    """Return the media type that a request is to be answered in; raises NotAcceptable."""
    chosen = preferred(request.headers.getall("Accept", ()), (JSON, *STREAMED))
    if chosen is None:
        raise NotAcceptable(f"Accept {', '.join((JSON, *STREAMED[:-1]))} or {STREAMED[-1]}.")
    return chosen


def rows_of(history: History, asked: Asked) -> AsyncGenerator[Sequence[Any], None]:
    """Read the rows of a question, a few at a time."""
    return bucket_rows(history, asked) if asked.aggregated else sample_rows(history, asked)


async def stream(request: web.Request, history: History, asked: Asked, media_type: str) -> web.StreamResponse:
    """Answer all rows of a question.

    What is wrong before the first of them is refused as ever; what fails later cuts the connection, so that no answer
    seems complete that is not. A client that reads slowly is read for slowly. Raises Invalid, NotAcceptable.
    """
    check_size(asked)
    written = _format(asked, media_type)
    async with aclosing(rows_of(history, asked)) as blocks, aclosing(_parts(written, blocks, asked.limit)) as parts:
        first = await anext(parts)
        named = {"Content-Disposition": f'attachment; filename="{written.file_name}"'}
        response = web.StreamResponse(headers={**VARY, **named})
        response.content_type = media_type
        if media_type.startswith("text/"):
            response.charset = "utf-8"
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(first)
            async for part in parts:
                await response.write(part)
                await asyncio.sleep(0)  # writing does not wait while the client keeps up
        await response.write_eof()
    return response


async def _parts(
    written: Format, blocks: AsyncIterator[Sequence[Any]], limit: int | None
) -> AsyncGenerator[bytes, None]:
    """Write blocks of rows, the beginning together with the first of them, and no more rows than so many."""
    part = await written.begin()
    async for block in blocks:
        rows = block if limit is None else block[:limit]
        part += await written.rows(rows)
        if limit is not None:
            limit -= len(rows)
            if not limit:
                break
        if part:
            yield part
        part = b""
    yield part + await written.end()


def _format(asked: Asked, media_type: str) -> Format:
    if media_type == Csv.media_type:
        return Csv(asked)
    if media_type == JsonLines.media_type:
        return JsonLines(asked)
    return Parquet(asked, otherwise=STREAMED[:-1])
