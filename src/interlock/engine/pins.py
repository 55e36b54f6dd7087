"""What the tools of MCP servers say of themselves, as people have accepted it: pinned, and compared at every look.

The first look at a server is trusted, as far as the gate finds nothing in it. Whatever is new or different afterwards is
kept aside, hidden, until a person has accepted exactly that definition, by its digest. The file is ``interlock-pins.json``
in the project where there is one (commit it: a team then shares its pins), else one in the state directory.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from interlock.config import Settings
from interlock.errors import ConfigError, NotFoundError
from interlock.model.decision import Decision, Verdict
from interlock.sandbox.journal import locked, write_atomically

COMMITTED = "interlock-pins.json"
_SHORTEST = 8
"""Characters of a digest that a person must give at least."""


class Standing(StrEnum):
    """How a definition stands to what people have accepted."""

    PINNED = "pinned"
    NEW = "new"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A definition that waits for a person."""

    server: str
    tool: str
    standing: Standing
    digest: str
    diff: str
    """What is pinned against what is offered, as a unified diff of their JSON."""


def digest_of(definition: Mapping[str, Any]) -> str:
    """The SHA-256 of a definition's canonical JSON."""
    return "sha256:" + hashlib.sha256(_canonical(definition)).hexdigest()


class Pins:
    """The pins of one project. Every method takes the file as it is at that moment: gateways run side by side."""

    def __init__(self, settings: Settings) -> None:
        committed = settings.project / COMMITTED
        state = settings.state_dir if settings.state_dir.is_absolute() else settings.project / settings.state_dir
        self.file = committed if committed.exists() else state / "mcp-pins.json"
        self._lock = state / "locks" / "mcp-pins"

    def look(
        self, server: str, definitions: Mapping[str, Mapping[str, Any]], *, trusted: Collection[str]
    ) -> dict[str, Standing]:
        """How each definition stands, by tool. At the first look at a server those of ``trusted`` are pinned.

        Raises:
            ConfigError: when the file cannot be understood: then nothing is known to be accepted.
        """
        with locked(self._lock):
            pins = self._load()
            first = server not in pins
            known = pins.setdefault(server, {"pinned": {}, "offered": {}})
            before = json.dumps(known)
            for tool, definition in definitions.items():
                if first and tool in trusted:
                    known["pinned"][tool] = definition
                if known["pinned"].get(tool) == definition:
                    known["offered"].pop(tool, None)
                else:
                    known["offered"][tool] = definition
            if definitions and json.dumps(known) != before:
                self._save(pins)
            return {tool: _standing(known, tool) for tool in definitions}

    def servers(self) -> dict[str, dict[str, str]]:
        """The digests that are accepted, by server and tool."""
        return {
            server: {tool: digest_of(definition) for tool, definition in sorted(known["pinned"].items())}
            for server, known in sorted(self._load().items())
        }

    def offers(self, server: str = "") -> list[Offer]:
        """What waits for a person."""
        found = []
        for name, known in sorted(self._load().items()):
            if server in {"", name}:
                found += [_offer(name, tool, known) for tool in sorted(known["offered"])]
        return found

    def approve(self, server: str, digests: Collection[str]) -> list[Offer]:
        """Accept exactly the offered definitions of these digests (whole, or at least the first 8 characters).

        Raises:
            NotFoundError: when nothing of that digest is offered: it may have changed again since it was shown.
        """
        with locked(self._lock):
            pins = self._load()
            known = pins.get(server, {"pinned": {}, "offered": {}})
            offers = [_offer(server, tool, known) for tool in sorted(known["offered"])]
            chosen = [_chosen(digest, offers, server) for digest in digests]
            for offer in chosen:
                known["pinned"][offer.tool] = known["offered"].pop(offer.tool)
            if chosen:
                self._save(pins)
        return chosen

    def _load(self) -> dict[str, dict[str, dict[str, Any]]]:
        try:
            found = json.loads(self.file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"it cannot be read: {error}", file=str(self.file), suggestion=_REPAIR) from error
        servers = found.get("servers") if isinstance(found, dict) else None
        if not isinstance(servers, dict) or not all(map(_is_well_formed, servers.values())):
            raise ConfigError("it does not hold pins of MCP servers", file=str(self.file), suggestion=_REPAIR)
        return servers

    def _save(self, pins: Mapping[str, Any]) -> None:
        text = json.dumps({"version": 1, "servers": pins}, indent=1, sort_keys=True, ensure_ascii=False)
        write_atomically(self.file, (text + "\n").encode("utf-8", "surrogatepass"))


