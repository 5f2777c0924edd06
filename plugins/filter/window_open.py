# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Maintenance windows, for playbooks."""

from __future__ import annotations

DOCUMENTATION = r"""
name: window_open
short_description: Tell whether a maintenance window is open
version_added: 1.0.0
description:
  - Tells whether the controller's clock is within a daily window. A window may reach over midnight; its last minute is
    the one before its end.
positional: _input
options:
  _input:
    description:
      - The window, for instance V(22:00-04:00 Europe/Berlin). The zone is a name of the IANA time zone database.
        Without one, the times are in the controller's own time zone.
      - An empty text is a window that is always open.
    type: str
    required: true
"""

RETURN = r"""
_value:
  description: Whether the window is open now.
  type: bool
"""

EXAMPLES = r"""
- name: Go on only within the window
  ansible.builtin.assert:
    that: "'22:00-04:00 UTC' | kernelops.livepatch.window_open"
"""

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.waves import WavesError
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.waves import window_open as is_open


def window_open(window: str) -> bool:
    """Whether the window is open now. Raises `AnsibleFilterError`."""
    try:
        return not window or is_open(str(window), datetime.datetime.now().astimezone())
    except WavesError as error:
        raise AnsibleFilterError(f"window_open: {error}") from error


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, t.Any]:
        return {"window_open": window_open}
