"""The plugin of files of samples: one sink, whose writing is done in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from core.plugin import Delivery, Plugin, Position, Sink, hookimpl
from plugins.file_sink.config import MIB, SCHEMA, FileSinkConfig
from plugins.file_sink.files import SampleFiles
from plugins.file_sink.lines import lines_of


class FileReceiver:
    """A connection to a directory; what it does is done in a thread of its own, one thing after the other."""

    def __init__(self, files: SampleFiles, thread: ThreadPoolExecutor, installation_id: str) -> None:
        self._files = files
        self._thread = thread
        self._installation_id = installation_id

    async def position(self) -> Position | None:
        return self._files.position(self._installation_id)

    async def deliver(self, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, lambda: self._files.append(lines_of(delivery)))


class FileSinkPlugin(Plugin[FileSinkConfig]):
    """Every recorded sample in files of lines of JSON, each once, in the order in which they were committed."""

    schema = SCHEMA
    config_class = FileSinkConfig
    api_version = 4

    @hookimpl
    def register_sinks(self) -> Iterable[Sink]:
        return [Sink("files", self._connected)]

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[FileReceiver]:
        """Have the directory open; whatever is still being written ends before it is closed."""
        config, loop = self.config, asyncio.get_running_loop()
        directory = self.ctx.data_dir / config.directory
        files = SampleFiles(directory, rotate=config.rotate_mib * MIB, keep=config.keep_files, log=self.ctx.log)
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"{self.ctx.name}:files")
        try:
            await loop.run_in_executor(thread, files.open)
            yield FileReceiver(files, thread, self.ctx.installation_id)
        finally:
            closing = thread.submit(files.close)
            thread.shutdown(wait=False)
            await asyncio.wrap_future(closing)
