"""The way without a server: one request on standard input, judged in a fresh process. What can wait is not loaded."""

from __future__ import annotations

import gc
import json
import os
import sys


def main(argv: list[str]) -> int:
    """Answer the request for the project that is named."""
    gc.disable()  # this process lives for a moment
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for some takes 20 ms, and there are none
    from pathlib import Path  # noqa: PLC0415 - after what makes it quick

    from interlock.errors import InterlockError  # noqa: PLC0415 - the same
    from interlock.surfaces.hook.once import answer  # noqa: PLC0415 - the same

    try:
        said = answer(json.loads(sys.stdin.buffer.read()), Path(argv[0]))
    except InterlockError as error:
        said = {"verdict": "deny", "reason": f"Interlock cannot judge here: {error}"}
    sys.stdout.write(json.dumps(said) + "\n")
    return 0
