# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The identity of the kernel, from uname and /proc/version_signature."""

from __future__ import annotations

import time
import typing as t
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.kernel import (
    KernelIdentity,
    identify,
    newest_release,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import parse_release

BUILT = "#61-Ubuntu SMP Tue Nov 8 20:09:34 UTC 2016"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)


def identity(
    release: str | None = "4.4.0-47-generic",
    version: str | None = BUILT,
    signature: str | None = None,
    absent: bool = False,
    container: bool = False,
    image_built_at: datetime | None = None,
) -> KernelIdentity:
    return identify(release, version, signature, absent, container, image_built_at)


@pytest.mark.parametrize(
    ("release", "signature", "full", "series", "flavour"),
    [
        ("4.4.0-47-generic", "Ubuntu 4.4.0-47.68-generic 4.4.24\n", "4.4.0-47.68-generic", "4.4", "generic"),
        ("4.4.0-47-lowlatency", "Ubuntu 4.4.0-47.68-lowlatency 4.4.24", "4.4.0-47.68-lowlatency", "4.4", "lowlatency"),
        (
            "4.15.0-36-generic",
            "Ubuntu 4.15.0-36.39~16.04.1-generic 4.15.18",
            "4.15.0-36.39~16.04.1-generic",
            "4.15",
            "generic",
        ),
        ("5.4.0-1031-aws-fips", "Ubuntu 5.4.0-1031.32+fips1-aws-fips 5.4.65", None, "5.4", "aws-fips"),
        ("4.4.0-1019-fips", "Ubuntu 4.4.0-1019.24~recert1-fips 4.4.185", None, "4.4", "fips"),
        ("6.8.0-31-generic-64k", "Ubuntu 6.8.0-31.31.1-generic-64k 6.8.1", None, "6.8", "generic-64k"),
        ("2.6.32-73-server", "Ubuntu 2.6.32-73.141-server 2.6.32.65+drm33.32", None, "2.6", "server"),
    ],
)
def test_the_signature_names_an_ubuntu_kernel(
    release: str, signature: str, full: str | None, series: str, flavour: str
) -> None:
    kernel = identity(release, signature=signature)
    assert kernel.origin == "ubuntu"
    assert kernel.full == (full or signature.split()[1])
    assert (kernel.release, kernel.series, kernel.flavour) == (release, series, flavour)
    assert "agrees" in kernel.origin_reason


def test_a_container_shows_the_kernel_of_its_host() -> None:
    kernel = identity(signature="Ubuntu 4.4.0-47.68-generic 4.4.24", container=True)
    assert (kernel.origin, kernel.full) == ("ubuntu", "4.4.0-47.68-generic")


@pytest.mark.parametrize(
    "release", ["4.4.0-48-generic", "4.4.0-47-lowlatency", "4.4.24-47-generic", "4.4.0-47-generic+", "4.4.24"]
)
def test_a_contradicted_signature_means_a_custom_kernel(release: str) -> None:
    kernel = identity(release, signature="Ubuntu 4.4.0-47.68-generic 4.4.24")
    assert (kernel.origin, kernel.full) == ("custom", None)
    assert "4.4.0-47.68-generic" in kernel.origin_reason
    assert release in kernel.origin_reason


@pytest.mark.parametrize(
    ("changes", "origin", "word"),
    [
        ({"absent": True}, "custom", "missing"),
        ({"signature": "\n"}, "custom", "does not name"),
        ({"signature": "Debian 4.4.0-47.68-generic 4.4.24"}, "custom", "does not name"),
        ({"signature": "Ubuntu 4.4.0-47-generic 4.4.24"}, "custom", "does not name"),
        ({"signature": "Ubuntu"}, "custom", "does not name"),
        ({"signature": "Ubuntu " + "4" * 300 + ".4.0-47.68-generic"}, "custom", "does not name"),
        ({}, "unknown", "could not be read"),
        ({"absent": True, "container": True}, "unknown", "container"),
        ({"absent": True, "release": None}, "unknown", "uname -r printed no release"),
        ({"absent": True, "release": "two words"}, "unknown", "uname -r printed no release"),
        ({"absent": True, "release": "4.4.0-040400-generic"}, "mainline", "mainline"),
        ({"absent": True, "release": "5.15.0-051500rc7-generic"}, "mainline", "mainline"),
        ({"absent": True, "release": "6.8.12-060812-generic"}, "mainline", "mainline"),
        ({"absent": True, "release": "4.9.100-0409100-generic"}, "mainline", "mainline"),
        ({"signature": "", "release": "4.4.0-040400-generic"}, "mainline", "mainline"),
        ({"release": "4.4.0-040400-generic"}, "unknown", "could not be read"),
        ({"absent": True, "container": True, "release": "4.4.0-040400-generic"}, "unknown", "container"),
        ({"absent": True, "release": "4.4.0-040500-generic"}, "custom", "missing"),
        ({"absent": True, "release": "6.1.0-18-cloud-amd64"}, "custom", "missing"),
        ({"absent": True, "release": "10.4-1004-x"}, "custom", "missing"),
    ],
)
def test_the_origin_without_signature_is_determined(changes: dict[str, t.Any], origin: str, word: str) -> None:
    kernel = identity(**changes)
    assert kernel.origin == origin
    assert word in kernel.origin_reason
    assert kernel.full is None


