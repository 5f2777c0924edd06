# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The core judges signatures as Linux does: kernels of Debian load the same files.

Each kernel runs once in an emulator, and loads all files: the variants of the table, and signatures in which one bit
has changed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, trust
from tests.lab.kernel_judge.debian_kernel import DebianKernel, downloaded_kernel
from tests.lab.kernel_judge.judge import MODULE, Ruling, judge, read_rulings
from tests.lab.live_patches import signature_variants as table
from tests.lab.live_patches import signing
from tests.lab.vm.debian_packages import METAPACKAGE, UnavailableError

pytestmark = pytest.mark.oracle

NOW = dt.datetime.now(dt.timezone.utc)
ANCHORS = trust.TrustAnchors([trust.read_certificate(each.der) for each in table.TRUSTED])
DIFFERENCES = set.union(*table.DIFFERENCES.values())

# The kernel of this release of Debian, and the newer one for Debian 12, which has ECDSA.
KERNELS = (METAPACKAGE, "linux-image-6.12-cloud-amd64")
FLIPPED = ("RSA, SHA-512", "version 3, key identifier", "an unsigned attribute")
"""The variants in which bits are changed."""
SAMPLED = 16
"""Of the bits in the value of a signature, one in so many is changed: all of them have the same effect."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """A kernel, its module in all variants, and its rulings on them and on those with a changed bit."""

    kernel: DebianKernel
    variants: table.Variants
    rulings: dict[str, Ruling]
    flipped: dict[str, bytes]
    flipped_rulings: dict[str, Ruling]


@pytest.fixture(scope="module", params=KERNELS)
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder: Path = tmp_path_factory.mktemp("judge")
    try:
        kernel = downloaded_kernel(request.param)
        content = kernel.module(MODULE)
        assert content is not None
        variants = table.make_variants(content)
        flipped = {name: data for variant in FLIPPED for name, data in _flip(variant, variants, len(content))}
        files = [*(data for data, _outcome in variants.values()), *flipped.values()]
        rulings = judge(kernel, table.ROOT, table.TRUSTED, content, files, folder)
    except UnavailableError as reason:
        pytest.skip(f"no kernel that judges: {reason}")
    named = dict(zip(variants, rulings, strict=False))
    return Trial(kernel, variants, named, flipped, dict(zip(flipped, rulings[len(variants) :], strict=True)))


def _flip(variant: str, variants: table.Variants, start: int) -> Iterator[tuple[str, bytes]]:
    """Yield the changes of one bit in a signature, up to the mark."""
    data, _outcome = variants[variant]
    value = data.index(table.VENDOR.sign(data[:start], "sha512"))
    for bit in range(start * 8, (len(data) - len(signing.MARK)) * 8):
        if value <= bit // 8 < value + table.VENDOR.key.key_size // 8 and bit % SAMPLED:
            continue
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"{variant}, byte {bit // 8 - start}, bit {bit % 8}", bytes(changed)


def _judgement_of_the_core(data: bytes) -> str:
    return table.JUDGEMENTS[patch_file.examine(data, "patch.ko", ANCHORS, now=NOW, kernel=None).verdict]


def _without_ecdsa(trial: Trial) -> set[str]:
    return set() if trial.kernel.configured("CRYPTO_ECDSA") else table.WITH_ECDSA


def test_the_core_judges_variants_as_the_kernel(trial: Trial) -> None:
    assert len(trial.variants) >= 75
    differing = {
        name: (ruling.judgement, _judgement_of_the_core(data), ruling.log)
        for (name, (data, _outcome)), ruling in zip(trial.variants.items(), trial.rulings.values(), strict=True)
        if ruling.judgement != _judgement_of_the_core(data)
    }
    assert differing, "the comparison finds differences"
    assert {name: found for name, found in differing.items() if name not in DIFFERENCES | _without_ecdsa(trial)} == {}


def test_the_table_has_the_judgement_of_the_kernel(trial: Trial) -> None:
    # Kernels differ in the hash algorithms that they know.
    ignored = table.DIFFERENCES["only SHA-256, SHA-384 and SHA-512 are judged"] | _without_ecdsa(trial)
    expected = {name: outcome.kernel for name, (_data, outcome) in trial.variants.items() if name not in ignored}
    assert {name: trial.rulings[name].judgement for name in expected} == expected


def test_the_core_judges_a_changed_bit_as_the_kernel(trial: Trial) -> None:
    judged = {name: ruling.judgement for name, ruling in trial.flipped_rulings.items()}
    assert {name: _judgement_of_the_core(data) for name, data in trial.flipped.items()} == judged
    assert set(judged.values()) == {table.ACCEPTED, table.UNSIGNED, table.REFUSED}


def test_a_machine_must_judge_all_files() -> None:
    lines = ["a message", "nonce 0 0 [OE] loaded", "other 1 0 [] loaded", "nonce 1 129 [-] ", "nonce end 2"]
    first, second = read_rulings("\n".join(lines), "nonce", 2)
    assert (first, first.judgement) == (Ruling(0, "OE", "loaded"), table.UNSIGNED)
    assert (second, second.judgement) == (Ruling(129, "-", ""), table.REFUSED)
    for damaged in ([], lines[:-1], lines[:3], [lines[0], *lines[2:]], [*lines, lines[-2]]):
        with pytest.raises(RuntimeError, match="of 2 modules"):
            read_rulings("\n".join(damaged), "nonce", 2)
