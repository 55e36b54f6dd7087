"""Writes ``docs/reference/`` from the code: ``python -m tools.reference``. ``--check`` only says which files differ.

Nothing in there is written by hand: commands come from the command line itself, keys from the settings, record kinds from
the places that write them, errors from their classes. A test holds that the committed files are what this writes.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from interlock import errors
from interlock.config import AgentSettings, RecoverySettings, RunnerSettings, json_schema
from interlock.config.base import meanings
from interlock.config.ladder import BUILT_IN, STRICTNESS
from interlock.config.settings import Sections
from interlock.model import run as nouns
from interlock.policies import DEFAULT_PACKS, PACKS, read_pack
from interlock.surfaces.cli import main as cli
from interlock.surfaces.cli import run as run_command
from interlock.surfaces.cli.judging import EXIT_CODES
from interlock.surfaces.cli.story import _SENTENCES as SENTENCES

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "docs" / "reference"
MADE = "<!-- Made by `python -m tools.reference` from the code. Edit the code, not this file. -->\n"
_KIND = re.compile(r"[a-z_]+\.[a-z_]+")


def pages() -> dict[str, str]:
    """The text of every generated file by its name."""
    made = {
        "README.md": _index(),
        "commands.md": _commands(),
        "configuration.md": _configuration(),
        "ledger.md": _ledger(),
        "errors.md": _errors(),
        "exit-codes.md": _exit_codes(),
        "policies.md": _policies(),
    }
    texts = {name: f"{MADE}\n{text.strip()}\n" for name, text in made.items()}
    return {**texts, "interlock.schema.json": json.dumps(json_schema(), indent=2) + "\n"}


def _index() -> str:
    return """
# Reference

Made from the code; a test holds that it is up to date.

