# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Filter that checks a maintenance window."""

from __future__ import annotations

DOCUMENTATION = r"""
name: window_open
short_description: Check whether a maintenance window is open
version_added: 1.0.0
description:
  - Checks whether the current time of the controller is within a daily maintenance window. A window can span midnight.
    The end time is not part of the window.
positional: _input
options:
  _input:
    description:
      - Maintenance window, for example V(22:00-04:00 Europe/Berlin). The time zone is a name of the IANA time zone
        database. By default, the time zone of the controller is used.
      - An empty string means that the window is always open.
    type: str
    required: true
"""

RETURN = r"""
_value:
  description: Whether the window is open now.
  type: bool
"""

EXAMPLES = r"""
- name: Fail outside of the maintenance window
  ansible.builtin.assert:
    that: "'22:00-04:00 UTC' | kernelops.livepatch.window_open"
"""

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import WavesError
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import window_open as is_open


def window_open(window: str) -> bool:
    """Return True if the window is open now. Raises `AnsibleFilterError`."""
    try:
        return not window or is_open(str(window), datetime.datetime.now().astimezone())
    except WavesError as error:
        raise AnsibleFilterError(f"window_open: {error}") from error


class FilterModule:
    """Filters for Ansible."""

    def filters(self) -> dict[str, t.Any]:
        return {"window_open": window_open}
