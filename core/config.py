"""Reads YAML files into plain data and remembers the file and line of every value."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml

from core import environment
from core.security import Secret
from core.source import Broken, Fault, KeyPath, Mark, Source, suggestion

__all__ = ["Mark", "Source", "load"]

SECRETS_FILE = "secrets.yaml"
MAX_DEPTH = 50
MAX_VALUES = 100_000
MAX_BYTES = 4 * 1024 * 1024


def load(paths: Sequence[Path], *, environ: Mapping[str, str] | None = None) -> Source:
    """Read files, each overlaying those before it: mappings are merged, everything else is replaced.

    Nothing is raised for what is wrong in the files: it is in the source's ``faults``, all of it. ``environ`` is what
    ``!env`` looks into, the process's own environment unless given.
    """
    reader = _Reader(os.environ if environ is None else environ)
    top, complete = _Tree({}, Mark(paths[0] if paths else Path(), 1)), True
    for path in paths:
        tree = reader.file(path, (), at=Mark(path, 1))
        if isinstance(tree.value, dict):
            top = _overlay(top, tree)
        elif isinstance(tree.value, Broken):
            complete = False
        elif tree.value is not None:
            reader.fault(tree.mark, (), "the file must be a mapping (`key: value` lines), such as `plugins:`")
    marks: dict[KeyPath, Mark] = {}
    outside: set[KeyPath] = set()
    data = _flatten(top, (), marks, outside)
    files = reader.secret_files
    return Source(data, marks, tuple(reader.faults), complete=complete, outside=frozenset(outside), secret_files=files)


@attrs.frozen
class _Tree:
    """A value and its place; mappings and lists hold further trees. ``outside``: it comes from the environment."""

    value: Any
    mark: Mark
    outside: bool = False


def _overlay(base: _Tree, over: _Tree) -> _Tree:
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, tree in over.value.items():
        merged[key] = _overlay(merged[key], tree) if key in merged else tree
    return _Tree(merged, over.mark)


def _flatten(tree: _Tree, path: KeyPath, marks: dict[KeyPath, Mark], outside: set[KeyPath]) -> Any:
    marks[path] = tree.mark
    if tree.outside:
        outside.add(path)
    if isinstance(tree.value, dict):
        return {key: _flatten(inner, (*path, key), marks, outside) for key, inner in tree.value.items()}
    if isinstance(tree.value, list):
        return [_flatten(inner, (*path, index), marks, outside) for index, inner in enumerate(tree.value)]
    return tree.value


class _Resolver(yaml.resolver.BaseResolver):
    """Tells text from numbers as YAML 1.2 does: `no`, `12:30` and `2024-01-01` are text."""


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Resolver.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


class _Composer(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer, _Resolver):
    """PyYAML's parser up to nodes, with a bound on how deep they may be nested; nothing is constructed."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        _Resolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"nested more than {MAX_DEPTH} deep", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


@attrs.frozen
class _Place:
    """Where in which file the reader is, and through which files it came there."""

    file: Path
    path: KeyPath
    files: tuple[Path, ...]

    def into(self, key: Any) -> _Place:
        return attrs.evolve(self, path=(*self.path, key))

    def mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1)


_STANDARD = "tag:yaml.org,2002:"


