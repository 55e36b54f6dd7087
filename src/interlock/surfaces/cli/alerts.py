"""``interlock alerts``: what fires, who looks after it, who is not to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, ago, console, hanging, me, opened, say_json
from interlock.surfaces.cli.metrics import window_of

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.model.alert import Alert

app = typer.Typer(no_args_is_help=True, help="See, acknowledge, silence and try out alerts.")

_STYLES = {"critical": "red", "warning": "yellow", "info": ""}


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="The last resolved ones too.")] = False,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List the alerts that are not over; exit 1 when one is firing that nobody looks after."""
    with opened(env, config) as service:
        found = service.alarms.alerts(resolved=50 if everything else 0)
        silences = service.alarms.silences()
    if as_json:
        say_json({"alerts": found, "silences": silences})
    else:
        out = console()
        for alert in found:
            _show(out, alert)
        for silence in silences:
            out.print(
                f"silenced: {silence.rule} of {silence.agent} until {silence.until:%Y-%m-%d %H:%M} UTC by {silence.author}"
                f"{f' ({silence.reason})' if silence.reason else ''} [{silence.id}]", style="dim", markup=False,
            )  # fmt: skip
        if not found:
            out.print("nothing fires")
    raise typer.Exit(1 if any(alert.state == "firing" for alert in found) else 0)


def _show(out: Console, alert: Alert) -> None:
    whom = alert.agent or "system"
    by = f" by {alert.acknowledged_by}" if alert.acknowledged_by else ""
    style = _STYLES[alert.severity] if alert.active else "dim"
    line = f"{alert.severity:<9}{whom}: {alert.message}{by} ({alert.evidence}, {ago(alert.since)}) [{alert.id}]"
    hanging(out, f"{alert.state:<13}", line, style=style, head_style=style)
    for act in alert.acts:
        done = act.result if act.ok else f"FAILED: {act.result}"
        hanging(out, f"             {act.at:%H:%M:%S} ", f"{act.action}: {done}", style="dim", head_style="dim")


@app.command()
def ack(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="Its id, or an end of it.")],
    note: Annotated[str, typer.Option("--note", help="What you do about it.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Say that you look after it: no more escalation and no repetition."""
    with opened(env, config) as service:
        after = service.alarms.acknowledge(alert, me(), note)
    if as_json:
        say_json(after)
    else:
        _show(console(), after)


@app.command()
def silence(
    lasting: Annotated[str, typer.Argument(metavar="TIME", help="How long, such as 30m or 8h.")],
    rule: Annotated[str, typer.Option("--rule", help="A rule's name, or a glob.")] = "*",
    agent: Annotated[str, typer.Option("--agent", help="An agent's name, or a glob.")] = "*",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Tell nobody about alerts that fit, for a time. Breakers and the gate protect all the same."""
    window = window_of(lasting)
    if window is None:
        raise typer.BadParameter("say how long: 30m, 8h")
    with opened(env, config) as service:
        made = service.alarms.silence(me(), window, rule=rule, agent=agent, reason=reason)
    if as_json:
        say_json(made)
    else:
        console().print(f"silenced until {made.until:%Y-%m-%d %H:%M} UTC [{made.id}]", markup=False)


@app.command()
def unsilence(
    silence_id: Annotated[str, typer.Argument(metavar="SILENCE")],
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """End a silence now."""
    with opened(env, config) as service:
        ended = service.alarms.end_silence(silence_id, me())
    if as_json:
        say_json(ended)
    else:
        console().print(f"ended: {ended.id}", markup=False)


@app.command()
def rules(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the rules: when they fire, and what they do then."""
    with opened(env, config) as service:
        found = service.alarms.rules()
    plain = [
        {"name": rule.name, "condition": rule.condition.source, "severity": rule.severity.value, "message": rule.message,
         "actions": [action.value for action in rule.actions], "window_s": int(rule.window.total_seconds()),
         "for_s": int(rule.hold.total_seconds()), "keep_firing_for_s": int(rule.keep.total_seconds()),
         "at_least": rule.at_least, "dry_run": rule.dry_run}
        for rule in found
    ]  # fmt: skip
    if as_json:
        say_json(plain)
        return
    out = console()
    for rule in found:
        does = ", ".join(rule.actions) + (" (dry run)" if rule.dry_run else "")
        out.print(f"{rule.severity:<9}{rule.name}: {rule.condition.source} → {does}", markup=False)


@app.command("test")
def try_out(
    rule: Annotated[str, typer.Argument(metavar="RULE")],
    agent: Annotated[str, typer.Option("--agent", help="Only this agent.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show what a rule says of the agents now, and what it would do. Nothing is done."""
    with opened(env, config) as service:
        trials = service.alarms.test(rule, agent)
    if as_json:
        say_json(trials)
        return
    out = console()
    words = {True: ("holds", "red"), False: ("does not hold", ""), None: ("cannot be told yet", "dim")}
    for trial in trials:
        word, style = words[trial.holds]
        does = f"; it would: {', '.join(trial.actions)}" if trial.holds else ""
        out.print(f"{trial.agent or 'system'}: {word} ({trial.evidence}){does}", style=style, markup=False)
