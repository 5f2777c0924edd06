# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""YAML as plain data: files that an operator wrote, and documents that a host or a server sent.

Errors in a file of an operator name the file, the line and the key.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import difflib
import typing as t

from ._errors import require

_VALUES_LIMIT = 100_000


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """The place of a value in a document, for messages.

    `path` is that of the value within the document, such as ``systems[0].kernel``. `lines` has the line of each path
    if the document was read from a file. `failure` is the exception that `error` returns.
    """

    source: str
    path: str
    lines: c.Mapping[str, int]
    failure: c.Callable[[str], Exception]

    def below(self, step: str) -> Location:
        """Return the location of a member: a key, or an index as ``[2]``."""
        path = f"{self.path}{step}" if step.startswith("[") or not self.path else f"{self.path}.{step}"
        return dataclasses.replace(self, path=path)

    def error(self, message: str) -> Exception:
        """Return an exception that names this location."""
        line = self.lines.get(self.path)
        where = f"{self.source}:{line}" if line is not None else self.source
        return self.failure(f"{where}: {self.path}: {message}" if self.path else f"{where}: {message}")


def mapping(
    value: object, place: Location, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> c.Mapping[str, object]:
    """Return the value as a mapping with these keys and no others."""
    if not isinstance(value, c.Mapping):
        raise place.error(f"expected a mapping with {', '.join(required)}")
    known = (*required, *optional)
    for key in value:
        if key not in known:
            raise place.below(str(key)).error(f"unknown key; {nearest(str(key), known, 'keys')}")
    for key in required:
        if value.get(key) is None:
            raise place.error(f"{key} is missing")
    return t.cast("c.Mapping[str, object]", value)


def text(value: object, place: Location) -> str:
    """Return the value as text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise place.error(f"expected text, found {value!r:.80}")
    # A copy in plain str: the value may carry a subclass of Ansible's.
    return str(value)


def choice(value: object, place: Location, choices: tuple[str, ...]) -> str:
    """Return the value as one of these words."""
    if not isinstance(value, str) or value not in choices:
        raise place.error(f"expected one of {', '.join(choices)}, found {value!r:.80}")
    return str(value)


def nearest(word: str, known: c.Iterable[str], kind: str) -> str:
    """Return a hint for an unknown word: the known word that is most similar, or all known words."""
    words = tuple(known)
    near = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {near[0]}?" if near else f"known {kind} are {', '.join(words)}"


def read_yaml(text: str, source: str, failure: c.Callable[[str], Exception]) -> tuple[object, dict[str, int]]:
    """Read YAML as plain data, with the line of each value by its path, such as ``systems[0].kernel``.

    Scalars stay text: a release 16.10 must not become the number 16.1. For invalid YAML, a key that occurs twice or is
    no scalar, and more than `_VALUES_LIMIT` values, raise the exception that `failure` returns for a message with the
    `source` and the line.
    """
    # Imported here because ansible-test loads every module of the core without third-party libraries.
    import yaml

    lines: dict[str, int] = {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return None, lines
        return _plain(root, "", lines, lambda line, why: failure(f"{source}:{line}: {why}")), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise failure(f"{source}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise failure(f"{source}: not valid YAML: {error}") from error


def _plain(node: t.Any, path: str, lines: dict[str, int], wrong: c.Callable[[int, str], Exception]) -> object:
    lines[path] = node.start_mark.line + 1
    # An alias stands for all values below its anchor, so that a short file can have any number of values.
    if len(lines) > _VALUES_LIMIT:
        raise wrong(lines[path], f"the file has more than {_VALUES_LIMIT} values")
    if node.id == "sequence":
        return [_plain(item, f"{path}[{index}]", lines, wrong) for index, item in enumerate(node.value)]
    if node.id == "mapping":
        result: dict[object, object] = {}
        for key, value in node.value:
            # A key that is a list with aliases could make any amount of text.
            if key.id != "scalar":
                raise wrong(key.start_mark.line + 1, f"expected text as a key, found a {key.id}")
            name = str(key.value)
            if name in result:
                raise wrong(key.start_mark.line + 1, f"the key {name!r:.80} occurs twice")
            result[name] = _plain(value, f"{path}.{name}" if path else name, lines, wrong)
        return result
    return None if node.tag == "tag:yaml.org,2002:null" else node.value


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
