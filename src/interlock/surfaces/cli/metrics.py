"""``interlock metrics`` and ``interlock top``: what the agents and the system have done, and do now."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, ago, console, many, opened, say_json, span

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from interlock.model.metrics import AgentMetrics, Metrics
    from interlock.service import Service

_COLUMNS = ("agent", "runs", "ok", "failed", "in a row", "median", "p95", "tokens", "cost", "blocked", "breaker")
_SPARED, _WIDE = frozenset({"ok", "p95"}), 100
"""What a narrower screen than so many columns goes without; ``--json`` has all."""

Window = Annotated[
    str, typer.Option("--window", metavar="TIME", help="How far back, such as 15m, 1h or 7d; without it, ever.")
]


def metrics(
    window: Window = "",
    prometheus: Annotated[bool, typer.Option("--prometheus", help="In Prometheus' text format.")] = False,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show what was measured: failures, durations, cost, calls."""
    reach = window_of(window)
    with opened(env, config) as service:
        if prometheus:
            from interlock.telemetry.prometheus import exposition  # noqa: PLC0415 - an extra

            sys.stdout.write(exposition(service.meter).decode())
            return
        found = service.meter.metrics(reach)
    if as_json:
        say_json(found)
    else:
        out = console()
        out.print(shown(found, out.width))


def top(
    every: Annotated[float, typer.Option("--every", min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
    window: Window = "1h",
    env: Env = None,
    config: ConfigFile = None,
) -> None:
    """Watch the agents live; Ctrl-C ends it. In a pipe, one look."""
    reach = window_of(window)
    with opened(env, config) as service:
        out = console()
        if not out.is_terminal:
            out.print(_looked(service, reach, out.width))
            return
        from rich.live import Live  # noqa: PLC0415 - only at a terminal

        with Live(_looked(service, reach, out.width), console=out, screen=True, auto_refresh=False) as live:
            try:
                while True:
                    time.sleep(every)
                    live.update(_looked(service, reach, out.width), refresh=True)
            except KeyboardInterrupt:
                return


def window_of(text: str) -> timedelta | None:
    """A window as people write it.

    Raises:
        UsageError: when it is no duration, or none that is longer than nothing.
    """
    if not text:
        return None
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - it takes 0.1 s to import

    from interlock.config.base import Seconds  # noqa: PLC0415
    from interlock.errors import UsageError  # noqa: PLC0415

    try:
        seconds = TypeAdapter(Seconds).validate_python(text)
    except ValidationError:
        seconds = 0
    if not seconds:
        message = f"{text!r} is no window; write 15m, 1h or 7d"
        raise UsageError(message)
    return timedelta(seconds=seconds)


def _looked(service: Service, window: timedelta | None, width: int) -> Group:
    return shown(service.meter.metrics(window), width)


def shown(found: Metrics, width: int) -> Group:
    """The figures for people: lines about the system, a table of the agents."""
    from rich.console import Group  # noqa: PLC0415 - rich is not needed for --json
    from rich.text import Text  # noqa: PLC0415

    system = found.system
    since = f"since {found.since:%Y-%m-%d %H:%M} UTC" if found.since else "ever"
    now = (
        f"{system.active} at work · {system.queued} queued"
        + (f" (oldest {span(system.oldest_queued_ms)})" if system.oldest_queued_ms is not None else "")
        + f" · {many(system.open_questions, 'question')} open · {many(system.workers, 'worker')}"
    )
    ended = ", ".join(f"{number} {kind}" for kind, number in system.ended.items()) or "none"
    then = f"{since}: {many(system.submitted, 'run')} (ended: {ended})"
    calls = f"calls: {system.blocked} blocked · {system.confirmed} confirmed · {system.denied} denied · median wait {span(system.waiting.median_ms)}"
    errors = [
        Text(f"{each.agent}: {ago(each.last_error.at)}: {each.last_error.message}"[:300], style="dim")
        for each in found.agents
        if each.last_error is not None
    ]
    return Group(
        Text(now),
        Text(then, style="dim"),
        Text(calls, style="dim"),
        _table(found.agents, narrow=width < _WIDE),
        *errors,
    )


def _table(agents: tuple[AgentMetrics, ...], *, narrow: bool) -> Table:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in _COLUMNS:
        if not (narrow and name in _SPARED):
            left = name in {"agent", "breaker"}
            table.add_column(name, justify="left" if left else "right", no_wrap=name != "agent", overflow="fold")
    for each in agents:
        bad = "red" if each.consecutive_failures or each.breaker in {"open", "forced_open"} else ""
        cells = (
            escape(each.agent), str(each.invocations), str(each.successes), str(each.failures),
            str(each.consecutive_failures), _or_dash(each.duration.median_ms), _or_dash(each.duration.p95_ms),
            str(each.tokens_average) if each.tokens_average is not None else "–", f"${each.cost_micros / 1e6:.2f}",
            str(each.calls_blocked), each.breaker,
        )  # fmt: skip
        shown = [cell for name, cell in zip(_COLUMNS, cells, strict=True) if not (narrow and name in _SPARED)]
        table.add_row(*shown, style=bad)
    return table


def _or_dash(ms: int | None) -> str:
    return "–" if ms is None else span(ms)
