# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The form of tokens."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client_comparison import check_token

TOKEN = "d3b07384d113edec49eaa6238ad5ff00"
PRO_TOKEN = "C1234567890abcdefghijkABCDEFG"


@pytest.mark.parametrize(
    ("cause", "token", "via"),
    [
        ("token_malformed", f"{TOKEN}\n", "livepatch"),
        ("token_malformed", f" {TOKEN}", "livepatch"),
        ("token_malformed", "xyz", "livepatch"),
        ("token_malformed", 'quote"quote"quote', "livepatch"),
        ("token_is_pro", PRO_TOKEN, "livepatch"),
        ("token_is_livepatch", TOKEN, "pro"),
        ("token_is_livepatch", "7f1b6c1e-0d1c-4b7e-9a51-3f2f6a8f3c11", "pro"),
    ],
)
def test_a_wrong_token_is_refused(cause: str, token: str, via: t.Any) -> None:
    with pytest.raises(LivepatchError) as error:
        check_token(token, via)
    assert error.value.id == cause
    assert token not in str(error.value)


@pytest.mark.parametrize(
    ("token", "via"),
    [
        (TOKEN, "livepatch"),
        (f"C{TOKEN[1:]}", "livepatch"),
        ("7f1b6c1e-0d1c-4b7e-9a51-3f2f6a8f3c11", "livepatch"),
        (PRO_TOKEN, "pro"),
        (None, "pro"),
    ],
)
def test_a_right_token_is_accepted(token: str | None, via: t.Any) -> None:
    check_token(token, via)
