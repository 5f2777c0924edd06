# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table of causes: each problem of a host with its id, its message and its remedy.

The table has the causes that more than one part of the collection reports, and all reasons of states and of checks.
An error that only one function raises has its text there. `docs/guide/troubleshooting.md` lists every id.

``{name}`` in a text is a placeholder. The code that finds the cause supplies the value, which can depend on the facts
of the host or on the policy. A cause has one text; two causes may share an id.

Each subject has a file. The names of all of them are names of this package: ``causes.NAME``.
"""

from __future__ import annotations

from .answer import *
from .cause import UPGRADE_INSTEAD as UPGRADE_INSTEAD
from .cause import Cause as Cause
from .client import *
from .eligibility import *
from .failures import *
from .fleet import *
from .pro import *
from .reboot import *
from .signature import *
from .status import *
from .task import *
from .upgrade import *
