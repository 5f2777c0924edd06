# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The one error of the collection, and the result that it becomes."""

from __future__ import annotations

import pickle

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import PolicyError
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError, require, sentence


def test_message_and_remedy_are_joined_as_sentences() -> None:
    result = LivepatchError("disk_full", "the disk of web1 is full", "delete old kernels", host="web1").as_result()
    assert result == {
        "msg": "The disk of web1 is full. Delete old kernels.",
        "error_id": "disk_full",
        "remedy": "delete old kernels",
        "host": "web1",
    }


def test_an_error_without_remedy_says_so() -> None:
    assert LivepatchError("x", "It failed.").as_result() == {"msg": "It failed.", "error_id": "x", "remedy": None}


def test_later_details_do_not_replace_earlier_ones() -> None:
    error = LivepatchError("x", "m", state="failed").with_details(state="unknown", record={})
    assert error.details == {"state": "failed", "record": {}}


@pytest.mark.parametrize(
    "error",
    [LivepatchError("disk_full", "the disk is full", "delete files", host="web1"), PolicyError("x.yml:1: wrong")],
    ids=["base", "subclass"],
)
def test_an_error_travels_between_processes(error: LivepatchError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  (this test wrote it)
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.as_result() == error.as_result()


@pytest.mark.parametrize(("text", "expected"), [("a b", "A b."), ("Done!", "Done!"), ("why?", "Why?"), ("", ".")])
def test_a_sentence_has_a_capital_and_an_end(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_a_missing_library_is_named_with_its_command() -> None:
    with pytest.raises(LivepatchError) as caught:
        require("no_such_library_for_tests", "this test")
    assert caught.value.id == "library_missing"
    assert str(caught.value).startswith("this test needs the Python library no_such_library_for_tests")
    assert caught.value.remedy is not None
    assert caught.value.remedy.endswith("python3 -m pip install no_such_library_for_tests")


def test_an_old_library_is_named_with_its_version() -> None:
    assert require("pytest", "this test", minimum=1) is pytest
    with pytest.raises(LivepatchError, match=r"pytest 10000 or newer, and this Python has \d") as caught:
        require("pytest", "this test", minimum=10000)
    assert caught.value.id == "library_missing"
    assert caught.value.remedy is not None
    assert caught.value.remedy.endswith("python3 -m pip install 'pytest>=10000'")
