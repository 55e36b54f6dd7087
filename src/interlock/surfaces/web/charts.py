"""Charts as numbers: where each bar and line goes, what they say in words, and the same as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from interlock.engine.rollouts import RolloutStory
from interlock.model.metrics import AgentMetrics
from interlock.model.rollout import Side
from interlock.surfaces.cli.common import span

WIDTH, _LEFT, _TOP, _PLOT, _FOOT = 360, 44, 8, 96, 22
HEIGHT = _TOP + _PLOT + _FOOT
_RIGHT = WIDTH - 6
_FLOOR = _TOP + _PLOT
_LABELS = 4

Hours = Sequence[tuple[datetime, AgentMetrics]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A rectangle and what it stands for; ``kind`` is ``good``, ``bad`` or ``share``."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A polyline by its path."""

    kind: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A picture in a box of :data:`WIDTH` by :data:`HEIGHT`. ``words`` and the table say the same without eyes."""

    words: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    across: tuple[tuple[float, str], ...] = ()
    """(x, text) below the floor."""
    up: tuple[tuple[float, str], ...] = ()
    """(y, text) left of the wall."""


def outcomes(hours: Hours) -> Chart:
    """Executions that succeeded and failed, hour by hour."""
    top = _nice(max((each.successes + each.failures for _, each in hours), default=0))
    bars: list[Bar] = []
    slot = (_RIGHT - _LEFT) / max(1, len(hours))
    for number, (start, each) in enumerate(hours):
        floor: float = _FLOOR
        for kind, count in (("good", each.successes), ("bad", each.failures)):
            if count:
                high = max(2.0, _PLOT * count / top)
                floor -= high
                title = f"{start:%H:%M}: {each.successes} succeeded, {each.failures} failed"
                bars.append(Bar(
                    kind=kind, x=round(_LEFT + slot * number + 1, 1), y=round(floor, 1), width=round(slot - 2, 1),
                    height=round(high, 1), title=title,
                ))  # fmt: skip
    good, bad = sum(each.successes for _, each in hours), sum(each.failures for _, each in hours)
    worst = max(hours, key=lambda hour: hour[1].failures, default=None)
    most = f"; most of them at {worst[0]:%H:%M} UTC" if bad and worst else ""
    return Chart(
        words=f"The last {len(hours)} hours: {good} succeeded, {bad} failed{most}", bars=tuple(bars),
        across=_clock(hours), up=((_TOP, str(top)), (_FLOOR, "0")), heads=("Hour (UTC)", "Succeeded", "Failed"),
        rows=tuple(
            (f"{start:%d %b %H:%M}", str(each.successes), str(each.failures))
            for start, each in hours
            if each.successes or each.failures
        ),
    )  # fmt: skip


def durations(hours: Hours) -> Chart:
    """How long executions took, hour by hour: median and 95 %."""
    timed = [(start, each) for start, each in hours if each.duration.median_ms is not None]
    top = max((each.duration.p95_ms or 0 for _, each in timed), default=0) or 1
    slot = (_RIGHT - _LEFT) / max(1, len(hours))

    def height(ms: int) -> float:
        return _FLOOR - _PLOT * min(ms, top) / top

    def points(value: Callable[[AgentMetrics], int | None]) -> list[tuple[float, float] | None]:
        said = [value(each) for _, each in hours]
        return [
            None if ms is None else (_LEFT + slot * (number + 0.5), height(ms)) for number, ms in enumerate(said)
        ]  # fmt: skip

    newest = timed[-1] if timed else None
    last = f"; the latest at {newest[0]:%H:%M} UTC: median {span(newest[1].duration.median_ms)}" if newest else ""
    return Chart(
        words=f"Duration in the last {len(hours)} hours, longest 95 % mark {span(top) if timed else 'unknown'}{last}",
        lines=(
            Line(kind="p95", path=_path(points(lambda each: each.duration.p95_ms))),
            Line(kind="median", path=_path(points(lambda each: each.duration.median_ms))),
        ),
        across=_clock(hours), up=((_TOP, span(top) if timed else ""), (_FLOOR, "0")),
        heads=("Hour (UTC)", "Median", "95 % within", "Executions"),
        rows=tuple(
            (
                f"{start:%d %b %H:%M}", span(each.duration.median_ms), span(each.duration.p95_ms),
                str(each.duration.count),
            )
            for start, each in timed
        ),
    )  # fmt: skip


def shares(story: RolloutStory, now: datetime) -> Chart:
    """The share of the new version over time."""
    moves = story.moves
    began = moves[0].at if moves else now
    whole = max(1.0, (now - began).total_seconds())

    def place(at: datetime) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (at - began).total_seconds() / whole, 1)

    path, bars = "", []
    for move, until in zip(moves, [*(one.at for one in moves[1:]), now], strict=True):
        high = _FLOOR - _PLOT * move.percent / 100
        x, end = place(move.at), place(until)
        path += f"{'L' if path else 'M'}{x} {high:.1f}L{end} {high:.1f}"
        bars.append(Bar(
            kind="share", x=x, y=round(high, 1), width=round(max(0.5, end - x), 1), height=round(_FLOOR - high, 1),
            title=f"{move.at:%d %b %H:%M}: {move.percent} %",
        ))  # fmt: skip
    said = ", then ".join(f"{move.percent} % from {move.at:%d %b %H:%M} UTC" for move in moves)
    return Chart(
        words=f"Share of the new version: {said or 'nothing yet'}", bars=tuple(bars),
        lines=(Line(kind="share", path=path),), up=tuple((_FLOOR - _PLOT * at / 100, f"{at} %") for at in (100, 50, 0)),
        across=((_LEFT, f"{began:%d %b %H:%M}"), (_RIGHT, "now")), heads=("When (UTC)", "Share", "What", "By", "Why"),
        rows=tuple(
            (f"{m.at:%d %b %H:%M}", f"{m.percent} %", m.kind.rpartition(".")[2], m.by, m.reason) for m in moves
        ),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """One thing of the new version beside the stable one: texts, and lengths of 0 to 100."""

    name: str
    new: str
    new_share: int
    stable: str
    stable_share: int


def beside(story: RolloutStory) -> tuple[Beside, ...]:
    """The new version beside the stable one."""
    return tuple(
        _beside(name, told, value, story.canary, story.stable)
        for name, told, value in (
            ("failed", _percent, lambda side: side.failed / side.runs if side.runs else None),
            ("blocked", _percent, lambda side: side.blocked / side.runs if side.runs else None),
            ("median duration", lambda ms: span(int(ms)), lambda side: side.median_ms),
            ("mean cost", lambda micros: f"$ {micros / 1_000_000:.4f}", lambda side: side.mean_cost_micros),
        )
    )


def _beside(
    name: str, told: Callable[[float], str], value: Callable[[Side], float | None], canary: Side, stable: Side
) -> Beside:
    new, old = value(canary), value(stable)
    top = max(new or 0, old or 0) or 1
    return Beside(
        name=name, new="none yet" if new is None else told(new), new_share=round(100 * (new or 0) / top),
        stable="none yet" if old is None else told(old), stable_share=round(100 * (old or 0) / top),
    )  # fmt: skip


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %".replace(".0 %", " %")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Evidence on its way to the mark: 100 is the mark. Evidence multiplies, so the way is logarithmic."""

    name: str
    worse: int
    fine: int
    words: str


