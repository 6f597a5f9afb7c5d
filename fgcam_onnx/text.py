"""Text from strangers, such as names, labels and metadata, made safe to show on a terminal and to name files by."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line feed, and what turns the direction of writing."""


LONGEST = 80
"""Characters of a name that go into a file name."""

MESSAGE = 4000
"""Characters of an error."""

STEM, ROOM = 100, 240
"""Bytes of a file's name for what it is of, and in all: file systems take 255, and an ending follows."""


def shown(text: str) -> str:
    r"""Return ``text`` with what a terminal would obey written out: ``\u001b[2J`` clears none."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def unicode_of(text: str) -> str:
    r"""Return ``text`` as UTF-8 can hold it: a file's name of other bytes has them written out, ``\udce9``."""
    return text.encode("utf-8", "backslashreplace").decode()


def shortened(text: str) -> str:
    """Return ``text`` without its middle where it is longer than an error is read: a model may have 100,000 names."""
    left = len(text) - MESSAGE
    return text if left <= 0 else f"{text[: MESSAGE * 3 // 4]} […{left} characters…] {text[-MESSAGE // 4 :]}"


def safe_name(name: str) -> str:
    """Return a layer's or label's name as a part of a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("._")[:LONGEST] or "unnamed"


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name for each name, different also where capitals or ways to write an accent do not count."""
    taken: set[str] = set()
    return {name: unused(safe_name(name), taken) for name in names}


def unused(stem: str, taken: set[str], *, room: int = ROOM) -> str:
    """Return ``stem``, or the first of ``stem_2``, ``stem_3`` that is not taken, in ``room`` bytes, and take it."""
    chosen, count = _cut(stem, room), 1
    while _alike(chosen) in taken:
        count += 1
        chosen = f"{_cut(stem, room - len(str(count)) - 1)}_{count}"
    taken.add(_alike(chosen))
    return chosen


def _alike(name: str) -> str:
    """Return what is the same for names that a file system may take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _cut(name: str, room: int) -> str:
    """Return the longest beginning of ``name`` that the file system writes in ``room`` bytes."""
    while len(os.fsencode(name)) > room:
        name = name[: max(len(name) - 1 - (len(os.fsencode(name)) - room) // 4, 0)]
    return name
