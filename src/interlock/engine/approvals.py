"""Questions to people. A yes is narrow: bound to a digest, used once, expiring, named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from interlock.engine.durable import Durable
from interlock.engine.ledger import Ledger
from interlock.errors import ApprovalError, NotFoundError
from interlock.model.approval import Approval, ApprovalState, Vote
from interlock.model.identity import person_behind
from interlock.model.ids import new_id
from interlock.ports import Clock
from interlock.store import rows
from interlock.store.database import Database, micros

_FEW = 100
"""Questions that expire or are answered in one transaction: others wait for the writer only that long."""
_OVER = frozenset({ApprovalState.USED, ApprovalState.EXPIRED})
"""What a question cannot be answered in any more, and what the next one of the same digest does not inherit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What people are asked."""

    run_id: str
    subject: str
    digest: str
    shown: Mapping[str, Any]
    reason: str
    requester: str
    quorum: int
    separate: bool


class Approvals:
    """The questions of one store."""

    def __init__(
        self, database: Database, ledger: Ledger, durable: Durable, clock: Clock, *, lifetime: timedelta
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._durable = durable
        self._clock = clock
        self._lifetime = lifetime

    def ask(self, conn: sa.Connection, question: Question) -> Approval:
        """Put the question, once: one that is still open, or answered and not yet used, is returned as it is.

        One whose yes was used, or whose time is over, is put anew: nobody's old answer counts for it.
        """
        known = self.latest(conn, question.run_id, question.digest)
        if known is not None and known.state not in _OVER:
            return known
        now = self._clock.now()
        approval = Approval(
            id=new_id("apr"),
            run_id=question.run_id,
            subject=question.subject,
            digest=question.digest,
            shown=question.shown,
            reason=question.reason,
            requester=question.requester,
            quorum=question.quorum,
            separate=question.separate,
            asked_at=now,
            expires_at=now + self._lifetime,
        )
        rows.insert_approval(conn, approval)
        self._record(conn, approval, "approval.asked", actor="interlock", reason=question.reason)
        return approval

    def latest(self, conn: sa.Connection, run_id: str, digest: str) -> Approval | None:
        """The last question about exactly this digest, as it stands now."""
        known = rows.list_approvals(conn, run_id=run_id, digest=digest)
        last = max(known, key=lambda each: (each.asked_at, each.state not in _OVER), default=None)
        return self._aged(conn, last) if last else None

    def vote(self, approval_id: str, voter: str, *, approve: bool, note: str = "") -> Approval:
        """Count one person's answer. One no denies; ``quorum`` different people's yes approves.

        Raises:
            NotFoundError: when there is no such question.
            ApprovalError: when the vote does not count; nothing has changed.
        """
        with self._database.write() as conn:
            return self._vote(conn, self.find(conn, approval_id), voter, approve=approve, note=note)

    def vote_on_same(self, approval_id: str, voter: str, *, approve: bool, note: str = "") -> list[Approval]:
        """The same for that question and all open ones that show exactly what it shows: who has seen one has seen them all.

        A vote that does not count is left out. Returns the questions with a vote of ``voter``'s.

        Raises:
            NotFoundError: when there is no such question.
            ApprovalError: when no vote counts.
        """
        with self._database.read() as conn:
            seen = self.find(conn, approval_id)
            same = [one for one in rows.open_approvals(conn, seen.digest) if _looks_like(one, seen)]
        done, refused = list[Approval](), ApprovalError(f"this question is already {seen.state}")
        for start in range(0, len(same), _FEW):
            with self._database.write() as conn:
                for one in same[start : start + _FEW]:
                    try:
                        done.append(self._vote(conn, self.find(conn, one.id), voter, approve=approve, note=note))
                    except ApprovalError as problem:
                        refused = problem
        if not done:
            raise refused
        return done

    def _vote(self, conn: sa.Connection, approval: Approval, voter: str, *, approve: bool, note: str) -> Approval:
        self._check_vote(approval, voter)
        vote = Vote(voter=voter, approve=approve, at=self._clock.now(), note=note)
        votes = (*approval.votes, vote)
        state = approval.state
        if not approve:
            state = ApprovalState.DENIED
        elif len({each.voter for each in votes}) >= approval.quorum:
            state = ApprovalState.APPROVED
        approval = replace(approval, votes=votes, state=state)
        rows.save_approval(conn, approval)
        kind = "approval.approved" if approve else "approval.denied"
        self._record(conn, approval, kind, actor=voter, note=note, votes=len(votes), quorum=approval.quorum)
        if state is not ApprovalState.PENDING:
            self._durable.rouse(conn, approval.run_id)
        return approval

    def expire(self) -> int:
        """Close some of the questions whose time is over, the oldest first; returns how many, 0 when none is left."""
        now = micros(self._clock.now())
        with self._database.read() as conn:
            due = rows.due_approvals(conn, now, _FEW)
        if due:
            with self._database.write() as conn:
                for approval_id in due:
                    self.state(conn, approval_id)
        return len(due)

    def use(self, conn: sa.Connection, run_id: str, digest: str) -> Approval | None:
        """Use the yes for exactly this digest, if there is one: it counts once and not after its time."""
        for approval in rows.list_approvals(conn, run_id=run_id, digest=digest, states=(ApprovalState.APPROVED,)):
            current = self._aged(conn, approval)
            if current.state is ApprovalState.APPROVED:
                used = replace(current, state=ApprovalState.USED)
                rows.save_approval(conn, used)
                self._record(conn, used, "approval.used", actor="interlock")
                return used
        return None

    def is_open(self, conn: sa.Connection, approval_id: str) -> bool:
        """Whether the question still waits for an answer; reads only."""
        approval = self.find(conn, approval_id)
        return approval.state is ApprovalState.PENDING and self._clock.now() < approval.expires_at

    def state(self, conn: sa.Connection, approval_id: str) -> ApprovalState:
        """Where the question stands now; an old one has expired, whoever looks first."""
        return self._aged(conn, self.find(conn, approval_id)).state

    def withdraw(self, conn: sa.Connection, run_id: str, reason: str) -> None:
        """Close the questions of a run that has ended."""
        for approval in rows.list_approvals(
            conn, run_id=run_id, states=(ApprovalState.PENDING, ApprovalState.APPROVED)
        ):
            rows.save_approval(conn, replace(approval, state=ApprovalState.WITHDRAWN))
            self._record(conn, approval, "approval.withdrawn", actor="interlock", reason=reason)

    def find(self, conn: sa.Connection, approval_id: str) -> Approval:
        """The question of that id.

        Raises:
            NotFoundError: when there is none.
        """
        approval = rows.find_approval(conn, approval_id)
        if approval is None:
            message = f"there is no approval {approval_id}; `interlock approvals list` shows what waits"
            raise NotFoundError(message)
        return approval

    def _check_vote(self, approval: Approval, voter: str) -> None:
        if approval.state is not ApprovalState.PENDING:
            message = f"this question is already {approval.state}"
            raise ApprovalError(message)
        if self._clock.now() >= approval.expires_at:
            message = f"this question expired at {approval.expires_at.isoformat(timespec='seconds')}"
            raise ApprovalError(message)
        if approval.separate and voter == person_behind(approval.requester):
            message = f"{voter} asked for it: critical work needs somebody else's yes"
            raise ApprovalError(message)
        if any(vote.voter == voter for vote in approval.votes):
            message = f"{voter} has already answered; it needs {approval.quorum} different people"
            raise ApprovalError(message)

    def _aged(self, conn: sa.Connection, approval: Approval) -> Approval:
        open_states = {ApprovalState.PENDING, ApprovalState.APPROVED}
        if approval.state not in open_states or self._clock.now() < approval.expires_at:
            return approval
        expired = replace(approval, state=ApprovalState.EXPIRED)
        rows.save_approval(conn, expired)
        self._record(conn, expired, "approval.expired", actor="interlock")
        self._durable.rouse(conn, expired.run_id)
        return expired

    def _record(self, conn: sa.Connection, approval: Approval, kind: str, *, actor: str, **data: Any) -> None:
        facts = {"approval": approval.id, "subject": approval.subject, "digest": approval.digest, **data}
        self._ledger.append(conn, approval.run_id, kind, facts, actor=actor)


def _looks_like(one: Approval, other: Approval) -> bool:
    return (one.digest, one.subject, one.shown) == (other.digest, other.subject, other.shown)
