# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Read YAML that a host or a server sent: plain data of limited depth, with all scalars as text."""

from __future__ import annotations

from ._errors import require


class YamlError(ValueError):
    """The text is not YAML, or not plain data."""


def read_document(text: str, depth: int) -> object:
    """Return the first document, None without one. Raises `YamlError`, and `LivepatchError` (``library_missing``).

    It is built from events. A loader would convert 33.10 to a number, resolve aliases, which can multiply without
    limit, and recurse as deep as the text: the one in C then ends the process.
    """
    yaml = require("yaml", "text in YAML")
    open_nodes: list[list[object]] = [[]]
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise YamlError("it contains an anchor or an alias")
            if isinstance(event, yaml.ScalarEvent):
                is_null = event.implicit[0] and event.value in ("", "~", "null")
                open_nodes[-1].append(None if is_null else event.value)
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(open_nodes) > depth:
                    raise YamlError(f"it is nested deeper than {depth} levels")
                open_nodes.append([])
            elif isinstance(event, yaml.CollectionEndEvent):
                items = open_nodes.pop()
                open_nodes[-1].append(_paired(items) if isinstance(event, yaml.MappingEndEvent) else items)
            elif isinstance(event, yaml.DocumentEndEvent):
                break
    # Some texts that are not valid Unicode are a ValueError.
    except (yaml.YAMLError, ValueError) as error:
        raise error if isinstance(error, YamlError) else YamlError(str(error)) from error
    return open_nodes[0][0] if open_nodes[0] else None


def _paired(items: list[object]) -> dict[str, object]:
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, str)}
