# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the modules that look at a host share: their options, the policy they name, the one round trip."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import KernelSupport
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, read_facts
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._kernel_support import kernel_support
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError, LegacyAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import PROBE_ARGUMENTS, load_policy
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import run_script

__all__ = ["PROBE_ARGUMENTS", "load_policy"]


def probe_variables(options: Mapping[str, t.Any], verify: str = "off", *, certificate: bool = False) -> dict[str, str]:
    """What the script ``probe`` is told. `verify` is ``auto``, ``file`` or ``off``; `certificate` asks for that of the
    host's client."""
    return {
        "server": options["server"] or "",
        "network": "1" if options["network"] else "",
        "verify": "" if verify == "off" else verify,
        "certificate": "1" if certificate else "",
    }


def probe_host(
    action: LegacyAction, options: Mapping[str, t.Any], verify: str = "off", *, certificate: bool = False
) -> HostFacts:
    """Look at the task's host, in one round trip. Raises `ActionError`, and what the connection raises."""
    try:
        return read_facts(run_script(action, "probe", probe_variables(options, verify, certificate=certificate)))
    except LivepatchError as error:
        raise ActionError(f"{error}; {error.remedy}", error_id=error.id, remedy=error.remedy) from error


def asked_kernel_support(options: Mapping[str, t.Any], facts: HostFacts) -> KernelSupport | None:
    """The server's word for the host's kernel, where the task asks for it."""
    return kernel_support(options["server"], facts) if options["ask_server"] else None
