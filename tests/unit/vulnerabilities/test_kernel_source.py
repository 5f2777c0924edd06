# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Source packages of kernels."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import parse_kernel_name
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.kernel_source import (
    any_flavour_sources,
    is_kernel_source,
    source_candidates,
)


@pytest.mark.parametrize(
    ("release", "kernel", "expected"),
    [
        ("14.04", "4.4.0-148.174~14.04.1-generic", ["linux-lts-xenial"]),
        ("14.04", "3.13.0-170.220-generic", ["linux"]),
        ("14.04", "4.15.0-1201.216~14.04.1-azure", ["linux-azure"]),
        ("16.04", "4.4.0-168.197-generic", ["linux"]),
        ("16.04", "4.4.0-168.197-lowlatency", ["linux"]),
        ("16.04", "4.15.0-142.146~16.04.1-generic", ["linux-hwe", "linux-hwe-edge"]),
        ("16.04", "4.4.0-1128.142-aws", ["linux-aws"]),
        ("16.04", "4.15.0-1192.205~16.04.1-aws", ["linux-aws-hwe", "linux-aws"]),
        ("16.04", "4.15.0-1113.127~16.04.1-azure", ["linux-azure"]),
        ("16.04", "4.4.0-1017.22~recert1-fips", ["linux-fips"]),
        ("18.04", "4.15.0-1168.183-azure", ["linux-azure-4.15", "linux-azure"]),
        ("18.04", "4.15.0-1021.21+fips2-aws-fips", ["linux-aws-fips"]),
        ("18.04", "5.4.0-150.167~18.04.1-lowlatency", ["linux-hwe-5.4", "linux-hwe", "linux-hwe-edge"]),
        ("18.04", "5.4.0-1100.108~18.04.1-gcp", ["linux-gcp-5.4", "linux-gcp"]),
        ("20.04", "5.4.0-150.167-generic", ["linux"]),
        ("20.04", "5.15.0-88.98~20.04.1-generic", ["linux-hwe-5.15"]),
        ("20.04", "5.15.0-88.98~20.04.1-lowlatency", ["linux-lowlatency-hwe-5.15", "linux-hwe-5.15"]),
        ("22.04", "5.15.0-88.98-lowlatency", ["linux-lowlatency", "linux"]),
        ("22.04", "6.8.0-40.40~22.04.3-generic", ["linux-hwe-6.8"]),
        ("22.04", "5.15.0-88.98-generic-64k", ["linux"]),
        ("24.04", "6.8.0-1047.50-aws", ["linux-aws"]),
        ("24.04", "6.14.0-1010.10~24.04.1-gcp", ["linux-gcp-6.14", "linux-gcp"]),
        ("26.04", "7.0.0-28.28-generic", ["linux"]),
        ("16.10", "4.8.0-22.24-generic", []),
    ],
)
def test_release_series_and_flavour_give_candidates(release: str, kernel: str, expected: list[str]) -> None:
    name = parse_kernel_name(kernel)
    assert name is not None
    assert list(source_candidates(release, name)) == expected


def test_notices_count_lowlatency_as_generic() -> None:
    assert any_flavour_sources(["linux-lowlatency-hwe-6.8"]) == {"linux-lowlatency-hwe-6.8", "linux-hwe-6.8"}
    assert any_flavour_sources(["linux-lowlatency"]) == {"linux-lowlatency", "linux"}
    assert any_flavour_sources(["linux-aws"]) == {"linux-aws"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("linux", True), ("linux-hwe-6.8", True), ("linuxptp", False), ("bash", False), ("linux-" + "a" * 80, False)],
)
def test_kernels_are_found_by_name(name: str, expected: bool) -> None:
    assert is_kernel_source(name) == expected
