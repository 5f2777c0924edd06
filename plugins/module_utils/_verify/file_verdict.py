# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The verdicts on the file of a patch, and the error that ends its examination early."""

from __future__ import annotations

import typing as t

FileVerdict = t.Literal[
    "valid",
    "unsigned",
    "truncated",
    "malformed",
    "unsupported_algorithm",
    "no_certificate",
    "wrong_signer",
    "digest_mismatch",
    "not_for_this_kernel",
]
"""Only `valid` is good. With `no_certificate` the signature is not verified: the pinned certificate is missing."""


class PatchFileError(Exception):
    """The file is not valid. `verdict` names the fault, `reason` explains it in a sentence."""

    def __init__(self, verdict: FileVerdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict: FileVerdict = verdict
        self.reason = reason
