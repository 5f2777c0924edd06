# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Print tables on the terminal, in addition to Ansible's output."""

from __future__ import annotations

import shutil
import sys
import typing as t

from ansible.utils.color import ANSIBLE_COLOR

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import table

_COLUMNS = (80, table.FILE_WIDTH)
# Read when the plugin is loaded, in Ansible's main process: the processes that run tasks have no terminal. Tables in a
# log are not cut to the width of a terminal.
_ON_TERMINAL = sys.stdout.isatty()


class _Render(t.Protocol):
    """A function that renders a table."""

    def __call__(self, *, columns: int, colour: bool) -> t.Iterable[str]:
        """Return the parts of the table, in order."""


def show(display: t.Any, render: _Render) -> None:
    """Print the table of `render`, as wide as the terminal, and in colours if Ansible uses them."""
    least, most = _COLUMNS
    found = shutil.get_terminal_size((display.columns if _ON_TERMINAL else most, 0)).columns
    columns = max(least, min(found, most))
    coloured = "".join(render(columns=columns, colour=ANSIBLE_COLOR))
    plain = "".join(render(columns=columns, colour=False))
    # A log contains no colours, as with Ansible's recap.
    display.display(coloured.rstrip("\n"), screen_only=True)
    display.display(plain.rstrip("\n"), log_only=True)
