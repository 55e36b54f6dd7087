"""The peer's answers, run by an interpreter of its own that has `agent-governance-toolkit-core` (and `sqlglot`) installed.

Reads one JSON object a line (surface, tool, text), writes one verdict a line; with ``--time`` only p50 and p99 of its decisions. Each surface gets every check that the toolkit
ships for it, with its defaults: tool calls the semantic policy engine and the default rules of the control plane (which parse
SQL), tasks and results the prompt injection detector, results also the response scanner, tool definitions the MCP scanner.
It knows no "ask a person": whatever it finds is a block.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from importlib import import_module
from typing import Any

_TEXT_ARGUMENT = {"sql": "query", "shell": "command"}


def load() -> Any:
    """A function from a row to whether one of the peer's checks objects."""
    semantic = import_module("agent_os.semantic_policy").SemanticPolicyEngine()
    injection = import_module("agent_os.prompt_injection").PromptInjectionDetector()
    responses = import_module("agent_os.mcp_response_scanner").MCPResponseScanner()
    definitions = import_module("agent_os.mcp_security").MCPSecurityScanner()
    rules = import_module("agent_control_plane.policy_engine").create_default_policies()
    kernel = import_module("agent_control_plane.agent_kernel")

    def tool_call(row: dict[str, Any]) -> bool:
        params = {_TEXT_ARGUMENT.get(row["tool"], "input"): row["text"]}
        if semantic.classify(row["tool"], params).is_dangerous:
            return True
        kind = kernel.ActionType.DATABASE_QUERY if row["tool"] == "sql" else kernel.ActionType.CODE_EXECUTION
        request = kernel.ExecutionRequest(
            request_id="1", agent_context=None, action_type=kind, parameters=params, timestamp=None
        )
        return not all(rule.validator(request) for rule in rules)

    def objects(row: dict[str, Any]) -> bool:
        if row["surface"] == "tool_call":
            return tool_call(row)
        if row["surface"] == "tool_definition":
            return bool(definitions.scan_tool("tool", row["text"]))
        found = bool(injection.detect(row["text"], source="bench").is_injection)
        return found or (row["surface"] == "tool_result" and not responses.scan_response(row["text"], "tool").is_safe)

    return objects


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    objects = load()
    rows = (json.loads(line) for line in sys.stdin)
    if "--time" in sys.argv:
        print(*timed(objects, list(rows)))
        return
    for row in rows:
        print("block" if objects(row) else "allow")


def timed(objects: Any, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """p50 and p99 in microseconds over the rows; the first fifty only warm up."""
    taken = []
    for row in rows:
        start = time.perf_counter_ns()
        objects(row)
        taken.append((time.perf_counter_ns() - start) / 1000)
    taken = sorted(taken[50:])
    return taken[len(taken) // 2], taken[int(len(taken) * 0.99)]


if __name__ == "__main__":
    main()
