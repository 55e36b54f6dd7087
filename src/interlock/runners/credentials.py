"""Credentials of the operator: found when an attempt begins, handed to what uses them, never to the agent."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.errors import RunnerError
from interlock.runners.relay import Upstream

_LONGEST = 64 << 10
_COMMAND_S = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """Where a secret comes from, and where it goes."""

    name: str
    env: str = ""
    """The variable of Interlock's own environment."""
    file: Path | None = None
    command: Sequence[str] = ()
    """A program of the operator that prints it."""
    url: str = ""
    """The only address that it is sent to; empty: it is no HTTP credential."""
    header: str = "Authorization: Bearer {}"
    """The header, with ``{}`` for the secret."""
    variable: str = ""
    """In which variable the agent finds the relay's URL."""

    def value(self) -> str:
        """The secret, as it is now.

        Raises:
            RunnerError: when there is none; what was found instead is not said.
        """
        try:
            found = self._found().strip()
        except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as error:
            why = f"{type(error).__name__}"
            raise RunnerError(
                f"the credential {self.name} cannot be had ({why}): {self._source()}", kind="unknown"
            ) from None
        if not found or len(found) > _LONGEST or any(ord(letter) < ord(" ") for letter in found):
            raise RunnerError(
                f"the credential {self.name} is empty, or not one line of text: {self._source()}", kind="unknown"
            )
        return found

    def _found(self) -> str:
        if self.env:
            return os.environ.get(self.env, "")
        if self.file is not None:
            with self.file.open("rb") as opened:
                return opened.read(_LONGEST + 2).decode("utf-8")
        done = subprocess.run(
            self.command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_COMMAND_S
        )
        return done.stdout.decode("utf-8")

    def _source(self) -> str:
        if self.env:
            return f"look at the environment variable {self.env}"
        return f"look at the file {self.file}" if self.file else f"look at the command {self.command[0]}"

    def upstream(self) -> Upstream:
        """Where its relay leads; the secret is looked up now."""
        secret = self.value()
        header, _, template = self.header.partition(":")
        return Upstream(
            url=self.url, header=header.strip(), value=template.strip().replace("{}", secret), secret=secret
        )


def none_known(name: str) -> str:
    """For a runner that was given no credentials.

    Raises:
        RunnerError: always.
    """
    raise RunnerError(f"there is no credential {name}: name it under credentials: in interlock.yaml", kind="unknown")
