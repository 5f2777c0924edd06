# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""YAML that an operator wrote, read so that a mistake in it can be named with its line."""

from __future__ import annotations

import yaml


class YamlError(ValueError):
    """Text that is no YAML. The message names the source and the line."""


def read_yaml(text: str, source: str) -> tuple[object, dict[str, int]]:
    """Read YAML as plain data, with the line of each value by its path, such as ``systems[0].kernel``.

    `source` is its name in messages. Scalars stay text: a release 16.10 must not become the number 16.1.
    Raises `YamlError`.
    """
    lines: dict[str, int] = {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if root is None else _plain(root, "", lines), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{source}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(f"{source}: not valid YAML: {error}") from error


def _plain(node: yaml.Node, path: str, lines: dict[str, int]) -> object:
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
