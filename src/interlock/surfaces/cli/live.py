"""A run, live: a table of its agents on a terminal, one line per event in a pipe; questions asked where somebody can answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from interlock.model.approval import Approval, ApprovalState
from interlock.model.ledger import LedgerEntry
from interlock.model.run import Attempt, AttemptState, RunState
from interlock.surfaces.cli.common import at_terminal, console, hanging, me
from interlock.surfaces.cli.question import Answered, put
from interlock.surfaces.cli.run import QUEUED, WAITING
from interlock.surfaces.cli.story import sentence

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from interlock.service import RunView, Service

_REFRESH = 8

Answer = Callable[["Console", Approval], Answered | None]
"""Who answers a question instead of the person at the terminal."""

_MARKS = {
    AttemptState.READY: ("·", "dim"), AttemptState.ADMITTED: ("·", "cyan"), AttemptState.RUNNING: ("▸", "cyan"),
    AttemptState.WAITING: ("?", "yellow"), AttemptState.ENDED: ("✓", "green"),
}  # fmt: skip


@dataclass(kw_only=True, slots=True)
class Told:
    """How far a run's story has been told here."""

    upto: int = 0
    """The sequence number of the last record."""
    began: datetime | None = None


class Watcher:
    """Shows one run until it has ended or nobody here can help it on."""

    def __init__(
        self, service: Service, run_id: str, *, quiet: bool, answer: Answer | None = None, told: Told | None = None
    ) -> None:
        self._answer = answer
        self.told = told or Told()
        self._service = service
        self._run_id = run_id
        self._quiet = quiet
        self._out = console(stderr=quiet)
        self._live: Any = None

    def __enter__(self) -> Self:
        if not self._quiet and self._out.is_terminal:
            from rich.live import Live  # noqa: PLC0415

            self._live = Live(console=self._out, refresh_per_second=_REFRESH, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, *, no_wait: bool = False, ask: bool = True) -> int:
        """Follow the run. Returns 0 when it has ended, else the exit code for what it waits for."""
        for entry in self._service.runs.follow(self._run_id, after=self.told.upto):
            if entry is not None:
                self.told.began = self.told.began or entry.at
                self.told.upto = entry.seq
                self._tell(entry, *sentence(entry))
                continue
            view = self._service.runs.view(self._run_id)
            if view.run.state is RunState.ENDED:
                continue
            waiting = self._help_on(view, no_wait=no_wait, ask=ask)
            if waiting:
                return waiting
            if self._live is not None:
                self._live.update(self._table(view))
        return 0

    def _tell(self, entry: LedgerEntry, text: str, style: str) -> None:
        if text and not self._quiet:
            indent = text[: len(text) - len(text.lstrip())]
            hanging(self._out, f"{self._since_start(entry.at):>7}  {indent}", text.strip(), style=style)

    def _since_start(self, at: datetime) -> str:
        return f"{(at - (self.told.began or at)).total_seconds():.1f}s"

    def _help_on(self, view: RunView, *, no_wait: bool, ask: bool) -> int:
        """Ask the person here; 4 when nobody can be asked, 5 when it is queued and must not wait."""
        asked = next((each for each in view.approvals if each.state is ApprovalState.PENDING), None)
        if asked is not None:
            here = self._answer is not None or (at_terminal() and not self._quiet)
            return self._ask(asked) if ask and here else WAITING
        queued = bool(view.attempts) and all(
            each.state in {AttemptState.READY, AttemptState.ENDED} for each in view.attempts
        )
        waits = any(each.state is AttemptState.READY for each in view.attempts)
        return QUEUED if no_wait and queued and waits and self._service.queue.places() else 0

    def _ask(self, approval: Approval) -> int:
        from interlock.errors import ApprovalError  # noqa: PLC0415

        if self._live is not None:
            self._live.stop()
        try:
            answer = self._answer(self._out, approval) if self._answer else put(self._out, approval, me())
            if answer is None:
                return WAITING
            after = self._service.approvals.vote(approval.id, answer.voter, approve=answer.approve, note=answer.note)
        except ApprovalError as refused:
            self._out.print(f"[red]your answer does not count:[/] {refused}")
            return WAITING
        finally:
            if self._live is not None:
                self._live.start()
        if after.state is ApprovalState.PENDING:
            self._out.print(f"{after.quorum - len(after.votes)} more must agree")
            return WAITING
        return 0

    def _table(self, view: RunView) -> Table:
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, show_header=False, expand=False)
        for attempt in sorted(view.attempts, key=lambda each: (each.phase, each.assigned, each.number)):
            mark, style = ("✗", "red") if attempt.error else _MARKS[attempt.state]
            table.add_row(
                f"[{style}]{mark}[/]", f"phase {attempt.phase + 1}", attempt.agent, f"[{style}]{attempt.state}[/]",
                _took(attempt),
            )  # fmt: skip
        running = self._since_start(datetime.now(UTC))
        waits = f" · waits for {view.waits_for}" if view.waits_for else ""
        table.add_row("", "", f"[dim]{view.run.state} {running}{waits}[/]")
        return table


def _took(attempt: Attempt) -> str:
    if attempt.started_at is None:
        return ""
    end = attempt.ended_at or datetime.now(UTC)
    return f"{(end - attempt.started_at).total_seconds():.1f}s"
