"""The console of the command line: whatever is printed, only Interlock's own styles reach the terminal as control codes."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from interlock.surfaces.cli.common import visible


class Screen(Console):
    """Rich takes out some control characters of a text and lets others through: escape is one of those."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, their text made visible."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
