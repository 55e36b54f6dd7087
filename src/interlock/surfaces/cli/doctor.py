"""``interlock doctor``: finds what is wrong with the set-up, and says what to do."""

from __future__ import annotations

from pathlib import Path

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, hanging, say_json

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


def doctor(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Look at the whole set-up; exit 1 when it will not work."""
    from interlock.doctor import examine  # noqa: PLC0415 - the engine takes half a second to import

    found = examine(Path.cwd(), env=env, file=config)
    if as_json:
        say_json(found)
    else:
        out = console()
        for each in found:
            mark, style = _MARKS[each.grade]
            hanging(out, f"{mark} ", f"{each.subject}: {each.seen}", style=style, head_style=style)
            if each.advice:
                hanging(out, "    → ", each.advice)
    raise typer.Exit(1 if any(each.grade == "problem" for each in found) else 0)
