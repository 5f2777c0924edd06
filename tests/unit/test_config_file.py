# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of configuration that an operator wrote: places in messages, types, and YAML with lines."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._config_file import (
    Location,
    YamlError,
    choice,
    mapping,
    nearest,
    read_document,
    read_yaml,
    text,
)


class FailureError(ValueError):
    """The failure of these tests."""


MANY_VALUES = "".join(f"- &a{depth} [{', '.join([f'*a{depth - 1}'] * 10) if depth else 'x'}]\n" for depth in range(9))
"""Short YAML with a thousand million values, by aliases of aliases."""

TOP = Location("policy.yml", "", {"systems": 3, "systems[0].kernel": 5}, FailureError)


def message(function: t.Callable[..., object], *arguments: object, **options: object) -> str:
    with pytest.raises(FailureError) as caught:
        function(*arguments, **options)
    return str(caught.value)


def test_an_error_names_file_line_and_key() -> None:
    place = TOP.below("systems").below("[0]").below("kernel")
    assert place.path == "systems[0].kernel"
    assert str(place.error("is wrong")) == "policy.yml:5: systems[0].kernel: is wrong"
    assert str(TOP.below("other").error("is wrong")) == "policy.yml: other: is wrong"
    assert str(TOP.error("is wrong")) == "policy.yml: is wrong"


def test_a_mapping_has_its_keys_and_no_others() -> None:
    keys: dict[str, t.Any] = {"required": ("name",), "optional": ("release",)}
    assert mapping({"name": "a", "release": None}, TOP, **keys) == {"name": "a", "release": None}
    assert message(mapping, [], TOP, **keys) == "policy.yml: expected a mapping with name"
    assert message(mapping, {"release": "a"}, TOP, **keys) == "policy.yml: name is missing"
    assert message(mapping, {"name": None}, TOP, **keys) == "policy.yml: name is missing"
    assert message(mapping, {"name": "a", "relase": 1}, TOP, **keys) == (
        "policy.yml: relase: unknown key; did you mean release?"
    )


def test_text_is_not_blank() -> None:
    assert text("a b", TOP) == "a b"
    for value in ("", "  ", None, 7, ["a"]):
        assert message(text, value, TOP) == f"policy.yml: expected text, found {value!r}"


def test_text_is_a_plain_string() -> None:
    class Marked(str):
        __slots__ = ()

    assert text(Marked("a"), TOP).__class__ is str
    assert choice(Marked("a"), TOP, ("a",)).__class__ is str


def test_a_choice_is_one_of_the_words() -> None:
    assert choice("a", TOP, ("a", "b")) == "a"
    for value in ("c", None, 7, ["a"]):
        assert message(choice, value, TOP, ("a", "b")) == f"policy.yml: expected one of a, b, found {value!r}"


def test_the_hint_names_similar_or_all_words() -> None:
    assert nearest("relase", ["release", "kernel"], "keys") == "did you mean release?"
    assert nearest("xyz", ["release", "kernel"], "keys") == "known keys are release, kernel"


def test_yaml_is_text_with_lines() -> None:
    document, lines = read_yaml(
        "systems:\n- release: 16.10\n  old: ~\n  flavours: [a, 1]\n", "policy.yml", FailureError
    )
    assert document == {"systems": [{"release": "16.10", "old": None, "flavours": ["a", "1"]}]}
    assert lines["systems[0].release"] == 2
    assert lines["systems[0].flavours[1]"] == 4
    assert read_yaml("", "policy.yml", FailureError) == (None, {})


@pytest.mark.parametrize(
    ("content", "start"),
    [
        ("a: [", "policy.yml:1: not valid YAML: "),
        ("a: b\n c: d", "policy.yml:2: not valid YAML: "),
        ("\x00", "policy.yml: not valid YAML: "),
        ("[" * 100_000, "policy.yml: not valid YAML: "),
        ("a: 1\nb: 2\na: 3\n", "policy.yml:3: the key 'a' occurs twice"),
        (MANY_VALUES, "policy.yml:1: the file has more than 100000 values"),
    ],
)
def test_invalid_yaml_is_an_error(content: str, start: str) -> None:
    with pytest.raises(FailureError) as caught:
        read_yaml(content, "policy.yml", FailureError)
    assert str(caught.value).startswith(start)


@given(st.text("ab: -[]{}\n#&*!|>'\"", max_size=40))
def test_any_text_is_yaml_or_an_error(content: str) -> None:
    try:
        read_yaml(content, "policy.yml", FailureError)
    except FailureError as error:
        assert str(error).startswith("policy.yml")


# --- documents of hosts and servers


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


NESTED_KEY = "? [&a0 [x, x], " + "".join(f"&a{i} [*a{i - 1}, *a{i - 1}], " for i in range(1, 60)) + "x]\n: value\n"


@pytest.mark.parametrize("key", [NESTED_KEY, "? {a: b}\n: value\n", "? &a [*a]\n: value\n"])
def test_a_key_is_a_scalar(key: str) -> None:
    assert message(read_yaml, key, "policy.yml", FailureError).startswith(
        "policy.yml:1: expected text as a key, found "
    )
