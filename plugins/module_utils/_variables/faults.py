# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Faults in the variables of a run, and the one error that lists them all."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import difflib

from .._errors import LivepatchError
from .._text import mask_credentials, visible

_NEAR = 0.5
_LONGEST_VALUE = 80
_MOST_FAULTS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A fault in the value of a variable. `host` is a host for which it has this value, None for the whole run."""

    variable: str
    problem: str
    host: str | None = None

    def __str__(self) -> str:
        where = f" of {visible(self.host)}" if self.host else ""
        return f"{visible(self.variable)}{where}: {self.problem}"


def quoted(value: object) -> str:
    """Return a value as a message shows it: as Python writes it, on one line, cut, without the passwords of URLs."""
    text = mask_credentials(visible(repr(value)))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def nearest(word: object, known: c.Iterable[str], *, cutoff: float = _NEAR) -> str | None:
    """Return the known word that is most similar, or None if none is similar."""
    found = difflib.get_close_matches(str(word), list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def suggestion(word: object, known: c.Iterable[str]) -> str:
    """Return the end of a message: the nearest known word, or nothing."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def failure(faults: c.Sequence[Fault], documentation: str) -> LivepatchError:
    """Return the error for at least one fault."""
    shown = [str(fault) for fault in faults[:_MOST_FAULTS]]
    if faults[_MOST_FAULTS:]:
        shown.append(f"and {len(faults) - _MOST_FAULTS} more")
    number = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    listed = "\n".join(f"- {text}" for text in shown)
    return LivepatchError(
        "variables_invalid",
        f"no host was contacted, because of {number} in variables:\n{listed}\n",
        f"correct them: {documentation} lists the variables",
    )
