"""Stems are the same whoever asks at the same time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from interlock.decide.words import stem

WORDS = [f"{first}{last}" for first in ("migrat", "deploy", "analy", "authoris", "visuali") for last in
         ("ing", "ed", "ation", "ations", "ers", "ize", "zing", "able", "ability", "ments")] * 20  # fmt: skip


def test_many_threads_get_the_stems_that_one_gets() -> None:
    alone = [stem.__wrapped__(word) for word in WORDS]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(stem.__wrapped__, WORDS))
    finally:
        sys.setswitchinterval(before)
    assert together == alone
