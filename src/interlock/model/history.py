"""What a run has done and seen so far, as much as later judgements need: labels, fingerprints, counts. No text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.model.action import Labels


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The past of a run, handed from agent to agent with its results; joins only tighten."""

    labels: Labels = field(default_factory=Labels)
    """Of everything read so far."""
    untrusted: str = ""
    """Which words came out of untrusted results: a Bloom filter in base64, of fixed size. It may take a word for another
    (which asks once too often) but forgets none, so that a flood of words cannot push an old one out."""
    trusted: tuple[str, ...] = ()
    """Fingerprints of the destinations that the user's own task names: those are no strangers."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often each kind of effect took place: ``delete``, ``send``, ``read_secret``, ``disable_check``, ``blocks``, …"""

    def count(self, kind: str) -> int:
        """How often ``kind`` has happened."""
        return self.counts.get(kind, 0)
