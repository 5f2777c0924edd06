# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the modules that look at a host share: their options, the policy they name, the one round trip."""

from __future__ import annotations

import pathlib
import typing as t
from collections.abc import Mapping

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import KernelSupport
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import (
    Policy,
    PolicyError,
    parse_policy,
    policy_from_mapping,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, read_facts
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import ActionError, LivepatchAction
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._kernel_support import service_word
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import HostShellError, run_script

PROBE_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "policy": {"type": "raw", "default": "launch"},
    "server": {"type": "str"},
    "network": {"type": "bool", "default": True},
    "ask_server": {"type": "bool", "default": False},
}

# Read when the plugin is loaded: once a run, before Ansible forks a process for each host.
_SHIPPED = {
    path.stem: parse_policy(path.read_text(encoding="utf-8"), str(path))
    for path in sorted((pathlib.Path(__file__).parent / "policies").glob("*.yml"), reverse=True)
}


def load_policy(wanted: object) -> Policy:
    """The policy that an option names: one that is shipped, a file of the operator's, or a mapping.

    Raises `ActionError`.
    """
    try:
        if isinstance(wanted, Mapping):
            return policy_from_mapping(wanted, "policy")
        name = str(wanted)
        if name in _SHIPPED:
            return _SHIPPED[name]
        path = pathlib.Path(name).expanduser()
        if not path.is_file():
            raise ActionError(
                f"There is no policy {name}: it is neither {' nor '.join(_SHIPPED)}, nor a file on the controller. "
                "Name one of these, give the path of a policy file, or give the policy as a mapping.",
                error_id="policy_unusable",
            )
        return parse_policy(path.read_text(encoding="utf-8"), str(path))
    except PolicyError as error:
        raise ActionError(f"The policy cannot be used. {error}", error_id="policy_unusable") from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"The policy file {wanted} cannot be read: {error}"
        raise ActionError(message, error_id="policy_unusable") from error


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
    action: LivepatchAction, options: Mapping[str, t.Any], verify: str = "off", *, certificate: bool = False
) -> HostFacts:
    """Look at the task's host, in one round trip. Raises `ActionError`, and what the connection raises."""
    try:
        return read_facts(run_script(action, "probe", probe_variables(options, verify, certificate=certificate)))
    except HostShellError as error:
        raise ActionError(f"{error}; {error.remedy}", error_id=error.id, remedy=error.remedy) from error


def asked_service_word(options: Mapping[str, t.Any], facts: HostFacts) -> KernelSupport | None:
    """The server's word for the host's kernel, where the task asks for it."""
    return service_word(options["server"], facts) if options["ask_server"] else None
