"""A person's yes is narrow: this digest, once, in time, by the right people, whoever races. On both stores."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from parts import Parts

from interlock.errors import ApprovalError, NotFoundError
from interlock.model.approval import ApprovalState

Make = Callable[..., Parts]


def use(parts: Parts, run_id: str, digest: str = "sha256:1") -> bool:
    with parts.database.write() as conn:
        return parts.approvals.use(conn, run_id, digest) is not None


def state(parts: Parts, approval_id: str) -> ApprovalState:
    with parts.database.write() as conn:
        return parts.approvals.state(conn, approval_id)


def at_once(*works: Callable[[], object]) -> list[object]:
    """Run these side by side; what each returned or raised."""
    results: list[object] = [None] * len(works)
    gate = threading.Barrier(len(works))

    def one(place: int) -> None:
        gate.wait()
        try:
            results[place] = works[place]()
        except ApprovalError as refused:
            results[place] = refused

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_yes_counts_for_its_digest_and_its_run_only_and_once(parts: Make) -> None:
    made = parts()
    run_id, other = made.run(), made.run()
    approval = made.ask(run_id)
    made.approvals.vote(approval, "vera", approve=True)
    assert not use(made, run_id, "sha256:2")
    assert not use(made, other)
    assert use(made, run_id)
    assert not use(made, run_id)
    assert state(made, approval) is ApprovalState.USED


def test_the_same_question_is_put_once_and_after_its_use_anew(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    first = made.ask(run_id)
    assert made.ask(run_id) == first
    made.approvals.vote(first, "vera", approve=True)
    assert use(made, run_id)
    assert made.ask(run_id) != first


def test_one_no_denies_and_ends_the_voting(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    approval = made.ask(run_id, quorum=2)
    made.approvals.vote(approval, "vera", approve=True)
    made.approvals.vote(approval, "nora", approve=False, note="no")
    with pytest.raises(ApprovalError, match="already denied"):
        made.approvals.vote(approval, "otto", approve=True)
    assert not use(made, run_id)


def test_a_question_expires_unanswered_and_a_yes_expires_unused(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    unanswered, unused = made.ask(run_id, "sha256:a"), made.ask(run_id, "sha256:b")
    made.approvals.vote(unused, "vera", approve=True)
    made.clock.forward(3600)
    with pytest.raises(ApprovalError, match="expired"):
        made.approvals.vote(unanswered, "vera", approve=True)
    assert not use(made, run_id, "sha256:b")
    assert state(made, unanswered) is ApprovalState.EXPIRED


@pytest.mark.parametrize("answered", [False, True])
def test_a_question_whose_time_is_over_is_put_anew_and_inherits_no_yes(parts: Make, *, answered: bool) -> None:
    made = parts()
    run_id = made.run()
    first = made.ask(run_id)
    if answered:
        made.approvals.vote(first, "vera", approve=True)
    made.clock.forward(3600)
    second = made.ask(run_id)
    assert second != first
    assert made.ask(run_id) == second
    assert not use(made, run_id)
    made.approvals.vote(second, "vera", approve=True)
    assert use(made, run_id)
    assert state(made, first) is ApprovalState.EXPIRED


def test_a_no_stays_a_no_however_long_ago(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    approval = made.ask(run_id)
    made.approvals.vote(approval, "vera", approve=False)
    made.clock.forward(7 * 86400)
    assert made.ask(run_id) == approval


def test_two_people_are_two_people(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    approval = made.ask(run_id, quorum=2)
    made.approvals.vote(approval, "vera", approve=True)
    with pytest.raises(ApprovalError, match="already answered"):
        made.approvals.vote(approval, "vera", approve=True)
    assert not use(made, run_id)
    made.approvals.vote(approval, "nora", approve=True)
    assert use(made, run_id)


def test_the_requester_does_not_count_where_somebody_else_must_agree(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    with pytest.raises(ApprovalError, match="somebody else"):
        made.approvals.vote(made.ask(run_id, separate=True), "ursula", approve=True)
    made.approvals.vote(made.ask(run_id, "sha256:2"), "ursula", approve=True)
    assert use(made, run_id, "sha256:2")


def test_a_question_that_nobody_put_cannot_be_answered(parts: Make) -> None:
    with pytest.raises(NotFoundError, match="approvals list"):
        parts().approvals.vote("apr_none", "vera", approve=True)


def test_the_questions_of_an_ended_run_are_withdrawn(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    open_one, agreed = made.ask(run_id, "sha256:a"), made.ask(run_id, "sha256:b")
    made.approvals.vote(agreed, "vera", approve=True)
    with made.database.write() as conn:
        made.approvals.withdraw(conn, run_id, "the run has ended")
    assert not use(made, run_id, "sha256:b")
    with pytest.raises(ApprovalError, match="withdrawn"):
        made.approvals.vote(open_one, "vera", approve=True)


def test_two_voters_at_once_are_both_counted(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    for number in range(5):
        approval = made.ask(run_id, f"sha256:{number}", quorum=2)
        at_once(*[partial(made.approvals.vote, approval, voter, approve=True) for voter in ("vera", "nora")])
        assert state(made, approval) is ApprovalState.APPROVED


def test_the_same_voter_twice_at_once_is_one_voter(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    for number in range(5):
        approval = made.ask(run_id, f"sha256:{number}", quorum=2)
        answers = at_once(*[partial(made.approvals.vote, approval, "vera", approve=True)] * 2)
        assert sum(isinstance(answer, ApprovalError) for answer in answers) == 1
        assert state(made, approval) is ApprovalState.PENDING


def test_of_two_workers_that_use_one_yes_at_once_one_gets_it(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    for number in range(5):
        digest = f"sha256:{number}"
        made.approvals.vote(made.ask(run_id, digest), "vera", approve=True)
        used = at_once(*[partial(use, made, run_id, digest)] * 3)
        assert Counter(used) == {True: 1, False: 2}


def test_every_answer_is_in_the_ledger_under_its_name(parts: Make) -> None:
    made = parts()
    run_id = made.run()
    made.approvals.vote(made.ask(run_id), "vera", approve=True, note="looked at it")
    use(made, run_id)
    told = [(entry.kind, entry.actor) for entry in made.ledger.entries(run_id=run_id)]
    assert told[1:] == [("approval.asked", "interlock"), ("approval.approved", "vera"), ("approval.used", "interlock")]
    assert not made.ledger.verify().problem
