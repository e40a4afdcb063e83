"""Finds the route of a path in a tree of segments: in as many steps as the path has, however many routes there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote

import attrs

T = TypeVar("T")

_PARAMETER = re.compile(r"{([a-zA-Z_]\w*)}")
_ESCAPED = re.compile("%(2F|25)", re.IGNORECASE)
_SPECIAL = re.compile(r"{([a-zA-Z_]\w*)(?::([^{}]*(?:{[^{}]*}[^{}]*)*))?}")


@attrs.define(eq=False)
class _Node(Generic[T]):
    """What may follow so many segments: a text, or any one segment; ``found`` what is at the path itself, by method."""

    literals: dict[str, _Node[T]] = attrs.field(factory=dict)
    parameter: _Node[T] | None = None
    found: dict[str, tuple[tuple[str, ...], T]] = attrs.field(factory=dict)


class Routing(Generic[T]):
    """A table of what is where: paths with ``{name}`` for one segment, or aiohttp's ``{name:expression}``.

    A literal segment goes before a parameter, and both before an expression.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._expressions: list[tuple[re.Pattern[str], dict[str, T]]] = []

    def add(self, method: str, path: str, target: T) -> None:
        """Enter a target; the first one at a method and path stays. Raises ValueError for a path that is none."""
        if not path.startswith("/"):
            raise ValueError(f"a path begins with /, unlike {path!r}")
        node, names = self._root, []
        for segment in path[1:].split("/"):
            parameter = _PARAMETER.fullmatch(segment)
            if parameter is not None:
                names.append(parameter[1])
                node.parameter = node = node.parameter or _Node()
            elif "{" in segment or "}" in segment:
                self._add_expression(method, path, target)
                return
            else:
                node = node.literals.setdefault(segment, _Node())
        if len(set(names)) < len(names):
            raise ValueError(f"{path} names a parameter twice")
        node.found.setdefault(method, (tuple(names), target))

    def _add_expression(self, method: str, path: str, target: T) -> None:
        pattern, end = "", 0
        for part in _SPECIAL.finditer(path):
            pattern += f"{re.escape(path[end : part.start()])}(?P<{part[1]}>{part[2] or '[^/]+'})"
            end = part.end()
        rest = path[end:]
        if "{" in rest or "}" in rest:
            raise ValueError(f"{path} has a brace too many")
        try:
            compiled = re.compile(pattern + re.escape(rest))
        except re.error as error:
            raise ValueError(f"{path} is no expression: {error}") from error
        for known, targets in self._expressions:
            if known.pattern == compiled.pattern:
                targets.setdefault(method, target)
                return
        self._expressions.append((compiled, {method: target}))

    def find(self, method: str, path: str) -> tuple[T, Mapping[str, str]] | None:
        """Return what is at a percent-encoded path, with its arguments decoded; None where nothing is."""
        if not path.startswith("/"):
            return None
        node, arguments = self._root, []
        for segment in _segments(path):
            following = node.literals.get(segment)
            if following is None:
                following = node.parameter
                if following is None or not segment:
                    break
                arguments.append(segment)
            node = following
        else:
            entry = node.found.get(method)
            if entry is not None:
                return entry[1], dict(zip(entry[0], arguments, strict=True)) if arguments else {}
        return self._search(method, path)

    def _search(self, method: str, path: str) -> tuple[T, Mapping[str, str]] | None:
        """Try every way, where going straight down along literals led nowhere."""
        for targets, arguments in self._matches(path):
            entry = targets.get(method)
            if entry is not None:
                names, target = entry
                return target, dict(zip(names, arguments, strict=True)) if names else {}
        return None

    def methods(self, path: str) -> set[str]:
        """Return the methods that something at a path takes."""
        return {method for targets, _arguments in self._matches(path) for method in targets}

    def _matches(self, path: str) -> Iterator[tuple[Mapping[str, tuple[tuple[str, ...], T]], list[str]]]:
        if not path.startswith("/"):
            return
        yield from _walk(self._root, _segments(path), 0, [])
        text = unquote(_ESCAPED.sub(r"%25\1", path))  # in which an encoded slash parts no segments
        for pattern, targets in self._expressions:
            match = pattern.fullmatch(text)
            if match is not None:
                named = match.groupdict("")
                names = tuple(named)
                arguments = [_ESCAPED.sub(lambda found: unquote(found[0]), value) for value in named.values()]
                yield {method: (names, target) for method, target in targets.items()}, arguments


def _segments(path: str) -> list[str]:
    segments = path[1:].split("/")
    return [unquote(segment) for segment in segments] if "%" in path else segments


def _walk(
    node: _Node[T], segments: list[str], at: int, arguments: list[str]
) -> Iterator[tuple[Mapping[str, tuple[tuple[str, ...], T]], list[str]]]:
    """Go down the tree, along literals first; a segment that is a parameter's is never empty."""
    while at < len(segments):
        segment = segments[at]
        literal = node.literals.get(segment)
        if node.parameter is not None and segment:
            if literal is not None:
                yield from _walk(literal, segments, at + 1, arguments)
            node, arguments = node.parameter, [*arguments, segment]
        elif literal is not None:
            node = literal
        else:
            return
        at += 1
    if node.found:
        yield node.found, arguments
