# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The names of Ubuntu's kernel metapackages, and the series that a host should run."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.metapackages import (
    metapackage,
    preferred_row,
    pro_service,
)
from tests.samples.facts import shipped

CURRENT = shipped("current")


@pytest.mark.parametrize(
    ("release", "series", "flavour", "package"),
    [
        ("14.04", "4.4", "generic", "linux-generic-lts-xenial"),
        ("14.04", "4.4", "lowlatency", "linux-lowlatency-lts-xenial"),
        ("14.04", "3.13", "generic", "linux-image-generic"),
        ("14.04", "4.4", "aws", None),
        ("16.04", "4.4", "generic", "linux-image-generic"),
        ("16.04", "4.15", "generic", "linux-image-generic-hwe-16.04"),
        ("16.04", "4.4", "aws", "linux-image-aws"),
        ("16.04", "4.4", "azure", None),
        ("16.04", "4.15", "azure", "linux-image-azure"),
        ("18.04", "4.15", "aws", "linux-image-aws-lts-18.04"),
        ("18.04", "5.4", "aws", "linux-image-aws"),
        ("20.04", "5.15", "generic", "linux-image-generic-hwe-20.04"),
        ("20.04", "5.4", "lowlatency", "linux-image-lowlatency"),
        ("22.04", "5.15", "oracle", "linux-image-oracle-lts-22.04"),
        ("22.04", "6.8", "lowlatency", "linux-image-lowlatency-hwe-22.04"),
        ("24.04", "6.8", "gcp", "linux-image-gcp-lts-24.04"),
        ("24.04", "6.11", "generic", None),
        ("24.04", "7.0", "azure", "linux-image-azure"),
        ("26.04", "7.0", "azure", "linux-image-azure"),
        ("26.04", "7.0", "generic", "linux-image-generic"),
        ("24.04", "6.8", "oem", None),
        ("18.04", "4.15", "fips", None),
        ("22.10", "5.19", "generic", None),
    ],
)
def test_metapackages_by_release_series_and_flavour(
    release: str, series: str, flavour: str, package: str | None
) -> None:
    assert metapackage(release, series, flavour) == package


@pytest.mark.parametrize(
    ("release", "flavour", "running", "series"),
    [
        ("16.04", "generic", "4.4", "4.4"),
        ("16.04", "generic", "4.13", "4.15"),
        ("16.04", "generic", None, "4.4"),
        ("20.04", "generic", "5.19", "5.4"),
        ("20.04", "generic", "5.15", "5.15"),
        ("24.04", "generic", "6.9", "7.0"),
        ("24.04", "generic", "7.3", "6.8"),
        ("24.04", "aws", "6.14", "7.0"),
        ("24.04", "oracle", "6.8", "6.17"),
        ("24.04", "lowlatency", "6.11", "6.8"),
    ],
)
def test_the_series_needs_no_removal_if_possible(release: str, flavour: str, running: str | None, series: str) -> None:
    rows = [row for row in CURRENT.systems if row.release == release and flavour in row.flavours]
    assert preferred_row(rows, running).series == series


@pytest.mark.parametrize(
    ("release", "day", "service"),
    [
        ("14.04", "2019-04-26", "esm-infra"),
        ("14.04", "2026-11-26", "esm-infra-legacy"),
        ("16.04", "2026-04-30", "esm-infra"),
        ("16.04", "2026-05-01", "esm-infra-legacy"),
        ("18.04", "2023-05-31", None),
        ("18.04", "2023-06-01", "esm-infra"),
        ("20.04", "2025-06-01", "esm-infra"),
        ("22.04", "2027-04-30", None),
        ("22.04", "2027-05-01", "esm-infra"),
        ("24.04", "2027-05-01", None),
        ("26.04", "2027-05-01", None),
        ("25.10", "2030-01-01", None),
        (None, "2030-01-01", None),
    ],
)
def test_kernels_after_standard_support_need_pro(release: str | None, day: str, service: str | None) -> None:
    found = pro_service(release, datetime.datetime.fromisoformat(f"{day}T12:00:00+00:00"))
    assert (found.name if found else None) == service
    assert pro_service(release, None) is None
