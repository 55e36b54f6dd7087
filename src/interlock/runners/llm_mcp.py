"""MCP servers as tools of a model: started inside the sandbox, every call through the gate, definitions pinned.

Needs the extra ``mcp``. A server works in the agent's workspace, apart from the agent's commands: with a directory of its own
for HOME, and with the secrets that the configuration gives it, which the model never sees.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from interlock.errors import ConfigError, MissingExtraError, RunnerError
from interlock.ports import Notes
from interlock.reading.secrets import redact
from interlock.runners.llm_tools import ToolError, Tools

if TYPE_CHECKING:
    from fastmcp import Client
    from pydantic_ai import Tool

START_S = 60.0
"""Seconds for a server to start and to say what it can."""
CALL_S = 300.0
"""Seconds for one call."""
Hidden = Callable[[str, Mapping[str, Mapping[str, Any]]], Mapping[str, str]]
"""(server, definitions by tool) to why each is hidden, empty when it is not: pins, and what the gate says of the words."""


def all_hidden(_server: str, definitions: Mapping[str, Mapping[str, Any]]) -> Mapping[str, str]:
    """For a runner that was given nobody to ask."""
    return dict.fromkeys(definitions, "nobody has accepted it")


class McpServer(BaseModel):
    """One server of ``runner: {kind: llm, mcp: {NAME: …}}``: a program or a URL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = ()
    """The program and its arguments; ``{project}`` and ``{workspace}`` stay as they are: it starts in the workspace."""
    url: str = Field(default="", pattern="^(https?://.+)?$")
    credentials: Mapping[str, str] = Field(default_factory=dict)
    """Environment variables of the program (for a URL: headers) by name, and the credential whose secret each holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """The servers of one agent, and what they need of Interlock."""

    servers: Mapping[str, McpServer]
    hidden: Hidden
    secret_of: Callable[[str], str]

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: for a server that is neither a program nor a URL, or both.
            MissingExtraError: when there are servers and no client for them.
        """
        for name, server in self.servers.items():
            if bool(server.command) == bool(server.url) or not name.replace("-", "").isalnum():
                hint = f"mcp: {{{name}: {{command: [PROGRAM, …]}}}} or {{url: …}}; a name has letters, digits and -"
                raise ConfigError(f"the MCP server {name!r} is not understood", suggestion=hint)
        if self.servers and find_spec("fastmcp") is None:
            raise MissingExtraError("an agent with MCP servers", "mcp")

    @asynccontextmanager
    async def open(self, tools: Tools) -> AsyncIterator[Sequence[Tool[object]]]:
        """What the model may call of them, while they run.

        Raises:
            RunnerError: when one does not start, or offers nothing.
        """
        async with AsyncExitStack() as stack:
            offered: list[Tool[object]] = []
            for name, server in self.servers.items():
                secrets = await asyncio.to_thread(self._secrets, server)
                transport = _transport(name, server, secrets, tools)
                running = _Running(name=name, client=await _started(stack, name, transport), secrets=secrets)
                offered += await self._tools(running, tools)
            yield offered

    def _secrets(self, server: McpServer) -> dict[str, str]:
        return {variable: self.secret_of(credential) for variable, credential in server.credentials.items()}

    async def _tools(self, server: _Running, tools: Tools) -> list[Tool[object]]:
        from pydantic_ai import Tool  # noqa: PLC0415 - an extra

        found = {tool.name: tool for tool in await server.client.list_tools()}
        if not found:
            raise RunnerError(f"the MCP server {server.name} offers no tools", kind="unknown")
        definitions = {name: _definition(tool) for name, tool in found.items()}
        hidden = await asyncio.to_thread(self.hidden, server.name, definitions)
        for name, why in hidden.items():
            if why and isinstance(tools.gate, Notes):
                await tools.gate.note("tool.hidden", {"server": server.name, "tool": name, "why": why})
        return [
            Tool.from_schema(
                server.tool(name, tools), server.called(name), found[name].description, found[name].input_schema,
                sequential=True,
            )
            for name in found
            if not hidden[name]
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Running:
    """A server that has been started."""

    name: str
    client: Client[Any]
    secrets: Mapping[str, str]

    def called(self, tool: str) -> str:
        """The tool's name for the gate and the model."""
        return f"mcp__{self.name}__{tool}"

    def tool(self, name: str, tools: Tools) -> Callable[..., Awaitable[str]]:
        """The tool as a function of the model's."""

        async def call(**args: Any) -> str:
            from pydantic_ai.exceptions import ToolFailed  # noqa: PLC0415 - an extra

            try:
                return await tools.gated(self.called(name), args, lambda: self._answer(name, args))
            except ToolError as error:
                raise ToolFailed(str(error)) from None

        return call

    async def _answer(self, name: str, args: Mapping[str, Any]) -> str:
        from fastmcp.exceptions import ToolError as Refused  # noqa: PLC0415 - an extra

        try:
            async with asyncio.timeout(CALL_S):
                result = await self.client.call_tool(name, dict(args), raise_on_error=False)
        except Refused as error:
            raise ToolError(self._clean(str(error))) from None
        except Exception as error:
            raise OutcomeUnknown(f"{self.called(name)} has not answered ({type(error).__name__})") from error
        text = self._clean("\n".join(getattr(block, "text", f"({block.type})") for block in result.content))
        if result.is_error:
            raise ToolError(text)
        return text

    def _clean(self, text: str) -> str:
        """Without its own secrets, and without others that look like some."""
        for secret in self.secrets.values():
            text = text.replace(secret, "***")
        return redact(text)


async def _started(stack: AsyncExitStack, name: str, transport: Any) -> Client[Any]:
    from fastmcp import Client  # noqa: PLC0415 - an extra

    client: Client[Any] = Client(transport, mode="legacy")
    try:
        async with asyncio.timeout(START_S):
            await stack.enter_async_context(client)
    except Exception as error:  # noqa: BLE001 - whatever it was, its own words could hold a secret
        why = f"{type(error).__name__}; a program runs inside the sandbox, in the workspace"
        raise RunnerError(f"the MCP server {name} cannot be reached: {why}", kind="transient") from None
    return client


def _transport(name: str, server: McpServer, secrets: Mapping[str, str], tools: Tools) -> Any:
    from fastmcp.client.transports import StdioTransport, StreamableHttpTransport  # noqa: PLC0415 - an extra

    if server.url:
        return StreamableHttpTransport(server.url, headers=dict(secrets))
    places = replace(tools.places, scratch=tools.places.sockets / f"mcp-{name}", guarded=bool(secrets))
    for folder in ("home", "tmp"):
        (places.scratch / folder).mkdir(parents=True, mode=0o700)
    box = tools.wrap(server.command, places.environment() | dict(secrets), places)
    return StdioTransport(
        box.argv[0], list(box.argv[1:]), env=dict(box.env), cwd=str(places.workspace), keep_alive=False,
        log_file=Path(os.devnull),  # what it prints for people is not for ours
    )  # fmt: skip


class OutcomeUnknown(Exception):  # noqa: N818 - it says what is known, and fails nothing by itself
    """Raised when a server did not answer a call: nobody knows what it did."""


def _definition(tool: Any) -> dict[str, Any]:
    """Everything that a model reads of a tool, as the gateway pins it."""
    plain = {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "parameters": tool.input_schema,
        "output": tool.output_schema,
        "annotations": tool.annotations.model_dump(mode="json", exclude_none=True) if tool.annotations else None,
    }
    return {key: value for key, value in plain.items() if value is not None}
