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
  - Checks whether the current time of the controller is within a maintenance window. A window can span midnight; its
    weekdays are those of its begin. The end time is not part of the window.
positional: _input
options:
  _input:
    description:
      - Maintenance windows, as a list or separated by semicolons, for example V(Mon-Fri 22:00-04:00 Europe/Berlin) or
        V(Sat,Sun 00:00-24:00). Weekdays and time zone are optional. The time zone is a name of the IANA time zone
        database. By default, the time zone of the controller is used. C(@) can replace a blank.
      - Without a window, it is always open.
    type: raw
    required: true
  freeze:
    description: Dates on which every window is closed, as a list or separated by commas, for example V(2026-12-24) or
      V(2026-12-20..2027-01-05). They are dates in the time zone of the window.
    type: raw
    default: []
    version_added: 2.0.0
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

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.window import WindowError
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.window import window_open as is_open


def window_open(window: t.Any, freeze: t.Any = ()) -> bool:
    """Return True if a window is open now. Raises `AnsibleFilterError`."""
    try:
        return is_open(window, datetime.datetime.now().astimezone(), freeze)
    except WindowError as error:
        raise AnsibleFilterError(f"window_open: {error}") from error


class FilterModule:
    """Filters for Ansible."""

    def filters(self) -> dict[str, t.Any]:
        return {"window_open": window_open}