- [Commands](commands.md): every command with all its options.
- [Configuration](configuration.md): every key of `interlock.yaml` with unit and default.
- [JSON Schema](interlock.schema.json) of `interlock.yaml`, for editors.
- [Policies that ship](policies.md): every pack and rule.
- [Ledger](ledger.md): every kind of record.
- [Errors](errors.md): every error type, and every kind of failure with what it leads to.
- [Exit codes](exit-codes.md).
"""


def commands() -> dict[str, Any]:
    """Every command that can be typed, by its words (``audit verify``)."""
    return dict(_walk(typer.main.get_command(cli.command_line()), ""))


def _walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    inner: Mapping[str, Any] = getattr(command, "commands", {})
    if words and not inner:
        yield words, command
    for name, each in inner.items():
        yield from _walk(each, f"{words} {name}".strip())


def _commands() -> str:
    parts = [
        "# Commands",
        (
            "Every command has `--help`. What people read has `--json` too. "
            "What each exit code means is in [exit codes](exit-codes.md)."
        ),
    ]
    for words, command in commands().items():
        usage = " ".join(_usage(param) for param in command.params if param.param_type_name == "argument")
        parts.append(f"## `interlock {words}`\n\n{inspect.cleandoc(command.help or '').strip()}")
        parts.append(f"```\ninterlock {words} [OPTIONS] {usage}".rstrip() + "\n```")
        rows = [row for param in command.params if (row := _parameter(param))]
        if rows:
            parts.append("| option | meaning |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _usage(param: Any) -> str:
    name = str(param.metavar or param.name.upper())
    return name if param.required or name.startswith("[") else f"[{name}]"


def _parameter(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"| `{_usage(param)}` | {_cell(param.help or '')} |" if param.help else ""
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts) if name.startswith("-"))
    takes = "" if getattr(param, "is_bool_flag", False) else f" {_cell(str(param.metavar or _type_name(param)))}"
    default = param.default
    said = "" if default in (None, "", False) or callable(default) else f" Default: `{default}`."
    return f"| {names}{takes} | {_cell(param.help or '')}{said} |"


def _type_name(param: Any) -> str:
    return {int: "N", Path: "FILE"}.get(param.bare_type(), "TEXT")


def _configuration() -> str:
    parts = [
        "# Configuration",
        (
            "The keys of `interlock.yaml`. All are optional; unknown ones are refused with file, line and the nearest known key. "
            "Durations are seconds, or text such as `90s`, `5m`, `2h`, `1d`. `interlock config show` says what is in force and "
            "where each value comes from; `interlock config schema` prints the [JSON Schema](interlock.schema.json)."
        ),
        (
            "Later wins: defaults, the built-in environment, the file's top level, the file's `environments:` entry. One exception: "
            "the top level cannot loosen what staging and production are built with; who means it says it under `environments:`."
        ),
        "## Environments",
        (
            "Chosen by `--env`, else the variable `INTERLOCK_ENV`, else the file's `environment:`, else development. "
            "Own environments say what they extend (`extends: staging`)."
        ),
        _environments(),
        (
            "With `strict_ladder: true` the file is refused when one of these keys is looser in an environment than in the one "
            f"before it: {', '.join(f'`{key}`' for key in STRICTNESS)}; a policy pack less, or a weaker enforcement of a policy, too."
        ),
    ]
    plain = [(name, field) for name, field in Sections.model_fields.items() if _section(field.annotation) is None]
    parts += ["## Top level", _keys(plain, Sections)]
    for name, field in Sections.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            continue
        shown = f"{name}.NAME" if get_origin(_bare(field.annotation)) is not None else name
        parts.append(f"## `{shown}`")
        parts.append(_doc(section))
        parts.append(_recovery() if section is RecoverySettings else _keys(list(section.model_fields.items()), section))
        if section is AgentSettings:
            parts += ["### `agents.NAME.runner`", _doc(RunnerSettings)]
            parts.append(_keys(list(RunnerSettings.model_fields.items()), RunnerSettings))
    return "\n\n".join(parts)


def _environments() -> str:
    keys = sorted({key for layer in BUILT_IN.values() for key in _flat(layer)})
    default = Sections()
    rows = [f"| key | {' | '.join(BUILT_IN)} |", "|---|" + "---|" * len(BUILT_IN)]
    for key in keys:
        values = [_flat(layer).get(key, _at(default, key)) for layer in BUILT_IN.values()]
        rows.append(f"| `{key}` | " + " | ".join(_value(value) for value in values) + " |")
    return "\n".join(rows)


def _flat(layer: Mapping[str, Any], way: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in layer.items():
        found |= _flat(value, f"{way}{key}.") if isinstance(value, Mapping) else {f"{way}{key}": value}
    return found


def _at(settings: Any, key: str) -> Any:
    for part in key.split("."):
        settings = getattr(settings, part)
    return settings


def _keys(fields: list[tuple[str, Any]], owner: type[BaseModel]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in fields:
        inner = _section(field.annotation)
        kind = f"see `{inner.__name__.removesuffix('Settings').lower()}` below" if inner else _kind(field.annotation)
        if field.default is PydanticUndefined:
            default = "" if field.default_factory is None else "empty"
            default = "required" if field.is_required() else default
        else:
            default = _value(field.default)
        rows.append(f"| `{name}` | {kind} | {default} | {_cell(meanings(owner).get(name, ''))} |")
    nested = [each for _, field in fields if (each := _section(field.annotation)) and owner is AgentSettings]
    text = "\n".join(rows)
    for each in nested:
        if each is not RunnerSettings:
            word = each.__name__.removesuffix("Settings").lower()
            text += f"\n\nEach {word}: {_doc(each)}\n\n{_keys(list(each.model_fields.items()), each)}"
    return text.replace("see `runner` below", "kind and options").replace("see `validator` below", "list of validators")


def _recovery() -> str:
    rows = ["| error | strategy | attempts | back-off | then | meaning |", "|---|---|---|---|---|---|"]
    for name, field in RecoverySettings.model_fields.items():
        rule = field.default
        wait = f"{rule.backoff_s:g} s, doubling, at most {rule.max_backoff_s:g} s" if rule.strategy == "retry" else ""
        rows.append(
            f"| `{name}` | {rule.strategy} | {rule.attempts or ''} | {wait} | {rule.then if rule.attempts else ''} | "
            f"{_cell(meanings(RecoverySettings).get(name, ''))} |"
        )
    keys = _keys(list(type(rule).model_fields.items()), type(rule))
    return "\n".join(rows) + "\n\nEach of them is a rule:\n\n" + keys


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation is about, None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _section(each))), None)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _kind(annotation: Any) -> str:
    """A type in the words of somebody who writes YAML."""
    annotation = _bare(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return " or nothing".join(_kind(each) for each in args if each is not NoneType) + " or nothing"
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in args)
    if origin is tuple:
        inner = _kind(args[0])
        return "list of commands (lists)" if get_origin(_bare(args[0])) is tuple else f"list of {inner}"
    if origin is not None and issubclass(origin, Mapping):
        return f"{_kind(args[0])} → {_kind(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{each.value}`" for each in annotation)
    names = {str: "text", int: "number", float: "number", bool: "true, false", Path: "path", Any: "any"}
    return names.get(annotation, "number" if "Decimal" in str(annotation) else str(getattr(annotation, "__name__", "")))


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ", ".join(f"`{each}`" for each in value) or "empty"
    if isinstance(value, BaseModel):
        return ""
    return f"`{value}`" if str(value) else "empty"


def record_kinds() -> dict[str, list[str]]:
    """Every kind of record and the modules that write it."""
    found: dict[str, list[str]] = {}
    prefixes = {kind.partition(".")[0] for kind in SENTENCES} | {"prompt", "plan"}
    house = ROOT / "src" / "interlock"
    for file in sorted(file for folder in ("engine", "service") for file in (house / folder).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for kind in _kinds(node, prefixes):
                places = found.setdefault(kind, [])
                if (place := f"{file.parent.name}/{file.name}") not in places:
                    places.append(place)
    return dict(sorted(found.items()))


def _kinds(node: ast.AST, prefixes: set[str]) -> list[str]:
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[-1], ast.Constant):
        return ["SURFACE.judged"] if node.values[-1].value == ".judged" else []
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or not _KIND.fullmatch(node.value):
        return []
    return [node.value] if node.value.partition(".")[0] in prefixes else []


def _ledger() -> str:
    rows = ["| kind | written by | told as |", "|---|---|---|"]
    for kind, places in record_kinds().items():
        told = SENTENCES.get(kind, ("", ""))[0].strip()
        rows.append(f"| `{kind}` | {', '.join(f'`{place}`' for place in places)} | {_cell(told)} |")
    return f"""
