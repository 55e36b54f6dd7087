"""Differences of two trees in git's patch format, without git: ``git apply`` and ``patch -p1`` read them."""

from __future__ import annotations

import base64
import difflib
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping

Reader = Callable[[str], bytes]
"""The content of a file by its digest."""

_MODES = {"file": "100644", "exec": "100755", "link": "120000"}
_LARGE = 256 * 1024  # beyond this many bytes a text is shown as replaced whole: the matching takes quadratic time
_SNIFFED = 8000  # a NUL in this many first bytes makes a file binary, as git judges
_LINE = 52  # bytes in a line of git's binary patches


def write_patch(old: Mapping[str, str], new: Mapping[str, str], read: Reader, *, binary: bool) -> bytes:
    """The patch from one tree to the other; with ``binary`` it holds binary files too, else it only names them."""
    return b"".join(
        piece
        for path, before, after in _pairs(old, new)
        for piece in _entry(os.fsencode(path), before, after, read, binary=binary)
    )


def _pairs(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path, ""), new.get(path, "")
        if before and after and before.startswith("link:") != after.startswith("link:"):
            yield path, before, ""
            yield path, "", after
        elif before != after:
            yield path, before, after


def _entry(path: bytes, before: str, after: str, read: Reader, *, binary: bool) -> Iterator[bytes]:
    a, b = _quoted(b"a/" + path), _quoted(b"b/" + path)
    yield b"diff --git " + a + b" " + b + b"\n"
    was, now = _MODES.get(before.partition(":")[0], ""), _MODES.get(after.partition(":")[0], "")
    if not before:
        yield f"new file mode {now}\n".encode()
    elif not after:
        yield f"deleted file mode {was}\n".encode()
    elif was != now:
        yield f"old mode {was}\nnew mode {now}\n".encode()
    left, right = _content(before, read), _content(after, read)
    if left == right:
        return
    if b"\0" in left[:_SNIFFED] or b"\0" in right[:_SNIFFED]:
        if binary:
            yield b"index " + _blob(left, there=before) + b".." + _blob(right, there=after) + b"\n"
            yield b"GIT binary patch\n" + _literal(right) + _literal(left)
        else:
            yield (
                b"Binary files "
                + (a if before else b"/dev/null")
                + b" and "
                + (b if after else b"/dev/null")
                + b" differ\n"
            )
        return
    yield b"--- " + (_with_tab(a) if before else b"/dev/null") + b"\n"
    yield b"+++ " + (_with_tab(b) if after else b"/dev/null") + b"\n"
    yield from _hunks(left, right)


def _content(what: str, read: Reader) -> bytes:
    kind, _, value = what.partition(":")
    return b"" if not kind else os.fsencode(value) if kind == "link" else read(value)


def _hunks(left: bytes, right: bytes) -> Iterator[bytes]:
    old, new = _lines(left), _lines(right)
    if max(len(left), len(right)) > _LARGE:
        groups = [[("replace", 0, len(old), 0, len(new))]]
    else:
        groups = list(difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(3))
    for group in groups:
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        yield f"@@ -{_range(i1, i2)} +{_range(j1, j2)} @@\n".encode()
        for tag, a1, a2, b1, b2 in group:
            if tag == "equal":
                yield from (_line(b" ", line) for line in old[a1:a2])
                continue
            yield from (_line(b"-", line) for line in old[a1:a2])
            yield from (_line(b"+", line) for line in new[b1:b2])


def _lines(data: bytes) -> list[bytes]:
    """Lines as git sees them: ended by a line feed only."""
    return [line for line in re.split(rb"(?<=\n)", data) if line]


def _line(sign: bytes, line: bytes) -> bytes:
    return sign + line if line.endswith(b"\n") else sign + line + b"\n\\ No newline at end of file\n"


def _range(start: int, stop: int) -> str:
    length = stop - start
    return f"{start + 1 if length else start},{length}"


def _literal(data: bytes) -> bytes:
    packed = zlib.compress(data)
    out = [f"literal {len(data)}\n".encode()]
    for at in range(0, len(packed), _LINE):
        part = packed[at : at + _LINE]
        size = len(part)
        mark = chr(ord("A") + size - 1) if size <= 26 else chr(ord("a") + size - 27)  # noqa: PLR2004 - the alphabet's letters
        out.append(mark.encode() + base64.b85encode(part, pad=True) + b"\n")
    return b"".join(out) + b"\n"


def _blob(data: bytes, *, there: str) -> bytes:
    """Git's name for a content: readers of binary patches check it before they apply."""
    if not there:
        return b"0" * 40
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest().encode()


def _quoted(path: bytes) -> bytes:
    """A path as git writes it: in quotes with octal escapes when it holds anything unusual."""
    if not re.search(rb'[\x00-\x1f\x7f-\xff"\\]', path):
        return path
    return b'"' + re.sub(rb'[\x00-\x1f\x7f-\xff"\\]', lambda found: b"\\%03o" % found[0][0], path) + b'"'


def _with_tab(path: bytes) -> bytes:
    """A name with a blank ends with a tab, else readers of patches take the rest for a date."""
    return path + b"\t" if b" " in path and not path.startswith(b'"') else path
