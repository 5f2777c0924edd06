# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What can be said of the file of a patch, and the one way in which reading it ends early."""

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
"""`valid` is the only good one. `no_certificate` says that it could not be found out: the pinned key is not at hand."""


class PatchFileError(Exception):
    """The file is not what it must be. `verdict` names the fault, `reason` explains it in a sentence."""

    def __init__(self, verdict: FileVerdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict: FileVerdict = verdict
        self.reason = reason