# Ledger

One record for each thing that happened, in the same transaction as the change of state that it tells of. `interlock audit
show` prints them, `interlock audit export` writes them as JSON lines, `interlock audit verify` recomputes every hash.

| field | meaning |
|---|---|
| `seq` | counts over all runs without a gap |
| `run_id`, `number` | the run, and the record's number within it |
| `at` | when, UTC |
| `kind` | one of the words below |
| `actor` | who: an account, an agent, or `interlock` |
| `data` | what, with secrets redacted; texts over 20,000 characters are cut and say so |
| `prev`, `hash` | the hash of the run's record before it; SHA-256 over exactly these bytes |

Besides the run's own chain, a chain over all runs (`total`) finds a run that was cut out, and checkpoints of it stand in a file
outside the database (`ledger.anchor` in the state directory), so that a truncated end is found. What a chain cannot do is in
[limits](../limits.md).

{chr(10).join(rows)}

`SURFACE.judged` is `file_change.judged` or `agent_output.judged`. Records without a sentence are for auditors only.
"""


def _errors() -> str:
    rows = ["| error | parent | exit code | meaning |", "|---|---|---|---|"]
    for name, each in inspect.getmembers(errors, inspect.isclass):
        if issubclass(each, errors.InterlockError):
            parent = each.__bases__[0].__name__
            rows.append(f"| `{name}` | `{parent}` | {each.exit_code} | {_cell(_first(each.__doc__ or ''))} |")
    kinds = ["| kind | meaning | leads to |", "|---|---|---|"]
    rules = RecoverySettings()
    for kind in nouns.ErrorKind:
        rule = rules.rule(kind)
        tries = f" ({rule.attempts}), then {rule.then}" if rule.attempts else ""
        meaning = meanings(RecoverySettings).get(kind.value, "")
        kinds.append(f"| `{kind.value}` | {_cell(meaning)} | {rule.strategy}{tries} |")
    return f"""
