"""Writes every sample that is recorded to files of lines of JSON, each once, for other programs to take up."""

from plugins.file_sink.plugin import FileSinkPlugin

__all__ = ["FileSinkPlugin"]
