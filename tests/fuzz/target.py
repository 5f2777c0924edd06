# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A reader of untrusted input, and what the files with the targets share."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import json
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError

ALIASES = b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 40))
"""A document whose values are 2^40 when each alias is replaced by its list."""


class AcceptedForgeryError(Exception):
    """A changed input was accepted as genuine, or a limit was exceeded."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader. `errors` are the exceptions with which it may refuse an input. `run` gets an input and a folder."""

    seeds: tuple[bytes, ...]
    run: c.Callable[[bytes, Path], object]
    errors: tuple[type[Exception], ...] = (LivepatchError,)


def json_bytes(document: object) -> bytes:
    """Return a document as JSON, on several lines."""
    return json.dumps(document, indent=1).encode()
