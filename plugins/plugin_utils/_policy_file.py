# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Policies in YAML files, read so that a mistake can be named with its line."""

from __future__ import annotations

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import (
    Policy,
    PolicyError,
    policy_from_mapping,
)
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._yaml_with_lines import YamlError, read_yaml


def parse_policy(text: str, source: str) -> Policy:
    """Read a policy from YAML text; `source` is its name in messages.

    Raises `PolicyError`.
    """
    try:
        document, lines = read_yaml(text, source)
    except YamlError as error:
        raise PolicyError(str(error)) from error
    return policy_from_mapping(document, source, lines)
