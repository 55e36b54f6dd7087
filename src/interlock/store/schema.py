"""The tables. Times are microseconds since 1970 in UTC; nouns are JSON text as :mod:`interlock.model.plain` writes it."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = 1
"""Raised by every change that an older program could not live with."""

metadata = sa.MetaData()

version = sa.Table("il_version", metadata, sa.Column("version", sa.Integer, primary_key=True))

runs = sa.Table(
    "il_run",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, server_default=""),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("history", sa.Text, nullable=False, server_default=""),
    sa.Column("cancel", sa.Text, nullable=False, server_default=""),
    sa.Column("worker", sa.Text, nullable=False, server_default="", comment="where its body is executed"),
    sa.Column("queue", sa.Text, nullable=False, server_default="", comment="where its attempts are executed"),
    sa.Column(
        "parked", sa.Integer, nullable=False, server_default="0", comment="1: it waits, and nothing executes its body"
    ),
    sa.Column("idempotency_key", sa.Text, unique=True),
    sa.Column("submitted_at", sa.BigInteger, nullable=False),
)
sa.Index("il_run_state", runs.c.state, runs.c.outcome)
sa.Index("il_run_submitted", runs.c.submitted_at, runs.c.id)

attempts = sa.Table(
    "il_attempt",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, sa.ForeignKey("il_run.id"), nullable=False),
    sa.Column("phase", sa.Integer, nullable=False),
    sa.Column("assigned", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("queued_at", sa.BigInteger, nullable=False),
    sa.Column(
        "rank", sa.BigInteger, nullable=False, comment="queue order: smaller goes first; priority and age in one"
    ),
    sa.Column("not_before", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("admitted_at", sa.BigInteger),
    sa.Column("excludes", sa.Text, nullable=False, server_default="[]"),
    sa.Column("tags", sa.Text, nullable=False, server_default="[]"),
    sa.Column("submitter", sa.Text, nullable=False, server_default=""),
)
sa.Index("il_attempt_run", attempts.c.run_id)
sa.Index(
    "il_attempt_line",
    attempts.c.agent,
    attempts.c.submitter,
    attempts.c.priority,
    attempts.c.rank,
    sqlite_where=attempts.c.state == "ready",
    postgresql_where=attempts.c.state == "ready",
)
sa.Index("il_attempt_admitted", attempts.c.admitted_at)
sa.Index("il_attempt_served", attempts.c.submitter, attempts.c.admitted_at)

forecasts = sa.Table(
    "il_forecast",
    metadata,
    sa.Column("attempt_id", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, comment="its place in the queue when this was expected"),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("expected_ms", sa.BigInteger, nullable=False),
)
sa.Index("il_forecast_at", forecasts.c.at)

permits = sa.Table(
    "il_permit",
    metadata,
    sa.Column("attempt_id", sa.Text, sa.ForeignKey("il_attempt.id"), primary_key=True),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False, server_default=""),
    sa.Column("fence", sa.Integer, nullable=False, server_default="0", comment="how often it has changed hands"),
    sa.Column("generation", sa.Integer, nullable=False, server_default="0", comment="the breaker's, when admitted"),
)

limits = sa.Table(
    "il_limit",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, comment="max_concurrent, per_minute, per_agent, agent:NAME, tag:NAME"),
    sa.Column("most", sa.Integer, nullable=False),
)

budgets = sa.Table(
    "il_budget",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True, comment="run:ID, day:DATE, agent:NAME:DATE, submitter:NAME:DATE"),
    sa.Column("tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("cost_micros", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("calls", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("millis", sa.BigInteger, nullable=False, server_default="0"),
)

reservations = sa.Table(
    "il_reservation",
    metadata,
    sa.Column("attempt_id", sa.Text, sa.ForeignKey("il_attempt.id"), primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("cost_micros", sa.BigInteger, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("millis", sa.BigInteger, nullable=False),
)
sa.Index("il_reservation_scope", reservations.c.scope)

workers = sa.Table(
    "il_worker",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("born", sa.Text, nullable=False, comment="the process's start time: a pid alone may be another process"),
    sa.Column(
        "place",
        sa.Text,
        nullable=False,
        server_default="",
        comment="workers of one place share the project's directory",
    ),
    sa.Column("queue", sa.Text, nullable=False, server_default="", comment="where its runs' attempts go"),
    sa.Column("lease_until", sa.BigInteger, nullable=False),
    sa.Column("heir", sa.Text, nullable=False, server_default="", comment="the worker that takes over from a dead one"),
)

breakers = sa.Table(
    "il_breaker",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("breaker", sa.Text, nullable=False),
)

effects = sa.Table(
    "il_effect",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, sa.ForeignKey("il_run.id"), nullable=False),
    sa.Column("attempt_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("outside", sa.Boolean, nullable=False, comment="whether it reaches beyond the attempt's workspace"),
    sa.Column("effect", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False, server_default="", comment="the action, redacted, for replays"),
)
sa.Index("il_effect_run", effects.c.run_id, effects.c.number)

approvals = sa.Table(
    "il_approval",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, sa.ForeignKey("il_run.id"), nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("approval", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)
sa.Index("il_approval_digest", approvals.c.run_id, approvals.c.digest)
sa.Index("il_approval_open", approvals.c.state, approvals.c.id)
sa.Index("il_approval_due", approvals.c.state, approvals.c.expires_at)

tokens = sa.Table(
    "il_token",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True, comment="SHA-256 of the secret, which nobody keeps"),
    sa.Column("parent", sa.Text, nullable=False, server_default="", comment="the token a session was opened with"),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger, comment="revoked, or a link used"),
)
sa.Index("il_token_parent", tokens.c.parent)

ledger = sa.Table(
    "il_ledger",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("once", sa.Text, comment="a record with this word is written at most once for its run"),
    sa.Column("body", sa.LargeBinary, nullable=False, comment="the exact bytes that were hashed"),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("total", sa.Text, nullable=False, comment="the chain over all runs"),
    sa.UniqueConstraint("run_id", "number"),
    sa.UniqueConstraint("run_id", "once"),
)
sa.Index("il_ledger_kind", ledger.c.kind, ledger.c.at)

checkpoints = sa.Table(
    "il_checkpoint",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("total", sa.Text, nullable=False),
    sa.Column("prev", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

metrics = sa.Table(
    "il_metric",
    metadata,
    sa.Column("size_s", sa.Integer, primary_key=True, comment="length of the stretch in seconds; 0: all time"),
    sa.Column("start", sa.BigInteger, primary_key=True, comment="where the stretch begins, seconds since 1970"),
    sa.Column("agent", sa.Text, primary_key=True, comment="empty: the system"),
    sa.Column("tally", sa.Text, nullable=False),
)

marks = sa.Table(
    "il_mark",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, comment="who has read the ledger up to here, or did something then"),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
)

requests = sa.Table(
    "il_request",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True, comment="whose key it is"),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, comment="of what was asked: the same key never stands for two things"),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Integer, nullable=False, server_default="0", comment="0: nobody knows how it came out"),
    sa.Column("body", sa.Text, nullable=False, server_default=""),
)

sa.Index("il_request_at", requests.c.at)

leases = sa.Table(
    "il_lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
)

alerts = sa.Table(
    "il_alert",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("alert", sa.Text, nullable=False),
)
sa.Index("il_alert_state", alerts.c.state)

silences = sa.Table(
    "il_silence",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("silence", sa.Text, nullable=False),
)

heightened = sa.Table(
    "il_heightened",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

rollouts = sa.Table(
    "il_rollout",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False, comment="whether it is the one that counts for its agent"),
    sa.Column("rollout", sa.Text, nullable=False),
)
sa.Index("il_rollout_agent", rollouts.c.agent, rollouts.c.current)

trials = sa.Table(
    "il_trial",
    metadata,
    sa.Column("rollout_id", sa.Text, primary_key=True),
    sa.Column("attempt_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, comment="the order in which the rollout's attempts ended"),
    sa.Column("trial", sa.Text, nullable=False),
)

policy_sets = sa.Table(
    "il_policy_set",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column(
        "policies", sa.Text, nullable=False, comment="the rules themselves: every worker judges by the same ones"
    ),
)

judged = sa.Table(
    "il_judged",
    metadata,
    sa.Column("rollout_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("canary", sa.Boolean, nullable=False, comment="which set judges the run, for good"),
    sa.Column("calls", sa.Integer, nullable=False, server_default="0"),
    sa.Column("tighter", sa.Integer, nullable=False, server_default="0"),
    sa.Column("looser", sa.Integer, nullable=False, server_default="0"),
    sa.Column("errors", sa.Integer, nullable=False, server_default="0"),
    sa.Column("left_out", sa.Integer, nullable=False, server_default="0"),
    sa.Column("old_blocked", sa.Integer, nullable=False, server_default="0"),
    sa.Column("new_blocked", sa.Integer, nullable=False, server_default="0"),
    sa.Column("old_asked", sa.Integer, nullable=False, server_default="0"),
    sa.Column("new_asked", sa.Integer, nullable=False, server_default="0"),
    sa.Column("examples", sa.Text, nullable=False, server_default="[]"),
)