def scales(story: RolloutStory) -> tuple[Scale, ...]:
    """How far each comparison has come to "worse" and to "no worse"."""
    return tuple(
        Scale(
            name=each.name, worse=_way(each.worse, story.worse_at), fine=_way(each.fine, story.fine_at),
            words=f"{each.seen}; for “worse” {each.worse:.2g} of {story.worse_at:g}, "
            f"for “no worse” {each.fine:.2g} of {story.fine_at:g}",
        )
        for each in story.view.comparison.evidence
    )  # fmt: skip


def _way(evidence: float, mark: float) -> int:
    if evidence >= mark:
        return 100
    return min(99, int(100 * math.log(evidence) / math.log(mark))) if evidence > 1 else 0


def _nice(most: int) -> int:
    """A round number that is not smaller."""
    if most <= 5:  # noqa: PLR2004 - small enough to be its own mark
        return max(1, most)
    size: int = 10 ** (len(str(most)) - 1)
    return next(step * size // 10 for step in (10, 15, 20, 25, 30, 40, 50, 60, 80, 100) if step * size // 10 >= most)


def _clock(hours: Hours) -> tuple[tuple[float, str], ...]:
    slot = (_RIGHT - _LEFT) / max(1, len(hours))
    every = max(1, len(hours) // _LABELS)
    shown = [number for number in range(len(hours)) if number % every == 0]
    return tuple((round(_LEFT + slot * (number + 0.5), 1), f"{hours[number][0]:%H:%M}") for number in shown)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Lines between neighbours; a point that has none is a short stroke, a gap stays a gap."""
    return "".join(_strokes(points))


def _strokes(points: Sequence[tuple[float, float] | None]) -> Iterator[str]:
    for number, point in enumerate(points):
        if point is None:
            continue
        x, y = point
        alone = (number == 0 or points[number - 1] is None) and (
            number + 1 == len(points) or points[number + 1] is None
        )
        if number == 0 or points[number - 1] is None:
            yield f"M{x - 3:.1f} {y:.1f}L{x + 3:.1f} {y:.1f}" if alone else f"M{x:.1f} {y:.1f}"
        else:
            yield f"L{x:.1f} {y:.1f}"
