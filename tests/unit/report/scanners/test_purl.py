# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Package URLs of a kernel: which packages have them, and how scanners find them."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import parse_kernel_name
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners.purl import (
    package_url,
    running_packages,
)


def names(kernel: str, *packages: tuple[str, str]) -> list[str]:
    name = parse_kernel_name(kernel)
    assert name is not None
    return [package for package, _version in running_packages(name, packages)]


def test_packages_of_the_running_kernel_are_chosen() -> None:
    own = [
        ("linux-headers-6.8.0-51", "6.8.0-51.52"),
        ("linux-headers-6.8.0-51-generic", "6.8.0-51.52"),
        ("linux-image-6.8.0-51-generic", "6.8.0-51.52+1"),
        ("linux-image-unsigned-6.8.0-51-generic", "6.8.0-51.52"),
        ("linux-modules-6.8.0-51-generic", "6.8.0-51.52"),
        ("linux-modules-extra-6.8.0-51-generic", "6.8.0-51.52"),
        ("linux-tools-6.8.0-51", "6.8.0-51.52"),
    ]
    others = [
        ("linux-image-6.8.0-52-generic", "6.8.0-52.53"),
        ("linux-image-6.8.0-51-lowlatency", "6.8.0-51.52"),
        ("linux-image-6.8.0-51-generic", "6.8.0-51.51"),
        ("linux-image-6.8.0-51-generic", "6.8.0-51.52.1"),
        ("linux-image-generic", "6.8.0.51.52"),
        ("linux-image-x6.8.0-51", "6.8.0-51.52"),
        ("Linux-image-6.8.0-51-generic", "6.8.0-51.52"),
        ("nvidia-6.8.0-51-generic", "6.8.0-51.52"),
    ]
    assert names("6.8.0-51.52-generic", *others, *own, *own) == [name for name, _version in own]


def test_flavours_and_hwe_kernels_are_told_apart() -> None:
    assert names("6.8.0-1047.50-aws", ("linux-image-6.8.0-1047-aws", "6.8.0-1047.50")) == ["linux-image-6.8.0-1047-aws"]
    hwe = [("linux-hwe-6.8-headers-6.8.0-51", "6.8.0-51.52~22.04.1"), ("linux-image-6.8.0-51-generic", "6.8.0-51.52")]
    assert names("6.8.0-51.52~22.04.1-generic", *hwe) == ["linux-hwe-6.8-headers-6.8.0-51"]


def test_a_release_without_the_upload_has_no_packages() -> None:
    assert names("6.8.0-51-generic", ("linux-image-6.8.0-51-generic", "6.8.0-51.52")) == []


@pytest.mark.parametrize(
    ("package", "url"),
    [
        (
            ("linux-image-6.8.0-1047-aws", "6.8.0-1047.50", "amd64"),
            "pkg:deb/ubuntu/linux-image-6.8.0-1047-aws@6.8.0-1047.50?arch=amd64",
        ),
        (
            ("linux-modules-5.4.0-1021-aws-fips", "5.4.0-1021.21+fips2", "amd64"),
            "pkg:deb/ubuntu/linux-modules-5.4.0-1021-aws-fips@5.4.0-1021.21%2Bfips2?arch=amd64",
        ),
        (
            ("linux-hwe-6.8-headers-6.8.0-51", "6.8.0-51.52~22.04.1", "arm64"),
            "pkg:deb/ubuntu/linux-hwe-6.8-headers-6.8.0-51@6.8.0-51.52~22.04.1?arch=all",
        ),
        (
            ("linux-headers-6.8.0-51-generic", "6.8.0-51.52", "amd64"),
            "pkg:deb/ubuntu/linux-headers-6.8.0-51-generic@6.8.0-51.52?arch=amd64",
        ),
        (("linux-image", "6.8.0 1", "amd64"), None),
        (("linux image", "6.8.0", "amd64"), None),
        (("linux-image", "6.8.0", "amd64&distro=x"), None),
        (("linux-image", "6.8.0", ""), None),
    ],
)
def test_a_package_url_is_the_one_of_scanners(package: tuple[str, str, str], url: str | None) -> None:
    assert package_url(*package) == url
