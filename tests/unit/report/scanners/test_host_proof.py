# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a record proves to a scanner."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.host_proof import host_proof
from tests.samples.proofs import URLS, a_record
from tests.samples.records import make_record


def test_a_confirmed_patch_is_a_proof() -> None:
    proof = host_proof(a_record())
    assert proof.products() == URLS
    assert proof.patch is not None
    assert (proof.patch.version, proof.patch.module) == ("65.1", "lkp_Ubuntu_4_4_0_168_197_generic_65")
    assert (proof.patch.build_id, proof.patch.result, proof.patch.level) == ("ab" * 20, "verified", "file")


@pytest.mark.parametrize(
    "changes",
    [
        {"patched": False},
        {"assessment__state": "tampered"},
        {"assessment__state": "stale"},
        {"kernel_patches": []},
        {"patch__version": "66.1"},
        {"patch__state": "applied-with-bug"},
    ],
)
def test_without_evidence_no_patch_is_proven(changes: dict[str, t.Any]) -> None:
    record = a_record(patched=changes.pop("patched", True))
    for place, value in changes.items():
        *parents, last = place.split("__")
        target: t.Any = record
        for key in parents:
            target = target[key]
        target[last] = value
    assert host_proof(record).patch is None


def test_a_record_of_release_1_has_no_products() -> None:
    assert host_proof(make_record()).products() == []
