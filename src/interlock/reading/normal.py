"""The same text as a reader's eye takes it: hidden characters gone, look-alike letters as plain ones.

For detection only: what is executed, shown or stored is never normalised.
"""

from __future__ import annotations

import unicodedata

# Letters that look like an ASCII letter, as facts of the Unicode confusables data (UTS #39); NFKD covers full-width,
# mathematical, circled, superscript and accented letters, so that only the other scripts' look-alikes are listed.
_LOOKALIKES = {
    "a": "аɑαᴀꭺ", "b": "ƅЬᏏʙɓ", "c": "сϲᴄⲥꮯƈ", "d": "ԁᏧɗᴅꓒ", "e": "еҽєᴇεɛ℮ꬲё", "f": "ꞙẝϝғʄꜰ", "g": "ɡցᶃɢǥ", "h": "һհᏂʜի",
    "i": "іıɩιɪӏїꙇᎥ", "j": "јϳᴊյ", "k": "кκᴋⲕқ", "l": "ʟɭłӀⵏ", "m": "мᴍⅿ", "n": "ոռɴηпո", "o": "оοօᴏσ০౦ഠⲟөө", "p": "рρᴘⲣ",
    "q": "ԛգզʠ", "r": "гᴦʀɾꭇ", "s": "ѕꜱʂƽ", "t": "тτᴛŧ", "u": "սυᴜʋ", "v": "ѵνᴠⱱ", "w": "ԝѡᴡωա", "x": "хχᕁⅹ", "y": "уүγʏỿყ",
    "z": "ᴢʐƶ",
    "A": "АΑᎪꓮ", "B": "ВΒᏴꓐ", "C": "СϹᏟⲤꓚ", "D": "Ꭰꓓ", "E": "ЕΕᎬꓰЁ", "F": "Ϝꓝ", "G": "ԌᏀꓖ", "H": "НΗᎻꓧ", "I": "ІΙ׀ⵊ", "J": "ЈᎫꓙͿ",
    "K": "КΚᏦꓗ", "L": "Ꮮꓡ", "M": "МΜᎷꓟ", "N": "ΝꓠИ", "O": "ОΟՕꓳ", "P": "РΡᏢꓑ", "Q": "Ԛ", "R": "ᎡꓣᏒ", "S": "ЅՏᏚꓢ", "T": "ТΤᎢꓔ",
    "U": "Սꓴ", "V": "ѴᏙꓦ", "W": "ԜᎳꓪ", "X": "ХΧꓫ", "Y": "ҮΥꓬ", "Z": "ΖᏃꓜ",
    "-": "‐‑‒–—―−﹘ー⁃", "'": "‘’‛′ʼʹ`´", '"': "“”„‟″«»", "/": "∕⁄⧸", ":": "꞉ː∶", "<": "‹⟨〈", ">": "›⟩〉", ".": "。․", "*": "∗⁎", "|": "∣ǀ",
    " ": "⠀ㅤ",
}  # fmt: skip
_PLAIN = {alike: plain for plain, every in _LOOKALIKES.items() for alike in every}
del _PLAIN["`"]

_ASCII = 0x80
_PLANE_14 = 0xE0000  # tags and further variation selectors
_SQUARED = (
    (0x1F130, 26),
    (0x1F150, 26),
    (0x1F170, 26),
    (0x1F1E6, 26),
)  # squared and circled capitals without a decomposition
_INVISIBLE = frozenset(
    [  # noqa: RUF005 - two lists read better
        0x00AD,
        0x034F,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x3164,
        0xFFA0,
        0xFEFF,
        *range(0x180B, 0x1810),
        *range(0x200B, 0x2010),
    ]
    + [*range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0xFFF9, 0xFFFC)]
)


def is_invisible(code: int) -> bool:
    """Whether the character of this code point shows nothing: zero-width, bidi control, selector, filler, tag."""
    return code in _INVISIBLE or _PLANE_14 <= code < _PLANE_14 + 0x1000


def normalise(text: str) -> str:
    """``text`` with invisible characters removed and look-alikes, accents and wide forms as plain ASCII letters."""
    return text if text.isascii() else text.translate(_FOLD)


def strip_invisible(text: str) -> str:
    """``text`` without its invisible characters; letters of all scripts stay as they are."""
    return text if text.isascii() else text.translate(_STRIP)


def normalise_with_offsets(text: str) -> tuple[str, list[int]]:
    """The normalised text, and for each of its characters (and its end) the offset in ``text``."""
    pieces: list[str] = []
    offsets: list[int] = []
    for place, char in enumerate(text):
        piece = char if char < "\x80" else _FOLD[ord(char)]
        pieces.append(piece)
        offsets.extend([place] * len(piece))
    offsets.append(len(text))
    return "".join(pieces), offsets


def encodable(text: str) -> str:
    """``text`` with lone surrogates as question marks, so that it can be searched; of the same length."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class _Fold(dict[int, str]):
    """Code points to what they look like, filled as they are met."""

    def __missing__(self, code: int) -> str:
        plain = self[code] = _looks_like(code)
        return plain


class _Strip(dict[int, str]):
    def __missing__(self, code: int) -> str:
        kept = self[code] = "" if is_invisible(code) else chr(code)
        return kept


def _looks_like(code: int) -> str:
    char = chr(code)
    if code < _ASCII or char in _PLAIN:
        return _PLAIN.get(char, char)
    if is_invisible(code):
        return ""
    for first, count in _SQUARED:
        if first <= code < first + count:
            return chr(ord("A") + code - first)
    category = unicodedata.category(char)
    if category in {"Zs", "Zl", "Zp"}:
        return " " if category == "Zs" else "\n"
    if category in {"Mn", "Me"} and unicodedata.name(char, "").startswith(("COMBINING", "VARIATION")):
        return ""  # accents stacked on Latin letters; the vowel signs of Indic and Arabic scripts have other names
    base = [part for part in unicodedata.normalize("NFKD", char) if unicodedata.category(part) != "Mn"]
    plain = "".join(_PLAIN.get(part, part) for part in base)
    if plain and plain.isascii():
        return plain
    composed = unicodedata.normalize("NFKC", char)
    return char if composed == char else "".join(_FOLD[ord(part)] for part in composed)


_FOLD = _Fold()
_STRIP = _Strip()