class Definitions:
    """Which tools of MCP servers may be shown: those whose words the gate finds nothing in and people have accepted."""

    def __init__(self, pins: Pins, judge: Callable[[str, str], Decision]) -> None:
        """``judge`` takes a tool's full name and all that it says of itself."""
        self._pins = pins
        self._judge = judge
        self._judged: dict[str, tuple[Verdict, str]] = {}

    def reasons(self, server: str, definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """By tool: why it is hidden; empty when it is not.

        Raises:
            ConfigError: when the pins cannot be read.
        """
        verdicts = {tool: self.verdict(server, tool, definitions[tool]) for tool in definitions}
        trusted = [tool for tool, (verdict, _) in verdicts.items() if verdict is Verdict.ALLOW]
        standings = self._pins.look(server, definitions, trusted=trusted)
        return {tool: _reason(server, standings[tool], *verdicts[tool]) for tool in definitions}

    def verdict(self, server: str, name: str, definition: Mapping[str, Any]) -> tuple[Verdict, str]:
        """What the gate says of a definition; the policies are those that it began with."""
        digest = digest_of(definition)
        if digest not in self._judged:
            decision = self._judge(full_name(server, name), f"{name}: " + "\n".join(strings_of(definition)))
            self._judged[digest] = decision.verdict, decision.reason
        return self._judged[digest]


def full_name(server: str, tool: str) -> str:
    """How the gate, policies and models call a tool of a server."""
    return f"mcp__{server}__{tool}"


def strings_of(value: Any) -> Iterator[str]:
    """All texts of plain JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from strings_of(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from strings_of(item)


def _reason(server: str, standing: Standing, verdict: Verdict, reason: str) -> str:
    if verdict is Verdict.BLOCK:
        return f"its definition is dangerous: {reason}"
    if standing is Standing.PINNED:
        return ""
    what = "has changed" if standing is Standing.CHANGED else "is new"
    odd = f" and is suspicious ({reason})" if verdict is Verdict.CONFIRM else ""
    return f"its definition {what}{odd}; a person must accept it first: see `interlock mcp-gateway pins diff {server}`"


_REPAIR = "restore it from version control, or remove it to begin anew"


def _is_well_formed(known: Any) -> bool:
    return (
        isinstance(known, dict)
        and known.keys() == {"pinned", "offered"}
        and all(
            isinstance(each, dict) and all(isinstance(one, dict) for one in each.values()) for each in known.values()
        )
    )


def _standing(known: Mapping[str, Mapping[str, Any]], tool: str) -> Standing:
    if tool not in known["offered"]:
        return Standing.PINNED
    return Standing.CHANGED if tool in known["pinned"] else Standing.NEW


def _offer(server: str, tool: str, known: Mapping[str, Mapping[str, Any]]) -> Offer:
    pinned, offered = known["pinned"].get(tool), known["offered"][tool]
    lines = difflib.unified_diff(_lines(pinned), _lines(offered), "pinned", "offered", lineterm="")
    return Offer(
        server=server, tool=tool, standing=_standing(known, tool), digest=digest_of(offered), diff="\n".join(lines)
    )  # fmt: skip


def _chosen(digest: str, offers: Collection[Offer], server: str) -> Offer:
    wanted = digest.removeprefix("sha256:")
    fitting = [offer for offer in offers if offer.digest.removeprefix("sha256:").startswith(wanted)]
    if len(wanted) < _SHORTEST or len(fitting) != 1:
        raise NotFoundError(
            f"{server} offers no definition with the digest {digest!r}: it may have changed again since you saw it; "
            f"`interlock mcp-gateway pins diff {server}` shows what is offered now"
        )
    return fitting[0]


def _lines(definition: Mapping[str, Any] | None) -> list[str]:
    """JSON with everything outside of ASCII escaped: hidden characters are to be seen."""
    return json.dumps(definition, indent=1, sort_keys=True).splitlines() if definition is not None else []


def _canonical(definition: Mapping[str, Any]) -> bytes:
    return json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()