def test_a_signature_alone_proves_no_origin() -> None:
    kernel = identity(None, signature="Ubuntu 4.4.0-47.68-generic 4.4.24")
    assert (kernel.origin, kernel.full) == ("unknown", "4.4.0-47.68-generic")
    assert (kernel.series, kernel.flavour) == ("4.4", "generic")


@pytest.mark.parametrize(
    ("release", "series", "flavour"),
    [
        ("6.1.0-18-cloud-amd64", "6.1", "cloud-amd64"),
        ("5.15.90.1-microsoft-standard-WSL2", "5.15", None),
        ("4.4.24", "4.4", None),
        ("4.4.0-47-generic+", "4.4", None),
        ("six", None, None),
    ],
)
def test_other_kernels_have_series_and_flavour(release: str, series: str | None, flavour: str | None) -> None:
    kernel = identity(release, absent=True)
    assert (kernel.release, kernel.series, kernel.flavour) == (release, series, flavour)


@pytest.mark.parametrize("release", ["", "  \n", "4.4.0-47-generic\x1b[2J", "4" * 65])
def test_invalid_releases_are_unknown(release: str) -> None:
    kernel = identity(release, absent=True)
    assert (kernel.release, kernel.series, kernel.flavour, kernel.origin) == (None, None, None, "unknown")


@pytest.mark.parametrize(
    ("version", "built"),
    [
        ("#61-Ubuntu SMP Tue Nov 8 20:09:34 UTC 2016", utc(2016, 11, 8, 20, 9, 34)),
        ("#39~16.04.1-Ubuntu SMP Tue Sep 25 08:59:23 UTC 2018\n", utc(2018, 9, 25, 8, 59, 23)),
        ("#201601101930 SMP Mon Jan 11 00:34:09 UTC 2016", utc(2016, 1, 11, 0, 34, 9)),
        ("#1 SMP PREEMPT Sun Feb  7 01:02:03 GMT 2021", utc(2021, 2, 7, 1, 2, 3)),
        ("#1 SMP PREEMPT_DYNAMIC Sun, 24 Sep 2023 08:55:28 +0000", utc(2023, 9, 24, 8, 55, 28)),
        ("#1 SMP PREEMPT_DYNAMIC Sun, 24 Sep 2023 08:55:28 -0230", utc(2023, 9, 24, 11, 25, 28)),
        ("#1 SMP PREEMPT_DYNAMIC Sun, 24 Sep 2023 08:55:28 +0200", utc(2023, 9, 24, 6, 55, 28)),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03)", utc(2024, 5, 3)),
        ("#1 SMP Tue Nov 8 20:09:34 CET 2016", None),
        ("#14~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Mon Nov 20 18:15:30 UTC 2", None),
        ("#1 SMP Tue Nov 8 20:09:34 UTC 20161", None),
        ("#1 SMP Tue Nov 31 20:09:34 UTC 2016", None),
        ("#1 SMP Tue Nov 8 25:09:34 UTC 2016", None),
        ("#1 SMP PREEMPT Debian (2024-13-03)", None),
        ("#1 SMP Fri, 01 Jan 0001 00:00:00 +0200", None),
        ("#1 SMP Mar 8 20:09:34 2016", None),
        ("", None),
        (None, None),
    ],
)
def test_the_build_date_is_parsed(version: str | None, built: datetime | None) -> None:
    assert identity(version=version).build_date == built


def test_the_image_date_is_the_fallback() -> None:
    packaged = utc(2023, 11, 20)
    cut_off = "#14~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Mon Nov 20 18:15:30 UTC 2"
    assert identity(version=cut_off, image_built_at=packaged).build_date == packaged
    assert identity(version=BUILT, image_built_at=packaged).build_date == utc(2016, 11, 8, 20, 9, 34)


