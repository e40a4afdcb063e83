"""How far a scan is, in objects: over all its devices, also those whose objects have not been counted yet."""

from __future__ import annotations

from core.plugin import ScanReport

_WORTH_TELLING = 50


class Progress:
    """Tells a report how many objects of ``devices`` have been read; the device object counts as one of them."""

    def __init__(self, report: ScanReport, devices: int) -> None:
        self._report = report
        self._devices = devices
        self._counted = 0
        self._objects = 0
        self._done = 0
        self._ended = 0
        self._told = 0
        self._tell()

    def began(self, objects: int) -> None:
        """Note how many objects a device has."""
        self._counted += 1
        self._objects += objects + 1

    def read(self, objects: int) -> None:
        """Note that so many more objects have been read."""
        self._done += objects
        if self._done - self._told >= _WORTH_TELLING:
            self._tell()

    def ended(self, left: int) -> None:
        """Note that a device is done with, whatever became of the objects that were left."""
        self._ended += 1
        self._done += left + 1
        self._tell()

    def _tell(self) -> None:
        mean = self._objects / self._counted if self._counted else 1.0
        total = round(self._objects + mean * (self._devices - self._counted))
        self._told = self._done
        self._report.progress("examine", self._done, total)
        self._report.counted(devices=self._devices, points=self._done - self._ended)


class Effort:
    """One device's part of it; to be ended, whatever becomes of the device."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._objects: int | None = None
        self._read = 0

    def began(self, objects: int) -> None:
        """Note how many objects there are to read."""
        self._objects = objects
        self._progress.began(objects)

    def read(self, share: float) -> None:
        """Note which share of all objects has been read by now."""
        read = int((self._objects or 0) * share)
        self._progress.read(read - self._read)
        self._read = read

    def end(self) -> None:
        """Be done, with or without all objects."""
        if self._objects is None:
            self.began(0)
        self._progress.ended((self._objects or 0) - self._read)
