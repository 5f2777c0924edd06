# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of error texts: who prints them, the id of their cause, and an example of each with its source.

The same words have different causes if different programs print them. A certificate that the client refuses is that of
the livepatch server, and one that snapd refuses is that of the snap store. So the text decides first who can have
printed it (`speakers`), and then the first row of the table that one of them can print counts. Patterns are families
where the wording varies between versions: status codes of HTTP, network errors of Go, errors of certificates.

Texts are on one line, without tokens (`client_status.plain_text`). `_decisions/causes` has the message and the remedy
of each id. Each speaker has a file of rows.
"""

from __future__ import annotations

from .row import ErrorText as ErrorText
from .row import Example as Example
from .speakers import speakers as speakers
from .table import ERROR_TEXTS as ERROR_TEXTS
from .table import TEMPORARY as TEMPORARY
from .table import find_error as find_error