@pytest.mark.parametrize(
    ("release", "version", "realtime"),
    [
        ("5.15.0-1032-realtime", "#35-Ubuntu SMP PREEMPT_RT Tue Jan 24 11:45:03 UTC 2023", True),
        ("5.15.0-1032-realtime", None, True),
        ("6.8.0-2001-raspi-realtime", "#1-Ubuntu SMP", True),
        ("6.1.0-18-rt-amd64", "#1 SMP PREEMPT_RT Debian 6.1.90-1 (2024-05-03)", True),
        ("4.19.0-8-rt-amd64", "#1 SMP PREEMPT RT Debian 4.19.98-1 (2020-01-26)", True),
        ("6.8.0-31-generic", "#31-Ubuntu SMP PREEMPT_DYNAMIC Sat Apr 20 00:40:06 UTC 2024", False),
        ("6.8.0-31-generic", None, None),
    ],
)
def test_realtime_kernels_are_recognised(release: str, version: str | None, realtime: bool | None) -> None:
    assert identity(release, version).realtime is realtime


@pytest.mark.parametrize(
    ("release", "signature", "fips"),
    [
        ("4.4.0-1019-fips", None, True),
        ("5.4.0-1031-aws-fips", None, True),
        ("5.4.0-1031-aws", "Ubuntu 5.4.0-1031.32+fips1-aws 5.4.65", True),
        ("4.4.0-1019-generic", "Ubuntu 4.4.0-1019.24~recert1-generic 4.4.185", True),
        ("4.4.0-47-generic", "Ubuntu 4.4.0-47.68-generic 4.4.24", False),
        ("4.4.0-47-nofipshere", None, False),
        (None, None, False),
    ],
)
def test_fips_is_parsed(release: str | None, signature: str | None, fips: bool) -> None:
    assert identity(release, signature=signature).fips is fips


def test_releases_are_ordered_by_their_numbers() -> None:
    installed = ["4.4.0-9-generic", "4.4.0-104-generic", "4.4.0-47-generic", "4.4.0-210-lowlatency", "rescue"]
    assert newest_release(installed, "generic") == "4.4.0-104-generic"
    assert newest_release(installed, "lowlatency") == "4.4.0-210-lowlatency"
    assert newest_release(["4.15.0-1-generic", *installed], "generic") == "4.15.0-1-generic"
    assert newest_release(iter(["4.4.0-99-aws-fips", "4.4.0-100-aws"]), "aws-fips") == "4.4.0-99-aws-fips"


def test_a_release_candidate_is_older() -> None:
    candidates = ["5.15.0-051500rc10-generic", "5.15.0-051500rc9-generic"]
    names = filter(None, map(parse_release, (*candidates, "5.15.0-051500-generic")))
    assert [str(name) for name in sorted(names, key=lambda name: name.age)] == [
        "5.15.0-051500rc9-generic",
        "5.15.0-051500rc10-generic",
        "5.15.0-051500-generic",
    ]


def test_foreign_kernels_are_never_the_newest() -> None:
    foreign = ["5.15.0-051500rc10-generic", "5.4.23-050423-generic", "6.2.6-76060206-generic", "6.17.0-061700-generic"]
    assert newest_release(foreign, "generic") is None
    assert newest_release([*foreign, "5.4.0-216-generic"], "generic") == "5.4.0-216-generic"


@pytest.mark.parametrize("flavour", ["aws", None])
def test_a_missing_flavour_has_no_newest_release(flavour: str | None) -> None:
    assert newest_release(["4.4.0-47-generic", "4.4.24", "", "9" * 5000 + ".1-1-aws"], flavour) is None


NAME_LIKE = st.text(alphabet="0123456789.-~+_ ()#:JanUTCubuntpkrg\n", max_size=120)
ANY_TEXT = st.text() | NAME_LIKE | NAME_LIKE.map("Ubuntu {}".format)


@settings(deadline=None)
@given(st.none() | ANY_TEXT, st.none() | ANY_TEXT, st.none() | ANY_TEXT, st.booleans(), st.booleans())
def test_any_text_gives_an_identity(
    release: str | None, version: str | None, signature: str | None, absent: bool, container: bool
) -> None:
    kernel = identify(release, version, signature, absent, container)
    assert kernel.origin in {"ubuntu", "mainline", "custom", "unknown"}
    assert kernel.origin_reason
    assert kernel.build_date is None or kernel.build_date.utcoffset() is not None


@settings(deadline=None)
@given(st.lists(ANY_TEXT), ANY_TEXT)
def test_the_newest_release_is_in_the_list(releases: list[str], flavour: str) -> None:
    assert newest_release(releases, flavour) in {None, *releases}


@pytest.mark.parametrize("unit", ["4", "4.", "-", "4.4.0-", " ", "Ubuntu ", "Jan 1 ", "\N{NO-BREAK SPACE}"])
def test_a_megabyte_is_parsed_quickly(unit: str) -> None:
    noise = unit * (2**20 // len(unit))
    start = time.process_time()
    identify(noise, noise, noise, False, False)
    newest_release([noise], "generic")
    assert time.process_time() - start < 3
