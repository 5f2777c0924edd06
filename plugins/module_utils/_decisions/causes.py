# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of causes: each problem of a host with its id, its message and its remedy.

The table has the causes that more than one part of the collection reports, and all reasons of states and of checks.
An error that only one function raises has its text there. `docs/guide/troubleshooting.md` lists every id.

``{name}`` in a text is a placeholder. The code that finds the cause supplies the value, which can depend on the facts
of the host or on the policy. A cause has one text; two causes may share an id.

Each subject has a file in the folder `cause_texts`. Their names are names of this module: ``causes.NAME``.
"""

from __future__ import annotations

# A list of the names would be a second place for each of them.
# pylint: disable=wildcard-import,unused-wildcard-import
from .cause_texts.answer import *
from .cause_texts.client import *
from .cause_texts.eligibility import *
from .cause_texts.failures import *
from .cause_texts.fleet import *
from .cause_texts.pro import *
from .cause_texts.reboot import *
from .cause_texts.signature import *
from .cause_texts.status import *
from .cause_texts.task import *
from .cause_texts.upgrade import *
