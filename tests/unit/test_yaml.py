# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of YAML from hosts and servers: text only, no aliases, limited depth."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._yaml import YamlError, read_document


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("", None),
        ("# nothing", None),
        ("a", "a"),
        ("- 33.10\n- yes\n- 2026-03-01", ["33.10", "yes", "2026-03-01"]),
        ("a: ~\nb: null\nc:\nd: '~'", {"a": None, "b": None, "c": None, "d": "~"}),
        ("a: [{b: c}]\n? [x]\n: y", {"a": [{"b": "c"}]}),
        ("a: 1\na: 2", {"a": "2"}),
        ("--- a\n--- b", "a"),
        ("!!python/object/apply:os.system [id]", ["id"]),
    ],
)
@pytest.mark.parametrize("compiled", [True, False])
def test_scalars_are_text(text: str, document: object, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    assert read_document(text, 4) == document


@pytest.mark.parametrize("text", ["&a x", "[&a x, *a]", "a: &b {}", "*a"])
def test_anchors_and_aliases_are_refused(text: str) -> None:
    with pytest.raises(YamlError):
        read_document(text, 4)


@pytest.mark.parametrize(("text", "depth"), [("[[[[x]]]]", 4), ("- - - - x", 4), ("a: {b: {c: {d: x}}}", 4)])
def test_the_depth_is_limited(text: str, depth: int) -> None:
    read_document(text, depth)
    with pytest.raises(YamlError, match="nested deeper than 3 levels"):
        read_document(text, depth - 1)
    with pytest.raises(YamlError):
        read_document("- " * 100_000, depth)


@given(st.text("ab: -[]{}\n#&*!|>'\"\x00\ud800", max_size=40))
def test_any_text_is_data_or_an_error(text: str) -> None:
    try:
        read_document(text, 8)
    except YamlError as error:
        assert str(error)
