"""Charts as SVG text, without any library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from clubhouse.numbers import BANDS, Bands, Metric

WIDTH, ROW, LEFT, RIGHT, TOP = 640, 34, 150, 20, 46
DARK, MIDDLE, LIGHT, TEXT = "#1f5fa8", "#7fb0e0", "#d3e5f6", "#333333"


class NothingToDrawError(ValueError):
    """There is no value to draw."""


def percentile_bands(metric: Metric, teams: Sequence[Bands]) -> str:
    """One row a team: a bar from the 10th to the 90th percentile, a darker one for the middle half, a line at the median."""
    drawn = [team for team in teams if team.values]
    if not drawn:
        raise NothingToDrawError(f"there are no measurements of {metric.title.lower()}")
    low, high = min(team.values[0] for team in drawn), max(team.values[-1] for team in drawn)
    scale = (WIDTH - LEFT - RIGHT) / ((high - low) or 1)
    height = TOP + ROW * len(drawn) + 30
    better = " (lower is better)" if metric.lower_is_better else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(metric.title)}: percentiles by team</title>",
        f'<text x="10" y="22" font-size="16" fill="{TEXT}">{escape(metric.title)}, {escape(metric.unit)}: percentiles {BANDS[0]} to {BANDS[-1]} by team{better}</text>',
    ]
    for place, team in enumerate(drawn):
        parts += _row(team, TOP + place * ROW, [LEFT + (value - low) * scale for value in team.values])
    parts += [
        f'<text x="{LEFT}" y="{height - 10}" fill="{TEXT}">{low:g}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{height - 10}" text-anchor="end" fill="{TEXT}">{high:g}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _row(team: Bands, top: float, at: Sequence[float]) -> list[str]:
    return [
        f'<text x="{LEFT - 10}" y="{top + 16}" text-anchor="end" fill="{TEXT}">{escape(team.team)}</text>',
        f'<rect x="{at[0]:.1f}" y="{top + 4}" width="{at[4] - at[0]:.1f}" height="16" fill="{LIGHT}"/>',
        f'<rect x="{at[1]:.1f}" y="{top + 4}" width="{at[3] - at[1]:.1f}" height="16" fill="{MIDDLE}"/>',
        f'<line x1="{at[2]:.1f}" x2="{at[2]:.1f}" y1="{top}" y2="{top + 24}" stroke="{DARK}" stroke-width="3"/>',
        f'<text x="{at[2] + 5:.1f}" y="{top + 16}" fill="{DARK}">{team.values[2]:g}</text>',
    ]


def band_table(metric: Metric, teams: Sequence[Bands]) -> str:
    """The same as an HTML table; a team without values has dashes, so there is always something to show."""
    head = "".join(f"<th>p{band}</th>" for band in BANDS)
    rows = []
    for team in teams:
        values = [f"{value:g}" for value in team.values] or ["–"] * len(BANDS)
        cells = "".join(f"<td>{value}</td>" for value in values)
        rows.append(f"<tr><th>{escape(team.team)}</th><td>{team.count}</td>{cells}</tr>")
    caption = f"<caption>{escape(metric.title)}, {escape(metric.unit)}: percentiles by team</caption>"
    return f"<table>{caption}<tr><th>team</th><th>values</th>{head}</tr>{''.join(rows)}</table>\n"
