"""Letters that imitate ASCII ones, for the readers that compare words. Nothing that is run is ever changed by this."""

from __future__ import annotations

import unicodedata

_PAIRS = (
    # Cyrillic, Greek, Cherokee, Armenian: imitation first, ASCII second
    "АA ВB ЕE ЅS ІI ЈJ КK МM НH ОO РP СC ТT ХX ԜW ԚQ аa еe ѕs іi јj оo рp сc уy хx ԝw ԁd ԛq һh "
    "ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX ϹC οo ϲc νv υu ιi αa ρp "
    "ᎪA ᏴB ᏟC ᎠD ᎬE ᏀG ᎻH ᎥI ᎫJ ᏦK ᏞL ᎷM ᏢP ᎡR ᏚS ᎢT ᏙV ᏔW ᏃZ օo սu ԼL ՕO ՏS ıi"
)
_LOOKALIKES = {pair[0]: pair[1] for pair in _PAIRS.split()}


def folded(text: str) -> str:
    """``text`` with look-alike letters as the ASCII ones that they imitate, and without invisible characters."""
    if text.isascii():
        return text
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return "".join(_fold(c) for c in visible)


def _fold(char: str) -> str:
    if char.isascii():
        return char
    plain = _LOOKALIKES.get(char) or _LOOKALIKES.get(char.upper()) or unicodedata.normalize("NFKC", char)
    return plain if plain.isascii() and plain.isalnum() else (" " if char.isspace() else char)