class _Reader:
    """Turns files into trees, and collects what is wrong on the way."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.faults: list[Fault] = []
        self._environ = environ
        self._values = 0
        self._secrets: dict[Path, Mapping[Any, _Tree] | None] = {}
        self._open_nodes: set[int] = set()

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files that secrets were taken from."""
        return tuple(self._secrets)

    def fault(self, mark: Mark, path: KeyPath, text: str) -> _Tree:
        """Note a mistake and return what stands in the place of the value."""
        self.faults.append(Fault(mark, path, text))
        return _Tree(Broken(), mark)

    def file(self, file: Path, path: KeyPath, *, at: Mark, files: tuple[Path, ...] = ()) -> _Tree:
        """Read one file for the place ``path``; ``at`` is where it is asked for, ``files`` those that led to it."""
        resolved = file.resolve()
        if resolved in files:
            names = " -> ".join(each.name for each in (*files[files.index(resolved) :], resolved))
            return self.fault(at, path, f"these files include each other in a circle: {names}; remove one !include")
        text = ""
        try:
            text = _text_of(file)
            node = _Composer(text).get_single_node()
        except (OSError, _Unreadable, yaml.YAMLError) as error:
            line, problem = _explained(error, file, text)
            return self.fault(at if line is None else Mark(file, line), path if line is None else (), problem)
        place = _Place(file, path, (*files, resolved))
        return _Tree(None, Mark(file, 1)) if node is None else self._tree(node, place)

    def _tree(self, node: yaml.Node, place: _Place) -> _Tree:
        mark = place.mark(node)
        self._values += 1
        if self._values > MAX_VALUES:
            if self._values == MAX_VALUES + 1:
                self.fault(mark, place.path, f"more than {MAX_VALUES} values, aliases counted each time; use fewer")
            return _Tree(Broken(), mark)
        if len(self._open_nodes) > 2 * MAX_DEPTH:
            return self.fault(mark, place.path, f"nested more than {2 * MAX_DEPTH} deep, includes and aliases counted")
        if id(node) in self._open_nodes:
            return self.fault(mark, place.path, "this alias stands inside what it stands for; write it out")
        self._open_nodes.add(id(node))
        try:
            return self._by_tag(node, place, mark)
        finally:
            self._open_nodes.discard(id(node))

    def _by_tag(self, node: yaml.Node, place: _Place, mark: Mark) -> _Tree:
        if isinstance(node, yaml.MappingNode) and node.tag == _STANDARD + "map":
            return _Tree(self._mapping(node, place), mark)
        if isinstance(node, yaml.SequenceNode) and node.tag == _STANDARD + "seq":
            return _Tree([self._tree(inner, place.into(i)) for i, inner in enumerate(node.value)], mark)
        if isinstance(node, yaml.ScalarNode):
            match node.tag:
                case "!include":
                    return self.file(place.file.parent / node.value, place.path, at=mark, files=place.files)
                case "!secret":
                    return self._secret(node.value, place, mark)
                case "!env":
                    return self._env(node.value, place, mark)
        try:
            return _Tree(_scalar(node.tag, node.value), mark)
        except ValueError as error:
            hidden = place.file.name == SECRETS_FILE
            return self.fault(mark, place.path, "only plain text is allowed here" if hidden else str(error))

    def _mapping(self, node: yaml.MappingNode, place: _Place) -> dict[Any, _Tree]:
        own: dict[Any, _Tree] = {}
        merged: dict[Any, _Tree] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _STANDARD + "merge":
                merged = {**self._merged(value_node, place), **merged}
                continue
            key = self._key(key_node, place)
            if isinstance(key, Broken):
                continue
            mark = place.mark(key_node)
            if key in own:
                first = own[key].mark.line
                self.fault(mark, (*place.path, key), f"this key is given twice; the first is in line {first}")
                continue
            own[key] = attrs.evolve(self._tree(value_node, place.into(key)), mark=mark)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, place: _Place) -> dict[Any, _Tree]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[Any, _Tree] = {}
        for part in parts:
            tree = self._tree(part, place)
            if isinstance(tree.value, dict):
                result = {**tree.value, **result}
            elif not isinstance(tree.value, Broken):
                self.fault(place.mark(part), place.path, "`<<` merges mappings only; give it an alias of one")
        return result

    def _key(self, node: yaml.Node, place: _Place) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag.startswith(_STANDARD):
            try:
                return _scalar(node.tag, node.value)
            except ValueError as error:
                return self.fault(place.mark(node), place.path, str(error)).value
        return self.fault(place.mark(node), place.path, "a key must be plain text or a number").value

    def _secret(self, name: str, place: _Place, mark: Mark) -> _Tree:
        file = place.file.parent / SECRETS_FILE
        if file not in self._secrets:
            self._secrets[file] = self._secrets_of(file, place.path, mark)
        secrets = self._secrets[file]
        if secrets is None:
            return _Tree(Broken(), mark)
        if name not in secrets:
            hint = suggestion(name, secrets, what="secrets there")
            return self.fault(mark, place.path, f"{file} has no secret '{name}'{hint}")
        value = secrets[name].value
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            return self.fault(mark, place.path, f"the secret '{name}' must be text: write {name}: \"...\" in {file}")
        return _Tree(Secret(str(value)), mark)

    def _secrets_of(self, file: Path, path: KeyPath, mark: Mark) -> Mapping[Any, _Tree] | None:
        if not file.exists():
            self.fault(mark, path, f"{file} does not exist; make it, with a line `name: value` for each secret")
            return None
        tree = self.file(file, (), at=mark)
        if isinstance(tree.value, dict):
            return tree.value
        if not isinstance(tree.value, Broken):
            self.fault(Mark(file, 1), (), "the file must have a line `name: value` for each secret")
        return None

    def _env(self, text: str, place: _Place, mark: Mark) -> _Tree:
        try:
            if environment.is_template(text):
                return _Tree(environment.substitute(text, self._environ), mark, outside=True)
            value, is_text = environment.look_up(text, self._environ)
            return _Tree(value if is_text else _scalar(_implicit_tag(value), value), mark, outside=True)
        except ValueError as error:
            return self.fault(mark, place.path, str(error))


