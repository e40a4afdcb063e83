"""Configuration as plain data that knows where each piece was written, and says what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import voluptuous as vol

from core import schemas
from core.errors import ConfigError
from core.security import Secret, mask

KeyPath: TypeAlias = tuple[Any, ...]
"""The way to a value: keys of mappings and indexes of lists, from the top."""


@attrs.frozen
class Mark:
    """A place in a file; lines count from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@attrs.frozen
class Fault:
    """One mistake: where it stands, which value it is about, what to do about it."""

    mark: Mark
    path: KeyPath
    text: str

    def __str__(self) -> str:
        return f"{self.mark}: {dotted(self.path)}: {self.text}" if self.path else f"{self.mark}: {self.text}"


class Broken:
    """Stands for a value that could not be read; its mistake is told already, so nothing more is said about it."""

    def __repr__(self) -> str:
        return "(not readable)"


@attrs.frozen(eq=False)
class Source:
    """Plain data, and the place of every value.

    ``outside`` are the paths of values that come from the environment, ``secret_files`` the files that secrets come
    from. ``faults`` are the mistakes found while reading; ``complete`` is false where a whole file was lost to one, so
    that nothing can be said about what seems to be missing.
    """

    data: Any
    marks: Mapping[KeyPath, Mark]
    faults: tuple[Fault, ...] = ()
    complete: bool = True
    outside: frozenset[KeyPath] = frozenset()
    secret_files: tuple[Path, ...] = ()

    def where(self, path: KeyPath | str) -> str:
        """Say ``file:line`` of a value, or of what should hold it; a text path has dots: ``plugins.bacnet``."""
        return str(self.mark(tuple(path.split(".")) if isinstance(path, str) else path))

    def mark(self, path: KeyPath) -> Mark:
        """Find the place of a value, or of the nearest thing around it."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def at(self, path: KeyPath) -> Any:
        """Return the value at a path; None where there is none."""
        return _inside(self.data, path)

    def fault(self, path: KeyPath, text: str) -> Fault:
        """Say what is wrong with the value at a path."""
        return Fault(self.mark(path), path, text)

    def problems(self, schema: Any, at: KeyPath = (), *, without: Collection[str] = ()) -> list[str]:
        """List, one line each, what keeps the part at a path from satisfying a voluptuous schema."""
        return [str(fault) for fault in self.validate(schema, at, without=without)[1]]

    def check(self, schema: Any, at: KeyPath = (), *, without: Collection[str] = ()) -> Any:
        """Return the part at a path as the schema makes it; raises ConfigError with every mistake.

        An absent part counts as an empty mapping. Keys named in ``without`` are left out before.
        """
        checked, faults = self.validate(schema, at, without=without)
        raise_for([*self.faults, *faults])
        return checked

    def validate(self, schema: Any, at: KeyPath = (), *, without: Collection[str] = ()) -> tuple[Any, list[Fault]]:
        """Return the part at a path as the schema makes it (None if it cannot), and every mistake in it.

        A `Secret` in the place of an option that takes plain text is revealed to it.
        """
        data = self.at(at)
        data = {} if data is None else data
        if without and isinstance(data, Mapping):
            data = {key: value for key, value in data.items() if key not in without}
        checked, errors = schemas.apply(schema, data)
        secrets = [path for path in map(schemas.path_of, errors) if isinstance(_inside(data, path), Secret)]
        if secrets:
            data = _revealed(data, secrets)
            checked, errors = schemas.apply(schema, data)
        faults = []
        for error in errors:
            path = (*at, *schemas.path_of(error))
            if self._is_news(error, path):
                text = mask(_told(schema, error, data=data, also_known=without), self.at(at))
                faults.append(Fault(self.mark(path), path, text))
        return checked, faults

    def _is_news(self, error: vol.Invalid, path: KeyPath) -> bool:
        if isinstance(error, vol.RequiredFieldInvalid) and not self.complete:
            return False
        return not any(isinstance(self.at(path[:length]), Broken) for length in range(len(path) + 1))


def raise_for(faults: Iterable[Fault]) -> None:
    """Raise ConfigError with all mistakes, those of each file in the order of its lines; not, if there are none."""
    unique = list(dict.fromkeys(faults))
    if unique:
        files = list(dict.fromkeys(fault.mark.file for fault in unique))
        unique.sort(key=lambda fault: (files.index(fault.mark.file), fault.mark.line))
        raise ConfigError([str(fault) for fault in unique])


def dotted(path: KeyPath) -> str:
    """Write a path as people do: ``plugins.bacnet.networks[0].address``."""
    parts = [f"[{part}]" if isinstance(part, int) and index else f".{part}" for index, part in enumerate(path)]
    return "".join(parts).removeprefix(".")


def suggestion(given: object, known: Iterable[object], *, what: str) -> str:
    """Add to "unknown ..." what may have been meant: ``; did you mean 'interval'?``, or else all there is."""
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(str(given), names, 1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; {what} are {', '.join(names)}" if names else f"; there are no {what}"


def _told(schema: Any, error: vol.Invalid, *, data: Any, also_known: Collection[str]) -> str:
    path = schemas.path_of(error)
    if error.error_message == "required key not provided":
        return "this option is missing; give it a value"
    if error.error_message == "extra keys not allowed":
        known = schemas.known_keys(schema, path[:-1]).union(also_known if len(path) == 1 else ())
        return "unknown option" + suggestion(path[-1], known, what="options")
    text, given = _in_words(error.error_message), _inside(data, path)
    if text.startswith("expected ") and isinstance(given, str | int | float | None):
        text += f", not {_as_yaml(given)}"
    return text


def _inside(value: Any, path: KeyPath) -> Any:
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _revealed(data: Any, paths: Collection[KeyPath], at: KeyPath = ()) -> Any:
    if isinstance(data, Mapping):
        return {key: _revealed(value, paths, (*at, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [_revealed(value, paths, (*at, index)) for index, value in enumerate(data)]
    return data.reveal() if isinstance(data, Secret) and at in paths else data


_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number with a decimal point",
    "bool": "true or false",
    "dict": "a mapping (`key: value` lines)",
    "a dictionary": "a mapping (`key: value` lines)",
    "list": "a list (`- item` lines)",
    "a list": "a list (`- item` lines)",
}


def _in_words(message: str) -> str:
    """Turn voluptuous' names of types into those of people who write YAML."""
    if message == "not a valid value":
        return "expected another value"
    return re.sub(r"^expected (.+)$", lambda found: f"expected {_WORDS.get(found[1], found[1])}", message)


def _as_yaml(value: str | float | None) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "...")
        case _:
            return str(value)
