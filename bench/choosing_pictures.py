"""The pictures of :mod:`bench.choosing`: which agent was taken for which, and how learning goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[int, float, float, float]
"""How many past tasks, the figure, and its interval."""
_COLOURS = ("#1565c0", "#2e7d32", "#c62828", "#6a1b9a", "#ef6c00")


def counted(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], dict[tuple[str, str], int]]:
    names = sorted({name for pair in pairs for name in pair})
    cells: dict[tuple[str, str], int] = defaultdict(int)
    for pair in pairs:
        cells[pair] += 1
    return names, cells


def picture(pairs: Sequence[tuple[str, str]]) -> str:
    """The confusion matrix as SVG."""
    names, cells = counted(pairs)
    size, left = 26, 210
    out = []
    for y, wanted in enumerate(names):
        total = sum(cells.get((wanted, found), 0) for found in names) or 1
        out.append(f'<text x="{left - 6}" y="{left + y * size + 17}" text-anchor="end">{escape(wanted)}</text>')
        out.append(
            f'<text transform="translate({left + y * size + 17},{left - 6}) rotate(-90)">{escape(wanted)}</text>'
        )
        for x, found in enumerate(names):
            count = cells.get((wanted, found), 0)
            colour = "46,125,50" if wanted == found else "198,40,40"
            out.append(
                f'<rect x="{left + x * size}" y="{left + y * size}" width="{size - 1}" height="{size - 1}"'
                f' fill="rgba({colour},{count / total:.2f})" stroke="#ddd"/>'
            )
            if count:
                out.append(
                    f'<text x="{left + x * size + 13}" y="{left + y * size + 17}" text-anchor="middle">{count}</text>'
                )
    side = left + len(names) * size + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}" font-family="sans-serif" font-size="11">'
    return head + '<rect width="100%" height="100%" fill="white"/>' + "".join(out) + "</svg>\n"


def curves(lines: Mapping[str, Sequence[Point]], *, title: str) -> str:
    """Learning curves as SVG: a line and its interval for each name; steps are drawn evenly."""
    wide, high, left, top = 560, 260, 50, 34
    steps = sorted({point[0] for line in lines.values() for point in line})
    x = {step: left + place * (wide / max(1, len(steps) - 1)) for place, step in enumerate(steps)}
    out = [f'<text x="{left}" y="18" font-size="13">{escape(title)}</text>']
    for tenth in range(0, 11, 2):
        y = top + high * (1 - tenth / 10)
        out.append(f'<line x1="{left}" x2="{left + wide}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{tenth / 10:.1f}</text>')
    out += [f'<text x="{x[step]:.0f}" y="{top + high + 18}" text-anchor="middle">{step}</text>' for step in steps]
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]

        def at(step: int, share: float) -> str:
            return f"{x[step]:.1f},{top + high * (1 - share):.1f}"

        band = [at(step, low) for step, _, low, _ in line] + [at(step, top_) for step, _, _, top_ in reversed(line)]
        out.append(f'<polygon points="{" ".join(band)}" fill="{colour}" opacity="0.08"/>')
        points = " ".join(at(step, share) for step, share, _, _ in line)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        last, share = line[-1][0], line[-1][1]
        out.append(
            f'<text x="{x[last] + 6:.0f}" y="{top + high * (1 - share) + 4:.0f}" fill="{colour}">{escape(name)}</text>'
        )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 140}" height="{top + high + 30}" font-family="sans-serif" font-size="11">'
    return head + '<rect width="100%" height="100%" fill="white"/>' + "".join(out) + "</svg>\n"
