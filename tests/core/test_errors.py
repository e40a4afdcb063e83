from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import core
from core import problem
from core.errors import Example, FieldFault, Invalid, PlantroomError, every_error
from core.faults import FAULT_CODES
from core.reference import PACKAGES, entries, entry_of, import_all, page

ROOT = Path(core.__file__).resolve().parents[1]
import_all()
OURS = [
    error
    for error in every_error()
    if any((ROOT / package) in Path(inspect.getfile(error)).parents for package in PACKAGES)
]
CODED = [error for error in OURS if "code" in vars(error)]


class LampBroken(Invalid):
    """The lamp is broken,
    and ``nobody`` knows why.

    Not for operators.
    """

    code = "lamps.broken"


class Undocumented(LampBroken):
    code = "lamps.undocumented"


class Failed(PlantroomError):
    code = "lamps.failed"


class DoorStuck(PlantroomError):
    """A door does not move."""

    code = "doors.stuck"
    status = 502
    title = "Stuck"
    example = Example(
        "Door 3 is stuck.", "/api/v1/doors/3", (FieldFault("door", "stuck", "is stuck"),), {"door": {"number": 3}}
    )


def modules() -> Iterator[ast.Module]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if (path.parent / "__init__.py").exists():  # what a plugin writes elsewhere, such as templates, is data
                yield ast.parse(path.read_bytes(), str(path))


@pytest.mark.parametrize("error", CODED, ids=lambda error: error.code)
def test_every_error_says_what_it_means_where_it_comes_from_what_to_do_and_how_it_looks(
    error: type[PlantroomError],
) -> None:
    entry = entry_of(error)
    assert entry.meaning.endswith(".")
    assert entry.causes
    assert all(cause.endswith(".") and cause[0] == cause[0].upper() for cause in entry.causes)
    assert entry.remedy.endswith(".")
    assert "remedy" in vars(error)
    assert entry.title == vars(error)["title"]
    assert entry.example is not None
    assert (entry.example["code"], entry.example["status"]) == (error.code, error.status)
    assert (entry.example["type"], entry.example["title"]) == (problem.REFERENCE + error.code, error.title)
    assert 400 <= error.status < 600


def test_every_error_class_of_every_module_has_its_own_entry() -> None:
    reference = entries()
    assert {error.code: entry_of(error) for error in CODED}.items() <= reference.items()
    written = {
        statement.value.value
        for tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ["code"]
        and isinstance(statement.value, ast.Constant)
    }  # fmt: skip
    assert written | {PlantroomError.code} == {error.code for error in CODED}


def test_no_two_errors_share_a_code_but_for_those_that_are_one_anothers_kind() -> None:
    owners: dict[str, type[PlantroomError]] = {}
    for error in OURS:
        assert issubclass(error, owners.setdefault(error.code, error)), (error, owners[error.code])
    assert len({error.code for error in CODED}) == len(CODED)


def test_an_error_of_a_third_party_needs_nothing_but_its_code() -> None:
    broken = entries()["lamps.broken"]
    assert (broken.status, broken.title, broken.remedy) == (Invalid.status, Invalid.title, Invalid.remedy)
    assert broken.meaning == "The lamp is broken, and `nobody` knows why."
    assert (broken.causes, broken.example) == ((), None)
    assert entries()["lamps.undocumented"].meaning == Invalid.title
    failed = entries()["lamps.failed"].example
    assert failed is not None
    assert failed["detail"] == PlantroomError.remedy
    assert "lamps.broken" in page([broken])
    assert "```json" not in page([broken])


def test_an_example_is_the_answer_that_the_error_would_be() -> None:
    example = entry_of(DoorStuck).example
    assert example is not None
    assert {name: value for name, value in example.items() if name != "request_id"} == {
        "type": "/api/v1/errors/doors.stuck",
        "title": "Stuck",
        "status": 502,
        "detail": "Door 3 is stuck.",
        "code": "doors.stuck",
        "errors": [{"field": "door", "code": "stuck", "message": "is stuck"}],
        "door": {"number": 3},
        "instance": "/api/v1/doors/3",
    }
    assert example["request_id"]


def test_entries_are_in_the_order_of_their_codes() -> None:
    assert list(entries()) == sorted(entries())


class FaultCodes(ast.NodeVisitor):
    """Collects the codes of all field faults that a module makes; ``unclear`` is where that cannot be told."""

    def __init__(self) -> None:
        self.codes: set[str] = set()
        self.unclear: list[str] = []
        self._named = {error.__name__: error.code for error in OURS}
        self._parameters: list[set[str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._parameters.append({argument.arg for argument in node.args.args})
        self.generic_visit(node)
        self._parameters.pop()

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        place = {"FieldFault": 1, "Wrong.of": 0}.get(ast.unparse(node.func))
        if place is None:
            return
        given = [keyword.value for keyword in node.keywords if keyword.arg == "code"] or node.args[place:]
        match given[0]:
            case ast.Constant(value=str(code)):
                self.codes.add(code)
            case ast.Attribute(value=ast.Name(id=name), attr="code") if name in self._named:
                self.codes.add(self._named[name])
            case ast.Name(id="code") if place == 1 and self._parameters and "code" in self._parameters[-1]:
                pass  # Wrong.of passes its own on, and is looked at itself
            case other:
                self.unclear.append(ast.unparse(other))


def test_every_code_of_a_field_fault_is_explained_and_no_other() -> None:
    finder = FaultCodes()
    for tree in modules():
        finder.visit(tree)
    assert finder.unclear == []
    assert finder.codes == set(FAULT_CODES)
    assert all(meaning.endswith(".") for meaning in FAULT_CODES.values())
