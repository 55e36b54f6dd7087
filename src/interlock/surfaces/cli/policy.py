"""``interlock policy``: lint, test, explain and compare policies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.errors import InterlockError, UsageError
from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, hanging, opened
from interlock.surfaces.cli.judging import Bench, action_of, as_json, bench_of, decide, make_bench

if TYPE_CHECKING:
    from interlock.decide.policy_load import PolicyCase

app = typer.Typer(help="List, lint, test, explain and compare safety policies.", no_args_is_help=True)


@app.command("list")
def list_(*, json: Json = False) -> None:
    """List the packs that ship, and their policies."""
    from interlock.policies import DEFAULT_PACKS, PACKS, read_pack  # noqa: PLC0415 - help needs none

    rows: list[dict[str, Any]] = [
        {
            "pack": pack,
            "default": pack in DEFAULT_PACKS,
            "policies": {policy.name: len(policy.rules) for policy in read_pack(pack).policies},
        }
        for pack in PACKS
    ]
    if json:
        _print_json(rows)
        return
    for row in rows:
        held = ", ".join(f"{name} ({count} rules)" for name, count in row["policies"].items())
        head = f"{row['pack']:<22}{'on by default  ' if row['default'] else '               '}"
        hanging(console(), head, held)


@app.command()
def show(pack: Annotated[str, typer.Argument(help="The pack's name.")]) -> None:
    """Print a pack as the YAML that it is."""
    from interlock.policies import pack_text  # noqa: PLC0415 - help needs none

    with _Errors():
        typer.echo(pack_text(pack), nl=False)


@app.command()
def lint(
    files: Annotated[list[Path], typer.Argument(help="Policy files.")],
    *,
    json: Json = False,
    strict: Annotated[bool, typer.Option(help="Fail on warnings too.")] = False,
) -> None:
    """Check policy files: words, types, patterns, conditions, rules that can never change anything."""
    from interlock.policies import examine_file  # noqa: PLC0415 - help needs none
    from interlock.policies import lint as look  # noqa: PLC0415 - the same

    found = look(map(examine_file, files))
    if json:
        _print_json({"errors": found.errors, "warnings": found.warnings, "rules": found.rules})
    else:
        for line in found.errors:
            typer.secho(f"error    {line}", fg="red")
        for line in found.warnings:
            typer.secho(f"warning  {line}", fg="yellow")
        counts = ((found.policies, "policies"), (len(found.errors), "errors"), (len(found.warnings), "warnings"))
        typer.echo(", ".join(_counted(*it) for it in counts))
    if found.errors or (strict and found.warnings):
        raise typer.Exit(1)


@app.command("test")
def run_cases(file: Annotated[Path, typer.Argument(help="A policy file with `tests`.")], *, json: Json = False) -> None:
    """Run the cases that stand beside a policy; the file's own policies alone are in force."""
    from interlock.decide.policy import PolicySet  # noqa: PLC0415 - help needs none
    from interlock.policies import read_file  # noqa: PLC0415 - the same

    with _Errors():
        found = read_file(file)
        bench = bench_of(PolicySet.compile(found.policies))
        if not found.cases:
            raise UsageError(
                f'{file} holds no `tests`: add cases such as {{surface: tool_call, tool: shell, text: "…", expect: block}}'
            )
        results = [(case, decide(action_of(_case_row(case), environment="development"), bench)) for case in found.cases]
    failed = [(case, got) for case, got in results if got.verdict is not case.expect]
    if json:
        _print_json(
            {
                "cases": len(results),
                "failed": [{**_case_row(c), "expect": c.expect, **as_json(got)} for c, got in failed],
            }
        )
    else:
        for case, got in failed:
            place = f"{file}:{case.line}: " if case.line else ""
            typer.secho(
                f"FAILED  {place}expected {case.expect}, got {got.verdict}: {got.reason or 'nothing matched'}", fg="red"
            )
        typer.echo(f"{len(results) - len(failed)} of {len(results)} cases hold")
    if failed:
        raise typer.Exit(1)


