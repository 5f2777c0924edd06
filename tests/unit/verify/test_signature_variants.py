# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Module signatures are accepted and refused as by the Linux kernel, except where decision 0022 says so."""

from __future__ import annotations

import datetime as dt

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, trust
from tests.lab.live_patches import signing
from tests.lab.live_patches.signature_variants import DIFFERENCES, JUDGEMENTS, TRUSTED, WITH_ECDSA, make_variants

NOW = dt.datetime.now(dt.timezone.utc)
ANCHORS = trust.TrustAnchors([trust.read_certificate(each.der) for each in TRUSTED])
VARIANTS = make_variants(signing.module())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_judged_as_by_the_kernel(name: str) -> None:
    data, outcome = VARIANTS[name]
    found = patch_file.examine(data, "patch.ko", ANCHORS, now=NOW, kernel=None)
    assert found.verdict == outcome.verdict, found.reason
    assert found.reason


def test_only_documented_variants_differ_from_the_kernel() -> None:
    differing = {name for name, (_data, outcome) in VARIANTS.items() if outcome.kernel != JUDGEMENTS[outcome.verdict]}
    assert differing == set.union(*DIFFERENCES.values())
    assert set(VARIANTS) >= WITH_ECDSA
