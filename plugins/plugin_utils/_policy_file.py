# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Policies in YAML files, read so that a mistake can be named with its line."""

from __future__ import annotations

import yaml

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import (
    Policy,
    PolicyError,
    policy_from_mapping,
)


def parse_policy(text: str, source: str) -> Policy:
    """Read a policy from YAML text; `source` is its name in messages.

    Raises `PolicyError`.
    """
    lines: dict[str, int] = {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = None if root is None else _plain(root, "", lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PolicyError(f"{source}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise PolicyError(f"{source}: not valid YAML: {error}") from error
    return policy_from_mapping(document, source, lines)


def _plain(node: yaml.Node, path: str, lines: dict[str, int]) -> object:
    """Build plain data from YAML nodes and remember the line of each value.

    Scalars stay text: a release 16.10 must not become the number 16.1.
    """
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, f"{path}[{index}]", lines) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        result: dict[object, object] = {}
        for key, value in node.value:
            name = str(key.value)
            result[name] = _plain(value, f"{path}.{name}" if path else name, lines)
        return result
    return None if node.tag == "tag:yaml.org,2002:null" else node.value
