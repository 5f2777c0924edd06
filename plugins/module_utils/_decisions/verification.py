# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""How far a loaded patch is verified, by the best witness there is."""

from __future__ import annotations

import collections.abc as c

from .._host.kernel_patches import LIVE_PATCH_KEY_ID, CarriedKey, SysfsPatch
from .._record import KernelPatch, Verification, VerificationLevel


def verified_patches(
    patches: c.Iterable[SysfsPatch], carried_keys: c.Sequence[CarriedKey] | None, *, claimed: str | None
) -> list[KernelPatch]:
    """Each loaded patch with its verification. `claimed` is the module that the client says it applied."""
    return [
        KernelPatch(
            module=patch.module,
            enabled=patch.enabled,
            transition=patch.transition,
            build_id=patch.build_id,
            taint=patch.taint,
            verification=_by_kernel(patch, carried_keys, claimed=patch.module == claimed),
        )
        for patch in patches
    ]


def _by_kernel(patch: SysfsPatch, carried_keys: c.Sequence[CarriedKey] | None, *, claimed: bool) -> Verification:
    """The kernel verified the module when it loaded it, if it carries the key: then taint E tells the result.

    A kernel without the key taints every live patch with E, so there the flag proves nothing. Source: kernel
    documentation, admin-guide/tainted-kernels and admin-guide/module-signing.
    """
    key = next((key for key in carried_keys or () if key.key_id == LIVE_PATCH_KEY_ID), None)
    if key is None or patch.taint is None:
        level: VerificationLevel = "client" if claimed else "none"
        return Verification(level=level, result="not_checked", signer=None, key_id=None, sha512=None)
    failed = "E" in patch.taint
    return Verification(
        level="kernel",
        result="failed" if failed else "verified",
        signer=None if failed else key.subject,
        key_id=None if failed else key.key_id,
        sha512=None,
    )
