"""Questions to people, and their answers."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.decide.access import Right, refusal
from interlock.engine.means import Means
from interlock.errors import ApprovalError, NotFoundError, did_you_mean
from interlock.model.approval import Approval, ApprovalState
from interlock.model.identity import Identity
from interlock.store import rows

_NEAR = 200
"""Open questions among which a mistyped id is looked for."""


class Questions:
    """The questions of one store, as people see them."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def list(
        self,
        *,
        states: Sequence[ApprovalState] = (ApprovalState.PENDING,),
        after: str = "",
        limit: int | None = None,
    ) -> list[Approval]:
        """Questions to people, oldest first; ``after`` is the id of a question to go on after."""
        with self._means.database.read() as conn:
            return rows.list_approvals(conn, states=states, after=after, limit=limit)

    def waiting(self) -> int:
        """How many questions wait for people."""
        with self._means.database.read() as conn:
            return rows.count_approvals(conn, ApprovalState.PENDING)

    def find(self, approval_id: str) -> Approval:
        """The question of that id; a run's id stands for its only open question.

        Raises:
            NotFoundError: when there is none, or the run has several.
        """
        with self._means.database.read() as conn:
            approval = rows.find_approval(conn, approval_id)
            if approval is not None:
                return approval
            fitting = rows.matching_approvals(conn, approval_id) if approval_id else []
            if len(fitting) == 1:
                return fitting[0]
            some = rows.list_approvals(conn, states=(ApprovalState.PENDING,), limit=_NEAR)
        near = did_you_mean(approval_id, [one.id for one in some])
        message = f"there is no approval {approval_id!r}: {near or '`interlock approvals list` shows what waits'}"
        raise NotFoundError(message)

    def vote(self, approval_id: str, voter: str, *, approve: bool, note: str = "") -> Approval:
        """Answer a question.

        Raises:
            ApprovalError: when the vote does not count, and why.
        """
        return self._means.approvals.vote(self.find(approval_id).id, voter, approve=approve, note=note)

    def vote_on_same(self, approval_id: str, voter: str, *, approve: bool, note: str = "") -> Sequence[Approval]:
        """Answer a question and all open ones that show exactly the same.

        Raises:
            NotFoundError: when there is no such question.
            ApprovalError: when no vote counts, and why.
        """
        found = self.find(approval_id)
        return self._means.approvals.vote_on_same(found.id, voter, approve=approve, note=note)

    def answer(self, approval_id: str, who: Identity, *, approve: bool, digest: str, note: str = "") -> Approval:
        """Answer a question as an identified person who has seen ``digest``.

        Raises:
            ApprovalError: when it was a program, another subject was seen, or the vote does not count.
            NotFoundError: when there is no such question.
        """
        approval = self.find(approval_id)
        no = refusal(who, Right.ANSWER)
        if no:
            raise ApprovalError(no)
        if digest != approval.digest:
            raise ApprovalError("what you have seen is not what this question is about: look at it again")
        return self._means.approvals.vote(approval.id, who.name, approve=approve, note=note)
