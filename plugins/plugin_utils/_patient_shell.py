# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Scripts on a host that may not answer for a while: it reboots, or the way to it is broken."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import run_script

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible.plugins.action import ActionBase

    from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0


def try_script(action: ActionBase, name: str | Sequence[str], variables: Mapping[str, str]) -> Sections | None:
    """Run a script; None where the host cannot be reached, refuses the login as it does at boot, or breaks off."""
    try:
        sections = run_script(action, name, variables)
    except (AnsibleError, LivepatchError):
        sections = None
    if sections is None or not sections.complete:
        forget_connection(action)
        return None
    return sections


def forget_connection(action: ActionBase) -> None:
    """Make the next command connect anew: what is kept open leads to a machine that is gone."""
    connection = action._connection
    with contextlib.suppress(AnsibleError, OSError):
        # The base class has no reset of its own, and warns.
        if type(connection).reset is ConnectionBase.reset:
            connection.close()
        else:
            connection.reset()


def keep_asking(seconds: float, ask: Callable[[], Sections | None]) -> Sections | None:
    """Ask with growing pauses until there is an answer, for so many seconds; None when there was none."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        answer = ask()
        left = deadline - time.monotonic()
        if answer is not None or left <= 0:
            return answer
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
