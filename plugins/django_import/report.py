"""Says in words what an import would do, or has done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from plugins.django_import.inventory import Inventories
from plugins.django_import.plan import Plan
from plugins.django_import.reader import Export


def lines(export: Export, made: Inventories, plan: Plan) -> Iterator[str]:
    """Tell everything that is new, differs or is refused, a line each, and sum it up."""
    new = Counter(point.device_id for point in plan.added_points)
    added = {device.id for device in plan.added_devices}
    for device in plan.added_devices:
        yield f"+ {device.id}  {device.name} at {device.address}, {_count(new[device.id], 'point')}"
    for point in plan.added_points:
        if point.device_id not in added:
            yield f"+ {point.id}  {point.name}"
    for each in plan.differences:
        what = "becomes" if each.taken else "stays as a scan found it; the file has"
        shown = f"{each.field} {_shown(each.known)} {what} {_shown(each.exported)}"
        yield f"~ {each.id}  {'the last scan did not find it; it stays so' if each.field == 'vanished' else shown}"
    for remark in made.unitless:
        yield f"? {remark.place}: {remark.text}"
    for remark in plan.refused:
        yield f"! {remark.place}: {remark.text}"
    yield f"new: {_count(len(plan.added_devices), 'device')}, {_count(len(plan.added_points), 'point')}"
    yield f"known already: {_count(plan.known_devices, 'device')}, {_count(plan.known_points, 'point')}"
    yield f"told otherwise: {len(plan.differences)}, of which {sum(each.taken for each in plan.differences)} change"
    yield f"refused: {len(plan.refused)}"
    if made.unitless:
        yield f"without their unit until the first scan: {_count(len(made.unitless), 'point')}"
    if made.without_value:
        yield f"without a value to read: {_count(made.without_value, 'object')}"
    if export.unused:
        yield f"not used: {', '.join(sorted(export.unused))}"


def _shown(value: object) -> str:
    return "none" if value is None else repr(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
