"""Every way to write an IP address."""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(host: str) -> tuple[Address | None, bool]:
    """The address that ``host`` is, and whether it is written in another than the usual form; (None, False) for names.

    Reads what ``inet_aton`` reads (decimal, hexadecimal, octal, one to four parts) and the IPv6 forms that carry an IPv4
    address (mapped, compatible, 6to4, NAT64).
    """
    bare = host.strip("[]").split("%", 1)[0]
    if ":" in bare:
        try:
            six = ipaddress.IPv6Address(bare)
        except ValueError:
            return None, False
        four = six.ipv4_mapped or six.sixtofour
        if four is None and (int(six) >> 32) in {0, 0x64FF9B << 64} and int(six) > 0xFFFF:  # noqa: PLR2004 - ::1 and the like
            four = ipaddress.IPv4Address(int(six) & 0xFFFFFFFF)
        return (four, True) if four is not None else (six, False)
    parts = bare.split(".")
    if not 1 <= len(parts) <= 4 or not all(re.fullmatch(r"0[xX][0-9a-fA-F]*|\d+", part) for part in parts):  # noqa: PLR2004 - inet_aton
        return None, False
    numbers = [_part(part) for part in parts]
    if any(number is None for number in numbers):
        return None, False
    value = _together([number for number in numbers if number is not None])
    if value is None:
        return None, False
    address = ipaddress.IPv4Address(value)
    return address, str(address) != bare


def _part(text: str) -> int | None:
    if len(text) > 24:  # noqa: PLR2004 - 32 bits have 11 octal digits
        return None
    try:
        if text.lower().startswith("0x"):
            return int(text[2:] or "0", 16)
        return int(text, 8) if text.startswith("0") and len(text) > 1 else int(text)
    except ValueError:
        return None


def _together(numbers: list[int]) -> int | None:
    """The last part fills the bytes that are left; too large parts wrap, as some programs let them."""
    *first, last = numbers
    room = 4 - len(first)
    value = 0
    for number in first:
        value = (value << 8) | (number & 0xFF)
    return ((value << (8 * room)) | (last & ((1 << (8 * room)) - 1))) & 0xFFFFFFFF