@app.command()
def explain(
    action: Annotated[str, typer.Argument(help="An action as JSON, or a text.")],
    *,
    surface: Annotated[str, typer.Option(help="The surface of a text.")] = "tool_call",
    tool: Annotated[str, typer.Option(help="The tool of a text.")] = "shell",
    env: Env = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show every rule that was considered for an action, and why it matched or did not."""
    with _Errors():
        bench = make_bench(config=config, env=env)
        row = _loads(action) if action.lstrip().startswith("{") else {"surface": surface, "tool": tool, "text": action}
        decision, considered = _explained(row, bench)
    if json:
        rules = [
            {"rule": it.rule.id, "enforcement": it.enforcement, "matched": it.matched, "why": it.why}
            for it in considered
        ]
        _print_json({**as_json(decision), "considered": rules})
        return
    from interlock.surfaces.cli.judging import show as show_decision  # noqa: PLC0415 - help needs none

    out = console()
    show_decision(decision, out)
    for it in sorted(considered, key=lambda it: not it.matched):
        said = f"{it.rule.id} [{it.rule.action}, {it.enforcement}]: {it.why}"
        hanging(out, "matched  " if it.matched else "-        ", said, head_style="yellow" if it.matched else "dim")


@app.command()
def diff(
    old: Annotated[Path | None, typer.Argument(help="The policy file in force.")] = None,
    new: Annotated[Path | None, typer.Argument(help="The policy file to come.")] = None,
    *,
    version: Annotated[
        str, typer.Option(help="Instead of two files: what is in force, and this one of policies.versions.")
    ] = "",
    actions: Annotated[
        Path | None, typer.Option(help="Recorded actions, one JSON object a line, instead of the project's ledger.")
    ] = None,
    env: Env = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Replay recorded actions: which decisions would change with the new policies. Exit code 0 either way.

    Without --actions, every tool call in this project's ledger is replayed, with its arguments as they were recorded:
    redacted. A rule that looks for a secret itself may therefore answer otherwise than it did.
    """
    with _Errors():
        if (old is None or new is None) == (not version):
            raise UsageError("give two policy files, or --version with a name under policies.versions")
        benches = _of_version(version, env, config) if version else _of_files([file for file in (old, new) if file])
        found = _from_file(actions) if actions else _from_ledger(env, config)
        rows = [row for row in found if not (isinstance(row, dict) and "left_out" in row)]
        changes = changed_decisions(rows, benches[0], benches[1])
    left_out = len(found) - len(rows)
    if json:
        _print_json({"actions": len(rows), "left_out": left_out, "changed": changes})
        return
    for change in changes:
        colour = "red" if change["tighter"] else "yellow"
        typer.secho(
            f"{change['old']} -> {change['new']}  {change['tool'] or change['surface']}  {change['what']}", fg=colour
        )
        typer.echo(f"    {change['why']}")
    tighter = sum(change["tighter"] for change in changes)
    typer.echo(
        f"{len(changes)} of {len(rows)} decisions would change: {tighter} tighter, {len(changes) - tighter} looser"
    )
    if left_out:
        typer.echo(f"{left_out} calls were too long to be recorded whole and were not replayed")


def _of_files(files: Sequence[Path]) -> list[Bench]:
    from interlock.decide.policy import PolicySet  # noqa: PLC0415 - help needs none
    from interlock.policies import read_file  # noqa: PLC0415 - the same

    return [bench_of(PolicySet.compile(read_file(file).policies)) for file in files]


def _of_version(version: str, env: str | None, config: Path | None) -> list[Bench]:
    from dataclasses import replace  # noqa: PLC0415 - help needs none

    bench = make_bench(config=config, env=env)
    with opened(env, config) as service:
        return [bench, replace(bench, gate=bench.gate.under(service.rollouts.policies.version(version)))]


def _from_file(actions: Path) -> list[Any]:
    try:
        return [_loads(line) for line in actions.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{actions} cannot be read: {problem}") from problem


def _from_ledger(env: str | None, config: Path | None) -> list[Any]:
    with opened(env, config) as service:
        return list(service.ledger.recorded_actions())


def changed_decisions(rows: Sequence[Any], old: Bench, new: Bench) -> list[dict[str, Any]]:
    """The rows whose verdict or quorum differs, with both answers."""
    from interlock.reading.secrets import redact  # noqa: PLC0415 - help needs none

    changes = []
    for number, row in enumerate(rows, start=1):
        action = action_of(row, environment=old.environment)
        before, after = decide(action, old), decide(action, new)
        if (before.verdict, before.quorum) == (after.verdict, after.quorum):
            continue
        changes.append(
            {
                "line": number,
                "surface": str(action.kind),
                "tool": action.tool,
                "what": redact(action.text or str(dict(action.args)))[:120],
                "old": str(before.verdict),
                "new": str(after.verdict),
                "tighter": after.verdict > before.verdict or after.quorum > before.quorum,
                "why": (after if after.verdict >= before.verdict else before).reason,
            }
        )
    return changes


def _counted(number: int, plural: str) -> str:
    one = {"policies": "policy", "errors": "error", "warnings": "warning"}
    return f"{number} {one[plural] if number == 1 else plural}"


def _explained(row: Any, bench: Bench) -> tuple[Any, Any]:
    action = action_of(row, environment=bench.environment)
    return decide(action, bench), bench.gate.explain(action, bench.scope)


def _case_row(case: PolicyCase) -> dict[str, Any]:
    row: dict[str, Any] = {
        "surface": str(case.surface),
        "tool": case.tool,
        "agent": case.agent,
        "environment": case.environment,
    }
    return {**row, "args": dict(case.args)} if case.args is not None else {**row, "text": case.text or ""}


def _loads(text: str) -> Any:
    import orjson  # noqa: PLC0415 - help needs none

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise UsageError(f"the action is not JSON: {problem}") from problem


def _print_json(value: Any) -> None:
    import orjson  # noqa: PLC0415 - help needs none

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


class _Errors:
    """Errors that are raised on purpose end the command with their sentence and exit code."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, InterlockError):
            typer.echo(f"interlock: {problem}", err=True)
            raise typer.Exit(problem.exit_code) from problem