# Errors

Everything that Interlock raises on purpose is an `InterlockError`; each says what happened and what to do next. On the command
line it is one sentence on stderr and an exit code, never a traceback (`INTERLOCK_TRACE=1` shows where an unexpected one came from).

{chr(10).join(rows)}

## Kinds of failure

How an attempt's failure is classified, and what it leads to unless `recovery:` in the configuration says otherwise.

{chr(10).join(kinds)}
"""


def _exit_codes() -> str:
    by_code: dict[int, list[str]] = {}
    for outcome, code in run_command._CODES.items():  # noqa: SLF001 - the reference tells what the command does
        by_code.setdefault(code, []).append(f"`{outcome}`")
    meaning = {
        0: f"done: {', '.join(by_code[0])}",
        1: f"failed: {', '.join(by_code[1])}; a check that found something (`audit verify`, `policy lint`, `policy test`, `demo`)",
        2: "usage or configuration: an unknown word, a bad value, nothing of that name; nothing was done",
        3: f"refused: {', '.join(by_code[3])}; a vote that does not count; an open breaker",
        run_command.WAITING: "waiting for a person who is not here; `interlock resume` goes on",
        run_command.QUEUED: "queued, with `--no-wait`; `interlock resume` goes on",
        130: "interrupted from the keyboard",
    }
    rows = "\n".join(f"| {code} | {_cell(text)} |" for code, text in meaning.items())
    verdicts = ", ".join(f"{code} {verdict}" for verdict, code in EXIT_CODES.items())
    return f"""
# Exit codes

| code | meaning |
|---|---|
{rows}

`interlock check` with a single text answers with its verdict: {verdicts}. With `--jsonl`, `check`, `assess` and `plan` exit with 0, or 1
when a line was malformed.
"""


def _policies() -> str:
    parts = [
        "# Policies that ship",
        (
            "`interlock policy show PACK` prints a pack as the YAML that it is. The readers' own findings (a table dropped, a secret "
            "sent away) act besides these rules and cannot be switched off; [how to write your own](../how-to/policies.md)."
        ),
    ]
    for pack in PACKS:
        found = read_pack(pack)
        on = "on by default" if pack in DEFAULT_PACKS else "chosen by name"
        parts.append(f"## `{pack}` ({on})")
        rows = ["| rule | action | reason |", "|---|---|---|"]
        for policy in found.policies:
            for rule in policy.rules:
                people = f", {rule.quorum} people" if rule.quorum > 1 else ""
                rows.append(f"| `{rule.id}` | {rule.action}{people} | {_cell(rule.reason)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _doc(thing: type) -> str:
    return " ".join(inspect.cleandoc(thing.__doc__ or "").replace("``", "`").split())


def _first(text: str) -> str:
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def _cell(text: str) -> str:
    """Text that stands in one cell of a table."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` name those that differ."""
    PLACE.mkdir(parents=True, exist_ok=True)
    differing = []
    for name, text in pages().items():
        file = PLACE / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        differing.append(name)
        if "--check" not in arguments:
            file.write_text(text, encoding="utf-8")
    verb = "differ" if "--check" in arguments else "written"
    print(textwrap.fill(f"{verb}: {', '.join(differing)}" if differing else "docs/reference is up to date", 100))
    return 1 if differing and "--check" in arguments else 0


__all__ = ["PLACE", "commands", "main", "pages", "record_kinds"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
