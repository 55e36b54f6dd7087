"""What can be configured about Interlock's own processes: workers, and the server for people and programs."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, model_validator

from interlock.config.base import PART, Seconds, Section, Word


class WorkerSettings(Section):
    """Workers hold permits as leases."""

    lease_s: Annotated[Seconds, Field(ge=1)] = 30
    """Seconds after which a silent worker's work goes to another one."""
    heartbeat_s: Annotated[Seconds, Field(ge=1)] = 5
    """Seconds between signs of life; at most half the lease."""
    place: str = ""
    """Workers of one place share the project's directory and so take over from each other; empty: this host and directory."""
    drain_s: Seconds = 30
    """Seconds that a worker which is told to stop gives its agents to finish; what is left then goes to another worker."""

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        if info.context is PART:
            return self
        if self.heartbeat_s * 2 > self.lease_s:
            raise ValueError("heartbeat_s must be at most half of lease_s: one late beat would lose the work")
        return self


class ServerSettings(Section):
    """The HTTP API and the dashboard (``interlock serve``)."""

    host: Word = "127.0.0.1"
    """The address to listen on. Beyond this machine only with TLS, or behind a proxy that does it."""
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 8377
    """The port; 0 takes a free one."""
    names: tuple[Word, ...] = ()
    """Host names under which people reach it besides ``localhost`` and the address; requests for others are refused."""
    max_body_kb: Annotated[int, Field(strict=True, ge=1, le=65536)] = 1024
    """Longest request, in KiB."""
    requests_per_minute: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1200
    """Requests of one token in a minute, for each server process."""
    session_s: Annotated[Seconds, Field(ge=60)] = 43200
    """How long a browser stays signed in, in seconds."""
