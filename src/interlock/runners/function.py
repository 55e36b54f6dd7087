"""A Python function as an agent."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable

from interlock.errors import InterlockError, RunnerError
from interlock.model.agent import AgentResult
from interlock.ports import AgentFunction, Gate, Job


class FunctionRunner:
    """Runs ``async def agent(job, gate)``; what it returns (a result, its summary, nothing) is the hand-over.

    A function is not contained: it runs in this process. Time-outs and cancellation reach it as
    :class:`asyncio.CancelledError` at its next ``await``; what it has started it must end in ``finally``.
    """

    def __init__(self, function: AgentFunction) -> None:
        self._function = function

    async def run(self, job: Job, gate: Gate) -> AgentResult:
        """Call the function.

        Raises:
            RunnerError: when it raised, is not asynchronous, or returned something else.
        """
        name = getattr(self._function, "__name__", type(self._function).__name__)
        try:
            result = await self._awaitable(name, job, gate)
        except InterlockError:
            raise
        except TimeoutError as error:
            raise RunnerError(f"{name} ran into a time-out of its own: {error}", kind="timeout") from error
        except Exception as error:
            raise RunnerError(f"{name} raised {type(error).__name__}: {error}") from error
        if result is None:
            return AgentResult()
        if isinstance(result, str):
            return AgentResult(summary=result)
        if isinstance(result, AgentResult):
            return result
        raise RunnerError(f"{name} returned {type(result).__name__}; an agent returns AgentResult, text or None")

    def _awaitable(self, name: str, job: Job, gate: Gate) -> Awaitable[AgentResult | str | None]:
        waiting = self._function(job, gate)
        if not inspect.isawaitable(waiting):
            raise RunnerError(f"{name} must be asynchronous: write async def {name}(job, gate)")
        return waiting
