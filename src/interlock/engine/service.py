"""The use-cases: what every surface (command line, API, library) may ask for. Nothing else is reachable from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from interlock.decide import breaker as breaker_rules
from interlock.decide.access import Right, refusal
from interlock.decide.glance import CUT_OFF, glance
from interlock.decide.govern import NAMES
from interlock.decide.policy import Considered, PolicySet
from interlock.decide.taint import begin
from interlock.engine.alarms import Alarms
from interlock.engine.alive import is_dead
from interlock.engine.backups import BackedUp, Backups, Restored
from interlock.engine.checkup import agents_health, system_facts, system_health
from interlock.engine.durable import SHARED, own_queue
from interlock.engine.identities import Identities
from interlock.engine.ledger import Verification
from interlock.engine.means import Means
from interlock.engine.sessions import Sessions
from interlock.engine.undo import CallUndo, UndoneCall
from interlock.engine.upkeep import Sealed, Upkeep
from interlock.engine.watch import Watch, verify
from interlock.engine.worker import Worker
from interlock.errors import ApprovalError, NotFoundError, UsageError, WorkspaceError, did_you_mean
from interlock.model.action import Action, Surface
from interlock.model.agent import AgentSpec
from interlock.model.approval import Approval, ApprovalState
from interlock.model.breaker import Breaker
from interlock.model.decision import Decision, Policy
from interlock.model.glance import Glance, Status
from interlock.model.health import Health, HealthStatus, SystemFacts
from interlock.model.history import History
from interlock.model.identity import Identity
from interlock.model.ids import new_id
from interlock.model.ledger import LedgerEntry
from interlock.model.metrics import AgentMetrics, Metrics
from interlock.model.plan import Plan, Selection, Task
from interlock.model.risk import RiskAssessment
from interlock.model.run import Attempt, AttemptState, Effect, QueuePlace, Run, RunState
from interlock.model.session import Session, SessionVerdict, Spooled
from interlock.store import queue, rows, watching
from interlock.store.database import micros

_POLL_S = 0.1
_FRESH_S = 2.0
"""How long :meth:`Service.fresh_health` is fresh, in seconds."""
_SOON_S = 0.25
_UNKNOWN = Health(subject="system", status=HealthStatus.UNKNOWN, at=datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """A run with everything that belongs to it, as it stands now."""

    run: Run
    attempts: tuple[Attempt, ...]
    effects: tuple[Effect, ...]
    approvals: tuple[Approval, ...]
    waits_for: str
    """One sentence: a person, a place in the queue; empty when it is at work or has ended."""


class Service:
    """One project's Interlock. Without :meth:`start` it answers and records; with it, this process also executes."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._worker: Worker | None = None
        self._sessions = Sessions(means)
        self._backups = Backups(means)
        self._upkeep = Upkeep(means, means.settings.state_dir / "archive")
        self._undo = CallUndo(means)
        self.settings = means.settings
        self.alarms = Alarms(means)
        self.rollouts = means.rollouts
        self._watch: Watch | None = None
        self.catalogue = means.catalogue
        self.identities = Identities(means.database, means.ledger, means.clock)
        self._looking = threading.Lock()
        self._looked: tuple[float, tuple[Health, tuple[Health, ...]]] = (0.0, (_UNKNOWN, ()))

    def start(self, *, shared: bool = False) -> None:
        """Execute in this process too, and take over what dead processes have left.

        With ``shared`` it also executes the runs that were submitted for anybody (``interlock worker``).
        """
        self._worker = Worker(self._means, shared=shared)
        self._worker.start()
        self._watch = Watch(self._means, self.alarms, self.rollouts)
        self._watch.start()

    def drain(self, hurry: threading.Event | None = None) -> None:
        """Take nothing new and let the agents at work finish, until ``hurry`` or as long as ``worker.drain_s`` allows."""
        if self._worker is not None:
            self._worker.drain(self.settings.worker.drain_s, hurry or threading.Event())

    @property
    def worker_id(self) -> str:
        """The name of this process in the store."""
        return self._means.worker_id

    def at_work(self) -> int:
        """How many attempts this process executes."""
        return self._worker.at_work() if self._worker is not None else 0

    def close(self) -> None:
        """Stop executing; what is under way is resumed by the next process."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self._means.database.close()

    def judge(self, action: Action) -> Decision:
        """What the gate would say to an action in this project. Nothing happens, nothing is recorded."""
        return self._means.judge(action, str(self.settings.project)).decision

    def explain(self, action: Action) -> tuple[Considered, ...]:
        """Every rule of every policy, and why it does or does not match the action."""
        course = self._means.rollouts.policies.course()
        return self._means.gate.explain(action, self._means.scope(str(self.settings.project)), course=course)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies in force."""
        return self.policy_set.policies

    @property
    def policy_set(self) -> PolicySet:
        """The same, compiled: what a new run would obey. During a rollout's stages the present set."""
        return self._means.rollouts.policies.course().ruling

    def assess(self, task: Task) -> RiskAssessment:
        """What the task risks."""
        return self._means.chooser.assess(task)

    def select(self, task: Task) -> Selection:
        """Which agents suit the task."""
        return self._means.chooser.select(task)

    def plan(self, task: Task) -> Plan:
        """Who would do what, in which order.

        Raises:
            PlanError: when there is no sound plan.
        """
        return self._means.chooser.plan(task)

    def correct(self, text: str, agents: Sequence[str], *, actor: str) -> bool:
        """Teach that these agents are the right ones for such a task; False when that is known already.

        Raises:
            UsageError: for no agent.
            NotFoundError: for an unknown one.
        """
        for agent in agents:
            self.check_agent(agent)
        new = self._means.chooser.correct(text, agents)
        if new:
            with self._means.database.write() as conn:
                facts = {"task": text, "agents": list(agents)}
                self._means.ledger.append(conn, "operator:plans", "plan.corrected", facts, actor=actor)
        return new

    def submit(self, task: Task, *, detach: bool = False) -> Run:
        """Take a task on, durably. The same idempotency key gives the same run. ``detach`` leaves it to any worker.

        Raises:
            UsageError: when the task is empty or far too long.
            PlanError: when nobody suits, before anything is stored.
            ConfigError: when an agent of the plan cannot be run as configured; nothing is stored either.
        """
        if not task.text.strip():
            message = 'the task is empty; say what is to be done: interlock run "…"'
            raise UsageError(message)
        if len(task.text) > _LONGEST_TASK:
            message = f"the task has {len(task.text)} characters; {_LONGEST_TASK} are the most"
            raise UsageError(message)
        for agent in self.plan(task).agents:
            self._means.runner_of(self._means.spec(agent))
        if not self._means.durable.queue:
            self._means.durable.prepare()
        now = self._means.clock.now()
        run = Run(
            id=new_id("run"),
            task=replace(task, submitted_at=now),
            environment=self.settings.environment,
            submitted_at=now,
        )
        with self._means.database.write() as conn:
            known = rows.find_run_by_key(conn, task.idempotency_key) if task.idempotency_key else None
            if known is not None:
                return known
            rows.insert_run(conn, run)
            rows.save_history(conn, run.id, rows.text_of(begin(task.text)))
            self._means.ledger.append(
                conn, run.id, "task.submitted",
                {"task": task.text, "environment": run.environment, "agents": list(task.agents)}, actor=task.submitter,
            )  # fmt: skip
            checkpoint = self._means.ledger.checkpoint(conn)
            self._means.durable.start_run(conn, run.id, SHARED if detach else self._home(conn))
        self._means.ledger.anchor(checkpoint)
        return run

    def _home(self, conn: sa.Connection) -> str:
        """The queue of this process's worker; without one, that of a living worker, or of anybody who comes."""
        if self._means.durable.queue:
            return self._means.durable.queue
        now = micros(self._means.database.time(conn, self._means.clock.now()))
        living = [row for row in queue.list_workers(conn) if not is_dead(row, now)]
        alone = [row for row in living if row.queue == own_queue(row.id)]
        return SHARED if len(alone) < len(living) or not alone else alone[0].queue

    def claim(self, run_id: str) -> Run:
        """Have a run that waits for any worker executed by this process."""
        run = self.find_run(run_id)
        with self._means.database.read() as conn:
            waits = self._means.durable.queue and self._means.durable.waits_for_anybody(conn, run.id)
        if waits:
            self._means.durable.resume([run.id], self._means.durable.queue)
        return run

    def find_run(self, run_id: str) -> Run:
        """The run of that id, or the only one that begins or ends with it; ``last`` is the newest.

        Raises:
            NotFoundError: when there is none, or more than one.
        """
        with self._means.database.read() as conn:
            if run_id == "last" and (newest := rows.list_runs(conn, limit=1)):
                return newest[0]
            run = rows.find_run(conn, run_id)
            if run is not None:
                return run
            similar = rows.matching_run_ids(conn, run_id) if run_id else []
        if len(similar) == 1:
            return self.find_run(similar[0])
        hint = f"it could be {', '.join(similar)}" if similar else "`interlock runs` lists them"
        message = f"there is no run {run_id!r}: {hint}"
        raise NotFoundError(message)

    def runs(self, *, states: Sequence[RunState] = (), before: str = "", limit: int = 50) -> list[Run]:
        """Runs, newest first; ``before`` is the id of a run to go on after.

        Raises:
            NotFoundError: when there is no run of that id.
        """
        with self._means.database.read() as conn:
            mark = rows.find_run(conn, before) if before else None
            if before and mark is None:
                raise NotFoundError(f"there is no run {before!r} to go on after")
            return rows.list_runs(conn, states=states, before=mark, limit=limit)

    def counts(self) -> dict[str, int]:
        """How many runs there are by state, and by outcome for those that have ended."""
        with self._means.database.read() as conn:
            return rows.count_runs(conn)

    def view(self, run_id: str) -> RunView:
        """The run with everything that belongs to it."""
        run = self.find_run(run_id)
        with self._means.database.read() as conn:
            attempts = rows.attempts_of(conn, run.id)
            effects = rows.effects_of(conn, run.id)
            approvals = rows.list_approvals(conn, run_id=run.id)
        return RunView(
            run=run, attempts=tuple(attempts), effects=tuple(effects), approvals=tuple(approvals),
            waits_for=_waits_for(run, attempts, approvals),
        )  # fmt: skip

    def follow(self, run_id: str, *, after: int = 0) -> Iterator[LedgerEntry | None]:
        """The run's records as they come, until it has ended; None when there was nothing new for a moment."""
        while True:
            run = self.find_run(run_id)
            page = self._means.ledger.entries(run_id=run_id, after=after)
            for entry in page:
                after = entry.seq
                yield entry
            if run.state is RunState.ENDED and not page:
                return
            if not page:
                yield None
                time.sleep(_POLL_S)

    def cancel(self, run_id: str, actor: str) -> Run:
        """End a run: its agents are ended, what they did is undone, its outcome is ``cancelled``.

        Raises:
            UsageError: when it has already ended.
        """
        run = self.find_run(run_id)
        if run.state is RunState.ENDED:
            message = f"{run.id} has already ended: {run.outcome.kind if run.outcome else ''}"
            raise UsageError(message)
        if run.state is RunState.SESSION:
            message = f"{run.id} is a session of {run.task.submitter}'s own: end it where it runs"
            raise UsageError(message)
        with self._means.database.write() as conn:
            rows.request_cancel(conn, run.id, actor)
            self._means.ledger.append(conn, run.id, "run.cancel_requested", {}, actor=actor, once="cancel")
            self._means.durable.rouse(conn, run.id)
        return run

    def diff(self, run_id: str) -> str:
        """What the run has changed so far, as a unified diff; empty when its line has not begun or is gone."""
        run = self.find_run(run_id)
        try:
            return self._means.workspaces.run_diff(run.id)
        except WorkspaceError:
            return ""

    def approvals(
        self,
        *,
        states: Sequence[ApprovalState] = (ApprovalState.PENDING,),
        after: str = "",
        limit: int | None = None,
    ) -> list[Approval]:
        """Questions to people, oldest first; ``after`` is the id of a question to go on after."""
        with self._means.database.read() as conn:
            return rows.list_approvals(conn, states=states, after=after, limit=limit)

    def open_questions(self) -> int:
        """How many questions wait for people."""
        with self._means.database.read() as conn:
            return rows.count_approvals(conn, ApprovalState.PENDING)

    def find_approval(self, approval_id: str) -> Approval:
        """The question of that id; a run's id stands for its only open question.

        Raises:
            NotFoundError: when there is none, or the run has several.
        """
        with self._means.database.read() as conn:
            approval = rows.find_approval(conn, approval_id)
            if approval is not None:
                return approval
            fitting = rows.matching_approvals(conn, approval_id) if approval_id else []
            near = "" if fitting else did_you_mean(approval_id, _some_ids(conn))
        if len(fitting) == 1:
            return fitting[0]
        message = f"there is no approval {approval_id!r}: {near or '`interlock approvals list` shows what waits'}"
        raise NotFoundError(message)

    def vote(self, approval_id: str, voter: str, *, approve: bool, note: str = "") -> Approval:
        """Answer a question.

        Raises:
            ApprovalError: when the vote does not count, and why.
        """
        return self._means.approvals.vote(self.find_approval(approval_id).id, voter, approve=approve, note=note)

    def vote_on_same(self, approval_id: str, voter: str, *, approve: bool, note: str = "") -> list[Approval]:
        """Answer a question and all open ones that show exactly the same; see :meth:`Approvals.vote_on_same`."""
        found = self.find_approval(approval_id)
        return self._means.approvals.vote_on_same(found.id, voter, approve=approve, note=note)

    def answer(self, approval_id: str, who: Identity, *, approve: bool, digest: str, note: str = "") -> Approval:
        """Answer a question as an identified person who has seen ``digest``.

        Raises:
            ApprovalError: when it was a program, another subject was seen, or the vote does not count.
            NotFoundError: when there is no such question.
        """
        approval = self.find_approval(approval_id)
        no = refusal(who, Right.ANSWER)
        if no:
            raise ApprovalError(no)
        if digest != approval.digest:
            raise ApprovalError("what you have seen is not what this question is about: look at it again")
        return self._means.approvals.vote(approval.id, who.name, approve=approve, note=note)

    def queue(self) -> list[QueuePlace]:
        """What waits for a place, next one first."""
        return self._means.governor.places()

    def now(self) -> datetime:
        """The time that decisions are made by."""
        return self._means.clock.now()

    def queued(self) -> int:
        """How many attempts wait for a place."""
        with self._means.database.read() as conn:
            return watching.queue_facts(conn)[0]

    def limits(self) -> dict[str, tuple[int, str]]:
        """Every limit by name, with where it comes from: the configuration's, or what an operator has set on top."""
        with self._means.database.read() as conn:
            by_hand = queue.limits(conn)
        settings = self.settings.limits
        known = {name: getattr(settings, name) for name in NAMES}
        known |= {f"agent:{name}": spec.max_concurrent for name, spec in self.catalogue.items()
                  if spec.max_concurrent is not None}  # fmt: skip
        known |= {f"tag:{name}": most for name, most in settings.tags.items()}
        found = {name: (most, "configured") for name, most in known.items()}
        return found | {name: (most, "set by hand") for name, most in by_hand.items()}

    def set_limit(self, name: str, most: int | None, *, actor: str) -> None:
        """Change a limit for all processes of this store, at once; None goes back to the configured one. 0 means never.

        Raises:
            UsageError: when there is no such limit, or the number is negative.
        """
        kind, _, which = name.partition(":")
        fits = name in NAMES or (kind == "tag" and which) or (kind == "agent" and which in self.catalogue)
        if not fits:
            hint = did_you_mean(name, self.limits()) or f"known: {', '.join(NAMES)}, agent:NAME, tag:NAME"
            message = f"there is no limit {name!r}; {hint}"
            raise UsageError(message)
        if most is not None and most < 0:
            message = "a limit is 0 (never) or more"
            raise UsageError(message)
        with self._means.database.write() as conn:
            queue.set_limit(conn, name, most)
            self._means.ledger.append(conn, "operator:limits", "limit.set", {"name": name, "most": most}, actor=actor)

    def check_agent(self, name: str) -> AgentSpec:
        """The agent of that name.

        Raises:
            NotFoundError: when there is no such agent.
        """
        spec = self.catalogue.get(name)
        if spec is None:
            hint = did_you_mean(name, self.catalogue) or "`interlock agents list` shows them"
            message = f"there is no agent {name!r}: {hint}"
            raise NotFoundError(message)
        return spec

    def breakers(self) -> list[Breaker]:
        """Every agent's breaker."""
        with self._means.database.read() as conn:
            known = {breaker.agent: breaker for breaker in rows.list_breakers(conn)}
        return [known.get(name, Breaker(agent=name)) for name in sorted({*self.catalogue, *known})]

    def force_breaker(self, agent: str, what: breaker_rules.Force, *, reason: str, actor: str) -> Breaker:
        """Open, close or reset an agent's breaker by hand.

        Raises:
            NotFoundError: when there is no such agent.
        """
        self.check_agent(agent)
        with self._means.database.write() as conn:
            before = rows.find_breaker(conn, agent)
            after = breaker_rules.force(before, what, reason, self._means.clock.now())
            rows.save_breaker(conn, after)
            self._means.ledger.append(
                conn, f"operator:{agent}", "breaker.forced",
                {"agent": agent, "from": before.state, "to": after.state, "reason": reason}, actor=actor,
            )  # fmt: skip
        return after

    def metrics(self, window: timedelta | None = None, *, within_s: float | None = None) -> Metrics:
        """What was measured in the last ``window`` (to the minute), or ever; the state of this moment in both.

        ``within_s`` bounds the counting of new records; ``seq`` says up to where they are counted.
        """
        return self._means.meter.metrics(window, within_s=within_s)

    def hours(self, count: int = 24, *, agent: str | None = None) -> dict[str, list[tuple[datetime, AgentMetrics]]]:
        """Agents (or one) hour by hour, oldest first, the last ``count`` hours; the starts of the hours in UTC."""
        return self._means.meter.hours(count, agent)

    def glance(self) -> Glance:
        """Is it safe, and why not. Alerts and breakers are of this moment, health is up to two seconds old."""
        system, agents = self.fresh_health()
        return glance(system, agents, self.alarms.alerts(), self.breakers())

    def status(self) -> Status:
        """Counts for one look, and whether it is safe."""
        seen = self.glance()
        return Status(
            safe=seen.safe, reasons=tuple(reason.text for reason in seen.reasons), environment=self.settings.environment,
            runs=self.counts(), waiting_for_people=self.open_questions(), queued=self.queued(),
            firing=sum(alert.active for alert in self.alarms.alerts()),
            cut_off=tuple(one.agent for one in self.breakers() if one.state in CUT_OFF), worker=self.has_living_worker(),
        )  # fmt: skip

    def fresh_health(self) -> tuple[Health, tuple[Health, ...]]:
        """The system's and the agents' health of the last two seconds: many look, one asks."""
        with self._looking:
            if time.monotonic() >= self._looked[0]:
                health = (self.system_health(), tuple(self.healths(within_s=_SOON_S)))
                self._looked = (time.monotonic() + _FRESH_S, health)
            return self._looked[1]

    def health(self, agent: str) -> Health:
        """How well an agent is.

        Raises:
            NotFoundError: when there is no such agent.
        """
        self.check_agent(agent)
        return next(each for each in self.healths() if each.subject == agent)

    def healths(self, *, within_s: float | None = None) -> list[Health]:
        """How well all agents of the catalogue are; ``within_s`` as for :meth:`metrics`."""
        return agents_health(self._means, self.alarms, within_s)

    def system_health(self) -> Health:
        """How well Interlock itself is."""
        return system_health(self._means)

    def system_facts(self) -> SystemFacts:
        """What the system's health is judged by."""
        return system_facts(self._means)

    def judge_call(
        self, session: Session, tool: str, args: Mapping[str, Any], *, wait: timedelta, elsewhere: bool = False
    ) -> SessionVerdict:
        """Judge a call of an agent that somebody runs by hand, and record it; people are waited for as long as ``wait``.

        With ``elsewhere`` a confirm is answered as such: the agent's own program asks the person in front of it.
        Never raises: whatever goes wrong is a block.
        """
        return self._sessions.before(session, tool, args, wait=wait, elsewhere=elsewhere)

    def settle_call(
        self, session: Session, tool: str, args: Mapping[str, Any], *, ok: bool | None, output: str
    ) -> SessionVerdict:
        """Record how such a call came out (None: nobody knows) and judge its result. Never raises."""
        return self._sessions.after(session, tool, args, ok=ok, output=output)

    def judge_definition(self, session: Session, tool: str, text: str) -> Decision:
        """Judge what a tool says of itself before a model reads it. Never raises: whatever goes wrong is a block."""
        return self._sessions.define(session, tool, text)

    def note(self, session: Session, kind: str, data: Mapping[str, Any]) -> None:
        """Record something that has happened in such an agent's session besides its calls."""
        self._sessions.note(session, kind, data)

    def warm_up(self) -> None:
        """Load now what judging would load at the first call of its kind: parsers, mostly."""
        for tool, args in (("shell", {"command": "git diff | psql -c 'select 1'"}), ("sql", {"query": "select 1"})):
            action = Action(kind=Surface.TOOL_CALL, tool=tool, args=args)
            self._means.gate.judge(action, self._means.scope(str(self.settings.project)), history=History())

    def take_in(self, calls: Sequence[Spooled]) -> None:
        """Record calls that were judged before the store was open. The same one twice is recorded once."""
        self._sessions.take_in(calls)

    def undo_call(self, effect_id: str, *, actor: str, why: str = "") -> UndoneCall:
        """Undo one call: in a workspace at work, or on the branch of a run that is left for review.

        Raises:
            NotFoundError: when there is no such call.
            UsageError: when it cannot be undone, and why.
            ConflictError: when later changes build upon it.
        """
        return self._undo.undo(effect_id, actor=actor, why=why)

    def verify(self) -> Verification:
        """Whether the ledger is whole; names the first bad record."""
        return verify(self._means)

    def migrate(self) -> int:
        """Bring the store up to date; returns its version."""
        return self._upkeep.migrate()

    def collect(self, days: int | None = None, *, actor: str, dry: bool = False) -> Sealed:
        """Archive and remove runs that ended more than ``days`` ago (``retention_days`` where nothing is said)."""
        older = timedelta(days=self.settings.retention_days if days is None else days)
        sealed = self._upkeep.collect(older, actor=actor, dry=dry)
        if sealed.runs and not dry:
            self._means.ledger.anchor(self._means.database.transact(self._means.ledger.checkpoint))
        return sealed

    def backup(self, file: Path, *, actor: str) -> BackedUp:
        """Write a backup of the store; see :meth:`interlock.engine.backups.Backups.make`."""
        return self._backups.make(file, actor=actor)

    def restore(
        self, file: Path, *, actor: str, replace_it: bool = False, resume: bool = False, digest: str = ""
    ) -> Restored:
        """Fill the store from a backup; see :meth:`interlock.engine.backups.Backups.restore`."""
        return self._backups.restore(file, actor=actor, replace_it=replace_it, resume=resume, digest=digest)

    def problems(self) -> list[str]:
        """What is wrong with the store; empty when all is well."""
        return self._upkeep.problems()

    def entries(self, *, run_id: str = "", after: int = 0, limit: int = 1000) -> list[LedgerEntry]:
        """Records in order."""
        return self._means.ledger.entries(run_id=run_id, after=after, limit=limit)

    def all_entries(self, *, run_id: str = "") -> Iterator[LedgerEntry]:
        """All records in order."""
        return self._means.ledger.stream(run_id=run_id)

    def recorded_actions(self, *, run_id: str = "") -> list[dict[str, Any]]:
        """Every tool call that was intended or blocked, as ``policy diff`` replays it: with redacted arguments.

        A call whose arguments were too long to be kept has ``left_out`` instead of ``args``.
        """
        with self._means.database.read() as conn:
            texts = rows.recorded_actions(conn, run_id=run_id)
        blocked = (entry for entry in self._means.ledger.stream(run_id=run_id) if entry.kind == "call.blocked")
        texts += [str(entry.data["action"]) for entry in blocked if entry.data.get("action")]
        return [orjson.loads(text) for text in texts]

    def search(
        self, *, text: str = "", kind: str = "", actor: str = "", run_id: str = "", before: int = 0, limit: int = 100
    ) -> tuple[list[LedgerEntry], int]:
        """Records newest first, and where to go on (0: the end); see :meth:`interlock.engine.ledger.Ledger.search`."""
        return self._means.ledger.search(
            text=text, kind=kind, actor=actor, run_id=run_id, before=before, limit=limit
        )  # fmt: skip

    def newest_entry(self) -> int:
        """The sequence number of the last record, 0 for none."""
        return self._means.ledger.newest()

    def unfinished(self) -> list[Run]:
        """Runs that have not ended, oldest first."""
        states = [state for state in RunState if state not in {RunState.ENDED, RunState.SESSION}]
        return list(reversed(self.runs(states=states, limit=1000)))

    def has_shared_worker(self) -> bool:
        """Whether any process executes runs that were submitted for anybody."""
        with self._means.database.read() as conn:
            now = micros(self._means.database.time(conn, self._means.clock.now()))
            return any(row.queue != own_queue(row.id) and not is_dead(row, now) for row in queue.list_workers(conn))

    def has_living_worker(self, now: datetime | None = None) -> bool:
        """Whether any process executes."""
        now = now or self._means.clock.now()
        with self._means.database.read() as conn:
            shared = micros(self._means.database.time(conn, now))
            return any(not is_dead(row, shared) for row in queue.list_workers(conn))


_LONGEST_TASK = 100_000
_NEAR = 200
"""Open questions among which a mistyped id is looked for."""


def _some_ids(conn: sa.Connection) -> list[str]:
    return [one.id for one in rows.list_approvals(conn, states=(ApprovalState.PENDING,), limit=_NEAR)]


def _waits_for(run: Run, attempts: Sequence[Attempt], approvals: Sequence[Approval]) -> str:
    if run.state is RunState.ENDED:
        return ""
    asked = [approval for approval in approvals if approval.state is ApprovalState.PENDING]
    if asked:
        missing = asked[0].quorum - len(asked[0].votes)
        return f"{missing} more yes to {asked[0].id}" if asked[0].votes else f"a person's answer to {asked[0].id}"
    ready = [attempt for attempt in attempts if attempt.state is AttemptState.READY]
    busy = any(attempt.state in {AttemptState.RUNNING, AttemptState.ADMITTED} for attempt in attempts)
    return f"a place for {ready[0].agent}" if ready and not busy else ""
