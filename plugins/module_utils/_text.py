# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Text that is shown: control characters are escaped, its width is known, and URLs hold no credentials."""

from __future__ import annotations

import re
import typing as t
import unicodedata

ELLIPSIS = "…"
_LONGEST_MESSAGE = 2000  # characters
_LONGEST_VALUE = 20_000
"""Characters of a text in a result. The log of a step has fewer."""

_SECRET_PARAMETER = re.compile(
    r"([?&][0-9A-Za-z_.-]{0,40}(?:sig|signature|token|key|secret|password|credential)=)[^\s&#\"'<>]+", re.IGNORECASE
)
_WORD_WITH_USER = re.compile(r"\S+@\S*")
_FIRST_WORD = re.compile(r"[^\s:/]+:[^\s]+(?=\s)")
_ANY_SCHEME = re.compile(r"([A-Za-z][0-9A-Za-z+.-]{0,31}://)")
_SCHEME = re.compile(r"((?:^|(?<=[,;|=\"'()\[\]{}<>]))[A-Za-z][0-9A-Za-z+.-]{0,31}://)")


def visible(text: str) -> str:
    """Escape every character that is invisible, or drawn over others, as in Python's string literals.

    These are controls, escapes, direction overrides, line ends and combining marks: an escape character becomes
    ``\\x1b``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if _stands_alone(character) else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def visible_message(text: str) -> str:
    """Escape the same characters as `visible`, and cut a text that is too long to be a message."""
    shown = visible(text[:_LONGEST_MESSAGE])
    cut = len(text) > _LONGEST_MESSAGE or len(shown) > _LONGEST_MESSAGE
    return f"{shown[: _LONGEST_MESSAGE - 1]}{ELLIPSIS}" if cut else shown


def visible_lines(text: str) -> str:
    """Escape the same characters as `visible`, except line ends and tabs."""
    if text.isprintable() and text.isascii():
        return text
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


def visible_values(value: t.Any) -> t.Any:
    """Escape invisible characters in all texts of a result, except line ends and tabs, and limit their length."""
    if isinstance(value, str):
        shown = visible_lines(value[:_LONGEST_VALUE])
        cut = len(value) > _LONGEST_VALUE or len(shown) > _LONGEST_VALUE
        return f"{shown[: _LONGEST_VALUE - 1]}{ELLIPSIS}" if cut else shown
    if isinstance(value, dict):
        return {visible_values(key): visible_values(each) for key, each in value.items()}
    return [visible_values(each) for each in value] if isinstance(value, (list, tuple)) else value


def width(text: str) -> int:
    """Count the terminal columns of visible text (Unicode Standard Annex 11: wide and fullwidth take two)."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def shorten(text: str, columns: int) -> str:
    """Cut visible text to a number of columns. An ellipsis marks a cut."""
    if width(text) <= columns:
        return text
    if text.isascii():
        return text[: columns - 1].rstrip() + ELLIPSIS
    shown: list[str] = []
    room = columns - 1
    for character in text:
        room -= _character_width(character)
        if room < 0:
            break
        shown.append(character)
    return "".join(shown).rstrip() + ELLIPSIS


def pad(text: str, columns: int) -> str:
    """Cut or fill visible text to exactly a number of columns."""
    if text.isascii() and len(text) <= columns:
        return text.ljust(columns)
    text = shorten(text, columns)
    return text + " " * (columns - width(text))


def _stands_alone(character: str) -> bool:
    return character.isprintable() and unicodedata.category(character) not in ("Mn", "Me")


def _character_width(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def mask_credentials(text: str, mask: str = "***@") -> str:
    """Replace the user and the password of every URL in a text by a mask, also where the URL has no scheme.

    All of a word up to its last ``@`` counts as credentials, because a password can hold any other sign. So a name
    before an ``@`` that is not part of a URL, as of a mail address, is masked too. A password with blanks is masked
    where it follows a user in a URL with a scheme. The value of a parameter whose name ends with a word such as
    ``token`` or ``signature`` is masked too: some servers give access to whoever has such a URL.
    """
    if "=" in text:
        text = _SECRET_PARAMETER.sub(lambda found: found[1] + mask.rstrip("@"), text)
    if "@" not in text:
        return text
    before, *urls = _ANY_SCHEME.split(text)
    text = before + "".join(_mask_blanks(part, mask) for part in urls)
    return _WORD_WITH_USER.sub(lambda word: _mask_word(word[0], mask), text)


def user_and_password(url: str) -> str:
    """Return the user and the password of a URL, as they are written there. The text is empty without them."""
    return url.rpartition("@")[0].partition("://")[2]


def mask_url(url: str, mask: str = "***@") -> str:
    """Replace the user and the password in a text that is a single URL, and can hold blanks."""
    scheme = _SCHEME.match(url)
    start = scheme[0] if scheme else ""
    return f"{start}{mask}{url.rpartition('@')[2]}" if "@" in url else url


def _mask_blanks(part: str, mask: str) -> str:
    """Mask a user and a password with blanks at the beginning of a part, which follows a scheme."""
    first = _FIRST_WORD.match(part)
    # A word with an "@" is a URL without blanks.
    if first is None or "@" in first[0] or "@" not in part:
        return part
    return f"{mask}{part.rpartition('@')[2]}"


def _mask_word(word: str, mask: str) -> str:
    # A word can hold several URLs, separated by a comma or in the notation of a list.
    return "".join(
        part if _SCHEME.fullmatch(part) or "@" not in part else f"{mask}{part.rpartition('@')[2]}"
        for part in _SCHEME.split(word)
    )
