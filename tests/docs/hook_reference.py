"""Writes the reference in docs/hooks.md from core/hookspecs.py; `python -m docs.hook_reference` in tests/ does it."""

from __future__ import annotations

from docs.blocks import ROOT

from core.hookspecs import HOOKS, Hook

PAGE = ROOT / "docs/hooks.md"
BEGIN, END = "<!-- from here on written by tests/docs/hook_reference.py -->\n", "<!-- up to here -->\n"


def reference() -> str:
    """Write a table of contents, and a section for each hook."""
    rows = "".join(
        f"| [`{hook.name}`](#{hook.name}) | {_about(hook)[0]} | {hook.since} | {hook.stability} |\n"
        for hook in HOOKS.values()
    )
    table = f"| hook | what it is for | since | |\n|---|---|---|---|\n{rows}"
    return "\n".join([table, *map(_section, HOOKS.values())])


def renewed(page: str) -> str:
    """Return a page with its reference part as it should be."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{reference()}\n{END}{rest.partition(END)[2]}"


def _section(hook: Hook) -> str:
    about = "\n".join(_about(hook))
    return f"### `{hook.name}`\n\n{about}\n\nAnswers `{hook.answer}`:\n\n```python\n{hook.example}\n```\n"


def _about(hook: Hook) -> list[str]:
    return hook.about.replace("``", "`").splitlines()


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
