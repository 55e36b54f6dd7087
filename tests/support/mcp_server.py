"""A small MCP server of our own, whose tools are told by the file in its argument: for what real servers should not do."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fastmcp import FastMCP
from fastmcp.resources import TextResource
from fastmcp.tools import Tool
from pydantic import AnyUrl

told = Path(sys.argv[1])
server: FastMCP[None] = FastMCP("odd")


def make(name: str) -> Callable[..., str]:
    def answer(text: str = "", **_: object) -> str:
        with told.with_suffix(".calls").open("a") as calls:
            calls.write(f"{name} {text}\n")
        does = json.loads(told.read_text())[name]
        if does.get("crash"):
            os._exit(3)
        time.sleep(does.get("slow", 0))
        return str(does.get("answer", f"{name} got {text}"))

    def tool(text: str = "") -> str:
        return answer(text)

    return tool


for name, does in json.loads(told.read_text()).items():
    if does.get("resource"):
        server.add_resource(
            TextResource(
                uri=AnyUrl(f"odd://{name}"), name=name, description=does.get("says", ""), text=does["resource"]
            )
        )
        continue
    server.add_tool(Tool.from_function(make(name), name=name, description=does.get("says", "Answers.")))
server.run(show_banner=False, log_level="ERROR")
