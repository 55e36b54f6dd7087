"""How four model APIs say the same few things: read a request, write an answer, whole or as server-sent events.

Only what agents in use need: Anthropic messages, OpenAI chat completions and responses, Gemini generateContent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Plain = dict[str, Any]
Event = tuple[str, Any]
"""The name of a server-sent event (empty: none) and its data; text is sent as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """The model wants a tool."""

    id: str
    tool: str
    args: Plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the model says: calls, or a text."""

    number: int
    model: str
    calls: Sequence[Call] = ()
    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


class Dialect(Protocol):
    """One API."""

    def results(self, body: Plain) -> int:
        """How many tool results the request carries: the number of steps already done."""
        ...

    def opening(self, body: Plain) -> str:
        """The first thing that the user said, as JSON text."""
        ...

    def whole(self, reply: Reply) -> Plain:
        """The answer as one JSON value."""
        ...

    def events(self, reply: Reply) -> Iterator[Event]:
        """The answer as server-sent events."""
        ...


def _parts(messages: Any, key: str = "content") -> Iterator[Mapping[str, Any]]:
    for message in messages if isinstance(messages, list) else []:
        content = message.get(key) if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict):
                yield part


def _first_of_user(messages: Any) -> str:
    for message in messages if isinstance(messages, list) else [messages]:
        if not isinstance(message, dict) or message.get("role", "user") == "user":
            return json.dumps(message)
    return ""


class Anthropic:
    """``POST /v1/messages``."""

    def results(self, body: Plain) -> int:
        """See :class:`Dialect`."""
        return sum(part.get("type") == "tool_result" for part in _parts(body.get("messages")))

    def opening(self, body: Plain) -> str:
        """See :class:`Dialect`."""
        return _first_of_user(body.get("messages"))

    def whole(self, reply: Reply) -> Plain:
        """See :class:`Dialect`."""
        content: list[Plain] = [{"type": "text", "text": reply.text}] if reply.text or not reply.calls else []
        content += [{"type": "tool_use", "id": call.id, "name": call.tool, "input": call.args} for call in reply.calls]
        return {
            "id": f"msg_{reply.number}", "type": "message", "role": "assistant", "model": reply.model, "content": content,
            "stop_reason": "tool_use" if reply.calls else "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens},
        }  # fmt: skip

    def events(self, reply: Reply) -> Iterator[Event]:
        """See :class:`Dialect`."""
        message = self.whole(reply)
        blocks = message["content"]
        yield "message_start", {"type": "message_start", "message": message | {"content": [], "stop_reason": None}}
        for index, block in enumerate(blocks):
            if block["type"] == "tool_use":
                empty: Plain = block | {"input": {}}
                delta: Plain = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            else:
                empty, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
            yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": empty}
            yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
            yield "content_block_stop", {"type": "content_block_stop", "index": index}
        end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        yield "message_delta", {"type": "message_delta", "delta": end, "usage": message["usage"]}
        yield "message_stop", {"type": "message_stop"}


class Chat:
    """``POST /v1/chat/completions``."""

    def results(self, body: Plain) -> int:
        """See :class:`Dialect`."""
        return sum(isinstance(one, dict) and one.get("role") == "tool" for one in body.get("messages") or [])

    def opening(self, body: Plain) -> str:
        """See :class:`Dialect`."""
        return _first_of_user(body.get("messages"))

    def _message(self, reply: Reply) -> Plain:
        if not reply.calls:
            return {"role": "assistant", "content": reply.text}
        calls = [
            {"index": index, "id": call.id, "type": "function",
             "function": {"name": call.tool, "arguments": json.dumps(call.args)}}
            for index, call in enumerate(reply.calls)
        ]  # fmt: skip
        return {"role": "assistant", "content": reply.text or None, "tool_calls": calls}

    def _usage(self, reply: Reply) -> Plain:
        total = reply.input_tokens + reply.output_tokens
        return {"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens, "total_tokens": total}

    def _head(self, reply: Reply, kind: str) -> Plain:
        return {"id": f"chatcmpl-{reply.number}", "object": kind, "created": 0, "model": reply.model}

    def whole(self, reply: Reply) -> Plain:
        """See :class:`Dialect`."""
        reason = "tool_calls" if reply.calls else "stop"
        choice = {"index": 0, "message": self._message(reply), "finish_reason": reason, "logprobs": None}
        return self._head(reply, "chat.completion") | {"choices": [choice], "usage": self._usage(reply)}

    def events(self, reply: Reply) -> Iterator[Event]:
        """See :class:`Dialect`."""
        head = self._head(reply, "chat.completion.chunk")
        reason = "tool_calls" if reply.calls else "stop"
        yield "", head | {"choices": [{"index": 0, "delta": self._message(reply), "finish_reason": None}]}
        yield "", head | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        yield "", head | {"choices": [], "usage": self._usage(reply)}
        yield "", "[DONE]"


class Responses:
    """``POST /v1/responses``."""

    def results(self, body: Plain) -> int:
        """See :class:`Dialect`."""
        items = body.get("input")
        return sum(
            isinstance(item, dict) and str(item.get("type", "")).endswith("call_output")
            for item in (items if isinstance(items, list) else [])
        )

    def opening(self, body: Plain) -> str:
        """See :class:`Dialect`: all that users said, because some clients put notes of their own first."""
        items = body.get("input")
        return json.dumps(
            [i for i in items if isinstance(i, dict) and i.get("role") == "user"] if isinstance(items, list) else items
        )

    def _items(self, reply: Reply) -> list[Plain]:
        calls: list[Plain] = [
            {"type": "function_call", "id": f"fc_{call.id}", "call_id": call.id, "name": call.tool,
             "arguments": json.dumps(call.args), "status": "completed"}
            for call in reply.calls
        ]  # fmt: skip
        text = {"type": "output_text", "text": reply.text, "annotations": []}
        return calls or [
            {
                "type": "message",
                "id": f"m_{reply.number}",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
        ]

    def whole(self, reply: Reply) -> Plain:
        """See :class:`Dialect`."""
        total = reply.input_tokens + reply.output_tokens
        return {
            "id": f"resp_{reply.number}", "object": "response", "created_at": 0, "model": reply.model, "status": "completed",
            "output": self._items(reply), "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None,
            "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0,
            "usage": {"input_tokens": reply.input_tokens, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                      "output_tokens": reply.output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
                      "total_tokens": total},
        }  # fmt: skip

    def events(self, reply: Reply) -> Iterator[Event]:
        """See :class:`Dialect`."""
        numbered = (
            (kind, data | {"type": kind, "sequence_number": at}) for at, (kind, data) in enumerate(self._said(reply))
        )
        yield from numbered

    def _said(self, reply: Reply) -> Iterator[tuple[str, Plain]]:
        whole = self.whole(reply)
        yield "response.created", {"response": whole | {"status": "in_progress", "output": [], "usage": None}}
        for index, item in enumerate(whole["output"]):
            at: Plain = {"output_index": index, "item_id": item["id"]}
            if item["type"] == "function_call":
                yield (
                    "response.output_item.added",
                    {"output_index": index, "item": item | {"arguments": "", "status": "in_progress"}},
                )
                yield "response.function_call_arguments.delta", at | {"delta": item["arguments"]}
                done = {"arguments": item["arguments"], "name": item["name"]}
                yield "response.function_call_arguments.done", at | done
            else:
                part, text = item["content"][0], item["content"][0]["text"]
                at["content_index"] = 0
                yield (
                    "response.output_item.added",
                    {"output_index": index, "item": item | {"content": [], "status": "in_progress"}},
                )
                yield "response.content_part.added", at | {"part": part | {"text": ""}}
                yield "response.output_text.delta", at | {"delta": text, "logprobs": []}
                yield "response.output_text.done", at | {"text": text, "logprobs": []}
                yield "response.content_part.done", at | {"part": part}
            yield "response.output_item.done", {"output_index": index, "item": item}
        yield "response.completed", {"response": whole}


class Gemini:
    """``POST /v1beta/models/NAME:generateContent`` and ``:streamGenerateContent``."""

    def results(self, body: Plain) -> int:
        """See :class:`Dialect`."""
        return sum("functionResponse" in part for part in _parts(body.get("contents"), "parts"))

    def opening(self, body: Plain) -> str:
        """See :class:`Dialect`."""
        return _first_of_user(body.get("contents"))

    def whole(self, reply: Reply) -> Plain:
        """See :class:`Dialect`."""
        parts: list[Plain] = [
            {"functionCall": {"id": call.id, "name": call.tool, "args": call.args}} for call in reply.calls
        ] or [{"text": reply.text}]
        total = reply.input_tokens + reply.output_tokens
        return {
            "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": reply.input_tokens, "candidatesTokenCount": reply.output_tokens,
                              "totalTokenCount": total},
            "modelVersion": reply.model, "responseId": f"r{reply.number}",
        }  # fmt: skip

    def events(self, reply: Reply) -> Iterator[Event]:
        """See :class:`Dialect`."""
        yield "", self.whole(reply)