class _Unreadable(Exception):
    """A file is no text; ``line`` is where it stops to be, None where it is too long."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


def _text_of(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _Unreadable(f"it is longer than {MAX_BYTES // 2**20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(
            "this is not UTF-8 text; save the file as UTF-8", data.count(b"\n", 0, error.start) + 1
        ) from None


def _explained(error: Exception, file: Path, text: str) -> tuple[int | None, str]:
    """Say in which line of the file something is wrong (None: the file as a whole), and what."""
    match error:
        case FileNotFoundError():
            return None, f"cannot read {file}: there is no such file"
        case OSError():
            return None, f"cannot read {file}: {error.strerror}"
        case _Unreadable(line=None):
            return None, f"cannot read {file}: {error}"
        case _Unreadable():
            return error.line, str(error)
        case yaml.reader.ReaderError():
            return text.count("\n", 0, error.position) + 1, "a control character stands here; remove it"
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark(line=line)) if file.name == SECRETS_FILE:
            return line + 1, "this is no valid YAML (its text is not shown, it may be a secret)"
        case yaml.MarkedYAMLError(problem_mark=yaml.Mark(line=line), problem=problem):
            return line + 1, _syntax(str(problem))
    return 1, "this is no valid YAML"


def _syntax(problem: str) -> str:
    if "'\\t'" in problem:
        return "a tab stands here; indent with spaces"
    if problem.startswith("nested"):
        return problem
    return f"this is no valid YAML: {problem}; look at indentation, colons and quotes here and just above"


def _implicit_tag(text: str) -> str:
    """What a plain scalar of this text is: a number, true or false, nothing, or text."""
    resolver = _Resolver()
    return str(resolver.resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


def _scalar(tag: str, text: Any) -> Any:
    """Make a value of a scalar, and of nothing else; raises ValueError with a message that does not repeat the text."""
    kind = tag.removeprefix(_STANDARD) if isinstance(text, str) else ""
    try:
        match kind:
            case "str" | "merge":
                return text
            case "null":
                return None
            case "bool":
                return {"true": True, "false": False}[text.lower()]
            case "int":
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except (ValueError, KeyError):
        raise ValueError(f"this cannot be read as {_KINDS[kind]}") from None
    raise ValueError(_refused(tag))


_KINDS = {"bool": "true or false", "int": "a whole number of sane length", "float": "a number"}


def _refused(tag: str) -> str:
    name = "!!" + tag.removeprefix(_STANDARD) if tag.startswith(_STANDARD) else tag
    return f"the tag {name} is not allowed here; there are !include FILE, !secret NAME and !env NAME default"
