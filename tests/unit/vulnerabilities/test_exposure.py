# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The status of a vulnerability on a host: by package data, notices and the list of the client."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import (
    STATES,
    Record,
    validate,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import exposure
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.exposure import (
    Evaluator,
    IdentifiedKernel,
    KernelEvidence,
    Verdict,
    kernel_evidence,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.index import (
    VulnerabilityIndex,
    index_packages,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import NoticeFiles
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import parse_notice
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import (
    Advice,
    Packages,
    Vulnerability,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.raw_notices import parse_raw_notice
from tests.samples.notices import affected, notice
from tests.samples.records import make_record
from tests.samples.vulnerabilities import raw_notice, raw_row

KERNEL = "4.4.0-168.197-generic"
FIXED_LATER, FIXED, OPEN, NOT_AFFECTED, TRIAGE = (f"CVE-2031-100{number}" for number in range(1, 6))
ELSEWHERE, UNKNOWN = "CVE-2031-1006", "CVE-2031-9999"
UNLISTED = "CVE-2031-1007"  # by the data
AWS = r"lkp_Ubuntu_4_15_0[_|\d]+_aws_(\d+)"
ALL = (FIXED_LATER, FIXED, OPEN, NOT_AFFECTED, TRIAGE, ELSEWHERE, UNKNOWN)
ADVICE = {
    FIXED_LATER: Advice("fixed", "4.4.0-200.232"),
    FIXED: Advice("fixed", "4.4.0-168.197"),
    OPEN: Advice("vulnerable"),
    NOT_AFFECTED: Advice("not-vulnerable"),
    TRIAGE: Advice("in-triage"),
}


def packages(
    advice: dict[str, dict[str, Advice]],
    versions: dict[str, set[str]],
    *,
    release: str = "16.04",
    realm: str = "",
    published: str | None = "2031-06-01",
) -> VulnerabilityIndex:
    known = {cve: Vulnerability("high", "2031-01-02") for each in advice.values() for cve in each}
    return VulnerabilityIndex([index_packages(Packages(release, realm, published, known, versions, advice))])


XENIAL = packages(
    {"linux": ADVICE, "linux-aws-hwe": {FIXED_LATER: Advice("fixed", "4.15.0-1192.205~16.04.1")}},
    {"linux": {"4.4.0-168.197"}, "linux-aws-hwe": {"4.15.0-1191.204~16.04.1"}},
)
NOBLE = packages({"linux": {ELSEWHERE: Advice("vulnerable")}}, {"linux": {"6.8.0-31.31"}}, release="24.04")


def noticed(*documents: dict[str, t.Any]) -> VulnerabilityIndex:
    found = [parse_raw_notice(each) if "releases" in each else parse_notice(each) for each in documents]
    return VulnerabilityIndex([], NoticeFiles([each for each in found if each is not None], []))


def host(kernel: str = KERNEL, release: str = "16.04", **changes: t.Any) -> KernelEvidence:
    plain = KernelEvidence(
        ubuntu=True,
        release=release,
        kernel=kernel,
        source=None,
        patch=None,
        confirmed=False,
        fixes=(),
        patchable=True,
        enabled=True,
    )
    return plain._replace(**changes)


def patched(version: str = "101.2", **changes: t.Any) -> KernelEvidence:
    return host(patch=version, confirmed=True, **changes)


def verdict(cve: str, evidence: KernelEvidence, *indexes: VulnerabilityIndex) -> Verdict:
    (found,) = Evaluator(indexes, [cve]).verdicts(evidence)
    return found


def status(cve: str, evidence: KernelEvidence, *indexes: VulnerabilityIndex) -> tuple[str, str | None]:
    """Return the status with the fix, or with the reason why it is unknown."""
    found = verdict(cve, evidence, *indexes)
    return found.status, found.reason["id"] if found.reason else found.fix


# --- several vulnerabilities at once


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patchable": False},
        {"patch": "101.2", "confirmed": True},
        {"patch": "100.1", "confirmed": True},
        {"patch": "101.2", "confirmed": True, "fixes": ((UNLISTED, True), (OPEN, True), (FIXED_LATER, False))},
        {"patch": "101.2", "fixes": ((UNLISTED, False), (FIXED_LATER, True), (OPEN, False))},
    ],
)
def test_each_vulnerability_is_evaluated_on_its_own(changes: dict[str, t.Any]) -> None:
    row = raw_row(r"lkp_Ubuntu_4_4_0[_|\d]+_generic_(\d+)", "4.4.0-1")
    silent = raw_notice("102-1", {"xenial": {"generic-4.4": row}}, cves=[TRIAGE, FIXED, UNKNOWN])
    other = notice("0099-1", affected(AWS, "99", package="linux-aws-hwe"), upstream=[FIXED_LATER, OPEN])
    ours = notice("0101-1", upstream=[NOT_AFFECTED, FIXED, FIXED_LATER, OPEN, UNKNOWN])
    for data in ([XENIAL, NOBLE], []):
        for order in ((silent, other, ours), (ours, other, silent)):
            indexes = [*data, noticed(*order)]
            found = Evaluator(indexes, ALL).verdicts(host(**changes))
            assert found == [verdict(cve, host(**changes), *indexes) for cve in ALL]
            assert found[ALL.index(OPEN)].status != "unknown"


# --- the date of the first fix


@pytest.mark.parametrize(
    ("advice", "evidence", "expected"),
    [
        (Advice("fixed", "4.4.0-200.232", "2031-02-03"), host(), ("patch", "2031-02-03")),
        (Advice("fixed", "4.4.0-200.232", "2031-06-07"), host(), ("patch", "2031-03-04")),
        (Advice("fixed", "4.4.0-200.232"), host(), ("patch", None)),
        (Advice("vulnerable"), host(), ("patch", "2031-03-04")),
        (Advice("fixed", "4.4.0-200.232", "2031-06-07"), host(patchable=False), ("kernel", "2031-06-07")),
        (Advice("vulnerable"), host(patchable=False), ("none", None)),
        (Advice("vulnerable"), patched("99.1", fixes=((FIXED_LATER, False),)), ("patch", "2031-03-04")),
        (Advice("fixed", "4.4.0-200.232", "2031-02-03"), host(fixes=((FIXED_LATER, False),)), ("patch", "2031-02-03")),
    ],
)
def test_the_first_fix_has_a_date(advice: Advice, evidence: KernelEvidence, expected: tuple[str, str | None]) -> None:
    data = packages({"linux": {FIXED_LATER: advice}}, {"linux": {"4.4.0-168.197"}})
    notices = noticed(notice("0101-1", affected(version="101"), upstream=[FIXED_LATER]))
    found = verdict(FIXED_LATER, evidence, data, notices)
    assert (found.fix, found.since) == expected


# --- package data


@pytest.mark.parametrize(
    ("cve", "expected"),
    [
        (FIXED_LATER, ("open", "kernel")),
        (FIXED, ("fixed", None)),
        (OPEN, ("open", "none")),
        (NOT_AFFECTED, ("not_affected", None)),
        (TRIAGE, ("unknown", "cve_undecided")),
        (UNKNOWN, ("unknown", "cve_not_in_data")),
    ],
)
def test_package_data_decides_without_a_patch(cve: str, expected: tuple[str, str | None]) -> None:
    assert status(cve, host(), XENIAL) == expected
    assert verdict(FIXED_LATER, host(), XENIAL).fixed_in == "4.4.0-200.232"


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("4.15.0-1192.205~16.04.1-aws", ("fixed", None)),
        ("4.15.0-1193.206~16.04.1-aws", ("fixed", None)),
        ("4.15.0-1191.204~16.04.1-aws", ("open", "kernel")),
    ],
)
def test_versions_are_compared_within_one_source(kernel: str, expected: tuple[str, str | None]) -> None:
    assert status(FIXED_LATER, host(kernel), XENIAL) == expected


def test_every_vulnerability_has_its_own_version() -> None:
    late = noticed(notice("0109-1", affected(version="109", fixed="4.4.0-208.240"), upstream=[f"UBUNTU-{FIXED}"]))
    assert status(FIXED, host(), XENIAL, late) == ("fixed", None), "the version of the notice is that of its newest CVE"


def test_an_unlisted_vulnerability_needs_newer_data() -> None:
    """Data that is as new as other data which lists the vulnerability would list it too."""
    assert status(ELSEWHERE, host(), XENIAL, NOBLE) == ("not_affected", None)
    old = packages({"linux": ADVICE}, {"linux": {"4.4.0-168.197"}}, published="2031-05-31")
    assert status(ELSEWHERE, host(), old, NOBLE) == ("unknown", "cve_not_in_data")
    assert status(ELSEWHERE, host(), XENIAL) == ("unknown", "cve_not_in_data")
    new = packages(
        {"linux": {ELSEWHERE: Advice("vulnerable")}}, {"linux": set()}, release="24.04", published="2031-01-02"
    )
    assert status(ELSEWHERE, host(), XENIAL, new) == ("unknown", "cve_not_in_data"), "published on the same day"


def test_the_oldest_data_that_lists_a_vulnerability_counts() -> None:
    """The order of the data and data without a date do not count."""
    listing = ({"linux": {ELSEWHERE: Advice("vulnerable")}}, {"linux": {"6.8.0-31.31"}})
    later = packages(*listing, release="25.04", published="2031-07-01")
    undated = packages(*listing, release="25.10", published=None)
    assert status(ELSEWHERE, host(), later, XENIAL, NOBLE) == ("not_affected", None)
    assert status(ELSEWHERE, host(), undated, XENIAL, NOBLE) == ("not_affected", None)
    assert status(ELSEWHERE, host(), undated, XENIAL) == ("unknown", "cve_not_in_data")
    old = packages({"linux": ADVICE}, {"linux": {"4.4.0-168.197"}}, published=None)
    assert status(ELSEWHERE, host(), old, NOBLE) == ("unknown", "cve_not_in_data")


def test_a_vulnerability_without_a_date_may_be_too_new() -> None:
    advice = {"linux": {ELSEWHERE: Advice("vulnerable")}}
    known = {ELSEWHERE: Vulnerability("high", None)}
    index = index_packages(Packages("24.04", "", "2031-01-02", known, {"linux": set()}, advice))
    assert status(ELSEWHERE, host(), XENIAL, VulnerabilityIndex([index])) == ("unknown", "cve_not_in_data")


def test_a_fix_without_a_version_is_unknown() -> None:
    data = packages({"linux": {FIXED: Advice("fixed")}}, {"linux": {"4.4.0-168.197"}})
    assert status(FIXED, host(), data) == ("unknown", "cve_undecided")


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (host(release="18.04"), "release_not_in_data"),
        (host("4.4.0-1100.1-aws"), "source_package_unknown"),
        (host(source="linux-oem"), "source_package_unknown"),
        (host("4.13.0-16.19~16.04.3-generic"), "source_package_unknown"),
        (host("4.15.0-30.32~18.04.1-generic"), "kernel_not_identified"),
        (host(kernel="4.4.0-040400-generic"), "kernel_without_data"),
        (host(ubuntu=False), "kernel_without_data"),
        (host("4.4.0-168.197~lp123-generic", ubuntu=None), "kernel_without_data"),
        (host("6.2.6-76060206-generic"), "kernel_without_data"),
        (host(kernel="6.1.0-custom"), "kernel_without_data"),
        (host()._replace(kernel=None), "kernel_not_identified"),
        (host()._replace(release=None), "kernel_not_identified"),
        (host(ubuntu=None), "kernel_not_identified"),
    ],
)
def test_a_kernel_without_data_is_unknown(evidence: KernelEvidence, expected: str) -> None:
    for cve in ALL:
        assert status(cve, evidence, XENIAL) == ("unknown", expected)


def test_the_upload_number_can_decide() -> None:
    assert status(FIXED, host("4.4.0-168-generic"), XENIAL) == ("unknown", "kernel_version_incomplete")
    assert status(FIXED_LATER, host("4.4.0-168-generic"), XENIAL) == ("open", "kernel")
    assert status(FIXED_LATER, host("4.4.0-201-generic"), XENIAL) == ("fixed", None)


def test_a_reported_source_is_used_as_it_is() -> None:
    found = Evaluator([XENIAL], ALL).identify(host("4.15.0-1191.204~16.04.1-aws", source="linux-aws-hwe"))
    assert isinstance(found, IdentifiedKernel)
    assert (found.source, found.derived) == ("linux-aws-hwe", False)
    derived = Evaluator([XENIAL], ALL).identify(host())
    assert isinstance(derived, IdentifiedKernel)
    assert (derived.source, derived.derived) == ("linux", True)


def test_a_kernel_of_another_release_is_not_compared() -> None:
    """The kernel of 24.04 on a host with 22.04 has the source package of the older kernel of 22.04."""
    advice = {FIXED: Advice("fixed", "5.15.0-80.90"), NOT_AFFECTED: Advice("not-vulnerable")}
    jammy = packages({"linux": advice}, {"linux": {"5.15.0-139.149"}}, release="22.04")
    installed = host("6.8.0-60.63-generic", "22.04", source="linux")
    assert status(FIXED, installed, jammy) == ("unknown", "source_package_unknown")
    assert status(NOT_AFFECTED, installed, jammy) == ("unknown", "source_package_unknown")
    assert status(FIXED, host("5.15.0-139.149-generic", "22.04", source="linux"), jammy) == ("fixed", None)


def of_source(source: str, *dates: tuple[str, str | None, Advice]) -> Packages:
    """Return data of 22.04 on one source package: vulnerabilities with their dates and advice."""
    known = {cve: Vulnerability("high", date) for cve, date, _advice in dates}
    advice = {source: {cve: each for cve, _date, each in dates}}
    return Packages("22.04", "", "2031-06-01", known, {source: {"6.5.0-45.45~22.04.1"}}, advice)


@pytest.mark.parametrize(
    ("last", "date", "expected"),
    [
        ("2029-05-03", "2031-05-03", ("unknown", "kernel_data_ended")),
        ("2031-02-01", "2031-05-03", ("unknown", "kernel_data_ended")),
        ("2031-02-02", "2031-05-03", ("not_affected", None)),
        ("2031-05-04", "2031-05-03", ("not_affected", None)),
        (None, "2031-05-03", ("unknown", "kernel_data_ended")),
        ("2031-05-03", None, ("not_affected", None)),
    ],
)
def test_a_source_that_ended_shows_nothing_about_later_vulnerabilities(
    last: str | None, date: str | None, expected: tuple[str, str | None]
) -> None:
    """An HWE kernel is not named any more after a newer one has replaced it, whether it is affected or not."""
    assert status(ELSEWHERE, host("6.5.0-45.45~22.04.1-generic", "22.04"), superseded(last, date, 20)) == expected


def superseded(
    last: str | None, date: str | None, later: int, more: dict[str, str] | None = None
) -> VulnerabilityIndex:
    """Return data on an HWE kernel until a date, and a number of later vulnerabilities of another kernel on a date.

    `more` are vulnerabilities of the other kernel on other dates.
    """
    hwe = of_source("linux-hwe-6.5", (FIXED, last, Advice("fixed", "6.5.0-41.41~22.04.2")))
    cves = [ELSEWHERE, *(f"{ELSEWHERE[:8]}-{number}" for number in range(90001, 90000 + later))]
    dates = {**dict.fromkeys(cves, date), **(more or {})}
    other = of_source("linux", *((cve, day, Advice("vulnerable")) for cve, day in dates.items()))
    both = Packages(
        "22.04",
        "",
        "2031-06-01",
        hwe.vulnerabilities | other.vulnerabilities,
        hwe.versions | other.versions,
        hwe.advice | other.advice,
    )
    return VulnerabilityIndex([index_packages(both)])


def test_a_few_vulnerabilities_can_concern_other_kernels_only() -> None:
    data = superseded("2029-05-03", "2031-05-03", 19)
    assert status(ELSEWHERE, host("6.5.0-45.45~22.04.1-generic", "22.04"), data) == ("not_affected", None)


def test_a_source_is_maintained_on_its_last_day() -> None:
    """The last day of the 90 is 2031-05-03. What was published on it counts like what was published before it."""
    evidence, last_day = host("6.5.0-45.45~22.04.1-generic", "22.04"), {UNLISTED: "2031-05-03"}
    ended = superseded("2031-02-02", "2031-05-04", 20, last_day)
    assert status(ELSEWHERE, evidence, ended) == ("unknown", "kernel_data_ended")
    assert status(UNLISTED, evidence, ended) == ("not_affected", None)
    maintained = superseded("2031-02-02", "2031-05-04", 19, last_day)
    assert status(ELSEWHERE, evidence, maintained) == ("not_affected", None)


def test_published_versions_choose_among_candidates() -> None:
    def source(version: str, **published: set[str]) -> str | None:
        names = {name.replace("_", "-"): versions for name, versions in published.items()}
        data = packages(dict.fromkeys(names, ADVICE), names, release="22.04")
        found = Evaluator([data], ALL).identify(host(f"{version}-lowlatency", "22.04"))
        return found.source if isinstance(found, IdentifiedKernel) else None

    both = {"linux": {"5.15.0-88.98"}, "linux_lowlatency": {"5.15.0-88.97"}}
    assert source("5.15.0-88.97", **both) == "linux-lowlatency"
    assert source("5.15.0-88.98", **both) == "linux"
    assert source("5.15.0-99.1", **both) == "linux-lowlatency", "of the same series"
    assert source("5.15.0-99", linux={"5.15.0-99.109"}, linux_lowlatency={"5.15.0-88.97"}) == "linux"
    assert source("5.15.0-99.1", linux={"6.8.0-1.1"}) is None
    assert source("4.4.0-300.1", linux=set()) is None, "4.4 is not a series of 22.04"


def test_versions_with_a_fix_were_published_too() -> None:
    data = packages({"linux": ADVICE}, {})
    found = Evaluator([data], ALL).identify(host("4.4.0-201.233-generic"))
    assert isinstance(found, IdentifiedKernel)
    assert status(FIXED_LATER, host("4.4.0-201.233-generic"), data) == ("fixed", None)


# --- installed packages

NEWER = {"name": "linux-image-4.4.0-200-generic", "version": "4.4.0-200.232"}


def with_packages(*packages: dict[str, str], kernel: str = KERNEL, source: str | None = "linux") -> KernelEvidence:
    record = make_record(system__kernel__full=kernel, patch__state=None)
    record["system"]["kernel"]["release"] = None
    record["system"]["kernel"]["source_package"] = source
    record["system"]["kernel"]["packages"] = t.cast("t.Any", list(packages))
    return kernel_evidence(validate(record))


def test_an_installed_fix_needs_a_reboot() -> None:
    found = verdict(FIXED_LATER, with_packages(NEWER), XENIAL)
    assert (found.status, found.fix, found.fixed_in) == ("open", "reboot", "4.4.0-200.232")
    unsigned = {**NEWER, "name": "linux-image-unsigned-4.4.0-200-generic"}
    assert status(FIXED_LATER, with_packages(unsigned), XENIAL) == ("open", "reboot")
    assert status(FIXED_LATER, with_packages(), XENIAL) == ("open", "kernel")
    assert status(OPEN, with_packages(NEWER), XENIAL) == ("open", "none")


def test_only_a_newer_package_is_an_installed_fix() -> None:
    assert with_packages(NEWER).installed == "4.4.0-200.232"
    assert with_packages(NEWER, kernel="4.4.0-200.232-generic").installed is None
    assert with_packages(NEWER, kernel="4.4.0-168-generic").installed is None, "the upload number is not known"
    newest = {"name": "linux-image-4.4.0-1000-generic", "version": "4.4.0-1000.1032"}
    assert with_packages(NEWER, newest, NEWER).installed == "4.4.0-1000.1032"


def test_an_upgraded_package_with_the_same_abi_needs_a_reboot() -> None:
    same = {"name": "linux-image-4.4.0-200-generic", "version": "4.4.0-200.232"}
    assert status(FIXED_LATER, with_packages(same, kernel="4.4.0-200.231-generic"), XENIAL) == ("open", "reboot")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("linux-image-4.4.0-199-generic", "4.4.0-199.231"),
        ("linux-image-4.4.0-200-lowlatency", "4.4.0-200.232"),
        ("linux-image-4.15.0-200-generic", "4.15.0-200.211~16.04.1"),
        ("linux-image-generic", "4.4.0.300.306"),
        ("linux-modules-4.4.0-200-generic", "4.4.0-200.232"),
        ("linux-image-4.4.0-1200-fips", "4.4.0-1200.232"),
        ("linux-image-4.4.0-200-generic", "9" * 200),
        ("linux-image-4.4.0-200-generic", ""),
    ],
)
def test_other_packages_do_not_fix_a_kernel(name: str, version: str) -> None:
    evidence = with_packages({"name": name, "version": version})
    assert status(FIXED_LATER, evidence, XENIAL) == ("open", "kernel")


def test_the_source_package_of_the_host_is_used() -> None:
    known = Evaluator([XENIAL], []).identify(with_packages(source="linux-signed"))
    assert isinstance(known, IdentifiedKernel)
    assert (known.source, known.derived) == ("linux", False)
    derived = Evaluator([XENIAL], []).identify(with_packages(source=None))
    assert isinstance(derived, IdentifiedKernel)
    assert derived.derived
    assert status(FIXED, with_packages(source="linux-of-nobody"), XENIAL) == ("unknown", "source_package_unknown")


# --- FIPS


@pytest.mark.parametrize("kernel", ["4.4.0-1017.22~recert1-fips", "4.15.0-1021.21+fips2-fips"])
def test_fips_kernels_need_fips_data(kernel: str) -> None:
    versions = {"linux-fips": {kernel.removesuffix("-fips")}}
    advice = {"linux-fips": {FIXED: Advice("fixed", "4.4.0-1000.1")}}
    assert status(FIXED, host(kernel), packages(advice, versions)) == ("unknown", "release_not_in_data")
    assert status(FIXED, host(kernel), packages(advice, versions, realm="fips")) == ("fixed", None)


def test_a_fix_of_fips_updates_decides() -> None:
    """The source package has the fix in fips-updates only, and the data of both realms lists the vulnerability."""

    def realm(name: str, advice: Advice) -> VulnerabilityIndex:
        versions = {"linux-fips": {"5.4.0-1021.24+fips1", "5.4.0-1130.139"}}
        return packages({"linux-fips": {FIXED: advice}}, versions, release="20.04", realm=name)

    certified, updates = realm("fips", Advice("vulnerable")), realm("fips-updates", Advice("fixed", "5.4.0-1120.129"))
    for data in ((certified, updates), (updates, certified)):
        assert status(FIXED, host("5.4.0-1130.139-fips", "20.04"), *data) == ("fixed", None)
        assert status(FIXED, host("5.4.0-1021.24+fips1-fips", "20.04"), *data) == ("open", "kernel")
    assert status(FIXED, host("5.4.0-1021.24+fips1-fips", "20.04"), certified) == ("open", "none")


def test_other_kernels_use_no_fips_data() -> None:
    fips = packages({"linux": {FIXED_LATER: Advice("fixed", "4.4.0-1.1")}}, {"linux": {"4.4.0-168.197"}}, realm="fips")
    assert status(FIXED_LATER, host(), fips) == ("unknown", "release_not_in_data")
    assert status(FIXED_LATER, host(), fips, XENIAL) == ("open", "kernel")


# --- notices

NOTICE = notice("0101-1", upstream=[f"UBUNTU-{FIXED_LATER}", f"UBUNTU-{OPEN}"])
NOTICES = noticed(NOTICE)


def test_a_notice_covers_kernel_and_patch() -> None:
    assert status(FIXED_LATER, patched(), XENIAL, NOTICES) == ("live_patched", None)
    assert status(FIXED_LATER, patched("113.1"), XENIAL, NOTICES) == ("live_patched", None)
    assert status(FIXED_LATER, patched("100.9"), XENIAL, NOTICES) == ("open", "patch")
    assert status(FIXED_LATER, host(), XENIAL, NOTICES) == ("open", "patch")
    assert verdict(FIXED_LATER, host(), XENIAL, NOTICES).patch == 101
    assert status(OPEN, host(), XENIAL, NOTICES) == ("open", "patch")


def test_a_verdict_shows_version_patch_and_source() -> None:
    by_notice = Verdict("open", "patch", "4.4.0-200.232", 101, "notice", since="2031-03-04")
    assert verdict(FIXED_LATER, host(), NOTICES) == by_notice
    later = packages({"linux": {FIXED_LATER: Advice("fixed", "4.4.0-201.233", "2031-05-06")}}, {"linux": set()})
    by_both = Verdict("open", "patch", "4.4.0-201.233", 101, "package_data", since="2031-03-04")
    assert verdict(FIXED_LATER, host(), later, NOTICES) == by_both
    assert verdict(FIXED_LATER, host(patchable=False), NOTICES) == by_notice._replace(fix="kernel", patch=None)
    no_patch = host(fixes=((FIXED_LATER, False),), patchable=False)
    by_client = Verdict("open", "kernel", "4.4.0-201.233", None, "client", since="2031-05-06")
    assert verdict(FIXED_LATER, no_patch, later, NOTICES) == by_client
    assert verdict(FIXED_LATER, no_patch._replace(patchable=True), later, NOTICES) == by_both._replace(
        evidence="client"
    )
    assert verdict(OPEN, host(fixes=((OPEN, False),)), later) == Verdict("open", "none", evidence="client")


def test_equal_verdicts_are_shown_together() -> None:
    """The date of the fix and the text of the reason make no difference."""
    plain = Verdict("open", "patch", "4.4.0-200.232", 101, "notice", since="2031-03-04")
    assert plain.key == plain._replace(since=None).key
    others = [{"status": "unknown"}, {"fix": "none"}, {"fixed_in": None}, {"patch": 102}, {"evidence": "client"}]
    for change in (*others, {"reason": exposure.NO_CVE}):
        assert plain._replace(**change).key != plain.key  # type: ignore[arg-type]  # names and values of a table
    other_text = plain._replace(reason={**exposure.NO_CVE, "message": "another text"})
    assert other_text.key == plain._replace(reason=exposure.NO_CVE).key


def test_a_patch_helps_only_where_patches_are_applied() -> None:
    assert status(FIXED_LATER, host(patchable=False), XENIAL, NOTICES) == ("open", "kernel")
    assert status(OPEN, host(patchable=False), XENIAL, NOTICES) == ("open", "none")
    assert status(FIXED_LATER, host(patchable=False), NOTICES) == ("open", "kernel")


def test_all_notices_of_a_vulnerability_must_be_covered() -> None:
    later = noticed(NOTICE, notice("0105-1", affected(version="105"), upstream=[f"UBUNTU-{FIXED_LATER}"]))
    assert status(FIXED_LATER, patched("104.1"), XENIAL, later) == ("open", "patch")
    assert status(FIXED_LATER, patched("105.1"), XENIAL, later) == ("live_patched", None)


def test_package_data_precedes_notices() -> None:
    named = noticed(notice("0101-1", upstream=[f"UBUNTU-{NOT_AFFECTED}", f"UBUNTU-{FIXED}"]))
    assert status(NOT_AFFECTED, host(), XENIAL, named) == ("not_affected", None)
    assert status(FIXED, host(), XENIAL, named) == ("fixed", None)


def test_notices_decide_without_package_data() -> None:
    assert status(FIXED_LATER, host(), NOTICES) == ("open", "patch")
    assert status(FIXED_LATER, patched(), NOTICES) == ("live_patched", None)
    assert status(FIXED_LATER, host("4.4.0-200.232-generic"), NOTICES) == ("fixed", None)
    assert status(UNKNOWN, patched(), NOTICES) == ("unknown", "release_not_in_data")


def test_only_a_newer_kernel_helps_below_the_oldest() -> None:
    row = raw_row(r"lkp_Ubuntu_4_4_0[_|\d]+_generic_(\d+)", "4.4.0-169")
    raw = raw_notice("101-1", {"xenial": {"generic-4.4": row}}, cves=[FIXED_LATER])
    assert status(FIXED_LATER, host(), XENIAL, noticed(raw)) == ("open", "kernel")
    row["oldest"] = "4.4.0-168"
    raw = raw_notice("101-1", {"xenial": {"generic-4.4": row}}, cves=[FIXED_LATER])
    assert status(FIXED_LATER, host(), XENIAL, noticed(raw)) == ("open", "patch")


def test_a_raw_notice_does_not_show_what_a_kernel_contains() -> None:
    row = raw_row(r"lkp_Ubuntu_4_4_0[_|\d]+_generic_(\d+)", "4.4.0-1")
    raw = raw_notice("101-1", {"xenial": {"generic-4.4": row}}, cves=[FIXED_LATER])
    assert status(FIXED_LATER, host(), noticed(raw)) == ("unknown", "release_not_in_data")
    assert status(FIXED_LATER, patched(), noticed(raw)) == ("live_patched", None)
    newer = notice("0102-1", affected(version="102", fixed="4.4.0-168.197"), upstream=[FIXED_LATER])
    assert status(FIXED_LATER, host(), noticed(raw, newer)) == ("fixed", None)
    equal = notice("0101-2", affected(version="101", fixed="4.4.0-168.197"), upstream=[FIXED_LATER])
    assert status(FIXED_LATER, host(), noticed(raw, equal)) == ("fixed", None)
    older = notice("0100-1", affected(version="100", fixed="4.4.0-168.197"), upstream=[FIXED_LATER])
    assert status(FIXED_LATER, host(), noticed(raw, older)) == ("unknown", "release_not_in_data")


@pytest.mark.parametrize(
    ("kernel", "release", "package", "regex", "expected"),
    [
        ("6.8.0-107.107-generic", "24.04", "linux", r"lkp_Ubuntu_6_8_0[_|\d]+_linux_(\d+)", "live_patched"),
        ("6.8.0-107.107-lowlatency", "24.04", "linux", r"lkp_Ubuntu_6_8_0[_|\d]+_linux_(\d+)", "live_patched"),
        ("6.8.0-40.40~22.04.3-generic", "22.04", "linux-hwe-6.8", r"lkp_Ubuntu_6_8_0[_|\d]+_hwe_(\d+)", "live_patched"),
        ("6.8.0-1047.50-aws", "24.04", "linux", r"lkp_Ubuntu_6_8_0[_|\d]+_linux_(\d+)", "unknown"),
        ("6.8.0-107.107-generic", "22.04", "linux", r"lkp_Ubuntu_6_8_0[_|\d]+_linux_(\d+)", "unknown"),
        ("6.11.0-9.9-generic", "24.04", "linux", r"lkp_Ubuntu_6_8_0[_|\d]+_linux_(\d+)", "unknown"),
    ],
)
def test_any_flavour_of_a_source_is_matched(kernel: str, release: str, package: str, regex: str, expected: str) -> None:
    row = affected(regex, "121", ecosystem=f"Ubuntu:Pro:{release}:LTS", package=package, fixed="6.8.0-136.136")
    evidence = patched("121.4", kernel=kernel, release=release)
    assert verdict(FIXED, evidence, noticed(notice("0121-1", row, upstream=[FIXED]))).status == expected


def test_versions_of_another_source_are_not_compared() -> None:
    row = affected(
        r"lkp_Ubuntu_5_15_0[_|\d]+_linux_(\d+)", "121", ecosystem="Ubuntu:Pro:22.04:LTS", fixed="5.15.0-80.90"
    )
    notices = noticed(notice("0121-1", row, upstream=[FIXED]))
    assert status(FIXED, host("5.15.0-88.98-generic", "22.04"), notices) == ("fixed", None)
    assert status(FIXED, host("5.15.0-88.98-lowlatency", "22.04"), notices) == ("unknown", "release_not_in_data")


# --- one vulnerability on one source package, in the versions in which it was published

AWS_NOTICE = noticed(
    notice(
        "0121-1",
        affected(AWS, "121", package="linux-aws-hwe", fixed="4.15.0-1195.208~16.04.1"),
        upstream=[f"UBUNTU-{FIXED_LATER}", f"UBUNTU-{FIXED}"],
    )
)


def on_aws(upload: str, **changes: t.Any) -> KernelEvidence:
    return host(f"4.15.0-{upload}~16.04.1-aws", source="linux-aws-hwe", **changes)


def test_the_kernel_with_the_fix_needs_no_patch() -> None:
    """The notice names a later version, because that is the version of its newest vulnerability."""
    assert status(FIXED_LATER, on_aws("1192.205"), XENIAL, AWS_NOTICE) == ("fixed", None)
    assert status(FIXED_LATER, on_aws("1191.204"), XENIAL, AWS_NOTICE) == ("open", "patch")
    assert status(FIXED_LATER, on_aws("1191.204"), XENIAL) == ("open", "kernel")


def test_the_list_of_the_client_closes_a_vulnerability() -> None:
    listed = {"patch": "121.4", "fixes": ((FIXED_LATER, True),)}
    running = on_aws("1191.204", confirmed=True, **listed)
    found = verdict(FIXED_LATER, running, XENIAL, AWS_NOTICE)
    assert (found.status, found.patch, found.evidence) == ("live_patched", 121, "client")
    assert status(FIXED_LATER, on_aws("1191.204", **listed), XENIAL, AWS_NOTICE) == ("unknown", "patch_not_confirmed")


def test_the_list_of_the_client_is_stronger_than_a_notice() -> None:
    """A notice names vulnerabilities that its patch does not fix on each of its kernels."""
    other = on_aws("1191.204", patch="121.4", confirmed=True, fixes=((OPEN, True),))
    assert status(FIXED_LATER, other, XENIAL, AWS_NOTICE) == ("open", "kernel")
    assert status(OPEN, other, XENIAL, AWS_NOTICE) == ("live_patched", None), "the notice does not name it"
    unpatched = on_aws("1191.204", patch="121.4", confirmed=True, fixes=((FIXED_LATER, False),))
    assert status(FIXED_LATER, unpatched, XENIAL, AWS_NOTICE) == ("open", "kernel")
    silent = on_aws("1191.204", patch="121.4", confirmed=True)
    assert status(FIXED_LATER, silent, XENIAL, AWS_NOTICE) == ("live_patched", None), (
        "without a list, the notice decides"
    )


# --- the client


def test_the_list_of_the_client_precedes_notices() -> None:
    """As real clients do: the list has vulnerabilities that no notice has, and lacks some of a notice."""
    listed = patched(fixes=((UNKNOWN, True), (FIXED_LATER, False)))
    assert verdict(UNKNOWN, listed, XENIAL, NOTICES) == Verdict("live_patched", patch=101, evidence="client")
    assert status(FIXED_LATER, listed, XENIAL, NOTICES) == ("open", "kernel")
    assert status(OPEN, listed, XENIAL, NOTICES) == ("open", "none"), "the notice has it, and the client does not"


def test_an_empty_list_of_the_client_is_unknown() -> None:
    assert status(OPEN, patched(fixes=()), XENIAL, NOTICES) == ("live_patched", None)
    assert status(UNKNOWN, patched(fixes=()), XENIAL, NOTICES) == ("unknown", "cve_not_in_data")


def test_an_unpatched_vulnerability_is_open() -> None:
    listed = patched("100.1", fixes=((FIXED_LATER, False), (FIXED, False), (UNKNOWN, False)))
    assert status(FIXED_LATER, listed, XENIAL, NOTICES) == ("open", "patch")
    assert status(FIXED, listed, XENIAL) == ("open", "none")
    assert status(UNKNOWN, listed, XENIAL) == ("open", "none")


def test_a_patch_that_is_not_confirmed_is_unknown() -> None:
    claimed = patched(fixes=((FIXED_LATER, True),))._replace(confirmed=False)
    assert status(FIXED_LATER, claimed, XENIAL) == ("unknown", "patch_not_confirmed")
    assert status(FIXED_LATER, patched()._replace(confirmed=False), XENIAL, NOTICES) == (
        "unknown",
        "patch_not_confirmed",
    )
    assert status(FIXED, claimed, XENIAL) == ("fixed", None)
    fixed_too = patched(fixes=((FIXED, True),))
    assert status(FIXED, fixed_too, XENIAL) == ("live_patched", None)
    assert status(FIXED, fixed_too._replace(confirmed=False), XENIAL) == ("fixed", None)


# --- records


def test_a_record_confirms_a_patch() -> None:
    found = kernel_evidence(make_record())
    assert found == host(patch="65.1", confirmed=True, policy="launch", fixes=(("CVE-2019-14895", True),))


@pytest.mark.parametrize(
    ("distribution", "origin", "expected"),
    [
        ("ubuntu", "ubuntu", True),  # as a check stores it
        ("debian", "ubuntu", False),
        ("Ubuntu", "ubuntu", True),
        ("Debian", "ubuntu", False),
        ("Ubuntu", "mainline", False),
        ("Ubuntu", "unknown", None),
        (None, "ubuntu", None),
    ],
)
def test_a_record_shows_who_built_the_kernel(distribution: str | None, origin: str, expected: bool | None) -> None:
    record = make_record(system__distribution=distribution, system__kernel__origin=origin)
    assert kernel_evidence(record).ubuntu is expected


@pytest.mark.parametrize("state", sorted(set(STATES) - {"protected", "exposed"}))
def test_no_other_state_confirms_a_patch(state: t.Any) -> None:
    assert not kernel_evidence(make_record(state=state)).confirmed


def _loaded(**changes: t.Any) -> list[dict[str, t.Any]]:
    (plain,) = make_record()["kernel_patches"]
    return [{**plain, **changes}]


@pytest.mark.parametrize(
    "places",
    [
        {"kernel_patches": []},
        {"kernel_patches": _loaded(enabled=False)},
        {"kernel_patches": _loaded(enabled=None)},
        {"kernel_patches": _loaded(transition=True)},
        {"kernel_patches": _loaded(module="lkp_Ubuntu_4_4_0_167_196_generic_65")},
        {"kernel_patches": _loaded(module="lkp_Ubuntu_4_4_0_168_197_generic_64")},
        {
            "kernel_patches": _loaded(
                verification={**make_record()["kernel_patches"][0]["verification"], "result": "failed"}
            )
        },
        {"patch__state": "applied-with-bug"},
        {"patch__version": None},
        {"system__kernel__full": "4.4.0-169.198-generic"},
    ],
)
def test_a_patch_needs_evidence_of_the_kernel(places: dict[str, t.Any]) -> None:
    assert not kernel_evidence(make_record(**places)).confirmed


@pytest.mark.parametrize("state", ["apply-failed", "applying", "unapplied", "nothing-to-apply", None])
def test_the_list_of_a_patch_that_does_not_run_is_ignored(state: str | None) -> None:
    found = kernel_evidence(make_record(patch__state=state))
    assert (found.patch, found.confirmed, found.fixes) == (None, False, ())


def test_the_list_of_another_kernel_is_ignored() -> None:
    """After a reboot into another kernel, the client can still report on the one before."""
    fixes = [{"cve": FIXED_LATER, "patched": True}, {"cve": FIXED, "patched": False}]
    record = make_record("web1", "unknown", patch__fixes=fixes)
    record["patch"]["kernel"] = "4.4.0-167.196-generic"
    found = kernel_evidence(record)
    assert (found.patch, found.confirmed, found.fixes) == (None, False, ())
    assert status(FIXED_LATER, found, XENIAL) == ("open", "kernel")
    assert status(FIXED, found, XENIAL) == ("fixed", None)
    for reported, running in ((KERNEL, KERNEL), ("4.4.0-167.196-generic", None)):
        record["patch"]["kernel"], record["system"]["kernel"]["full"] = reported, running
        assert kernel_evidence(record).patch == "65.1", "of the running kernel, or of one with an unknown name"


def test_the_kernel_of_a_container_is_that_of_another_machine() -> None:
    check = {"id": "container", "status": "fail", "found": "lxc", "required": None, "message": "x", "remedy": None}
    record = make_record("web1", "ineligible", eligibility__verdict="ineligible", eligibility__checks=[check])
    for cve in ALL:
        assert status(cve, kernel_evidence(record), XENIAL, NOTICES) == ("unknown", "kernel_of_another_machine")
    passed = make_record("web1", eligibility__checks=[{**check, "status": "pass"}])
    assert status(FIXED, kernel_evidence(passed), XENIAL) == ("fixed", None)


def test_a_loaded_patch_has_the_full_name_of_the_kernel() -> None:
    assert kernel_evidence(make_record(system__kernel__full=None)).kernel == KERNEL
    assert kernel_evidence(make_record(kernel_patches=[])).kernel == KERNEL, "the kernel itself has it"
    other = _loaded(module="lkp_Ubuntu_4_4_0_167_196_generic_65") + _loaded(module="kpatch_of_a_vendor")
    assert kernel_evidence(make_record(system__kernel__full=None, kernel_patches=[*other, *_loaded()])).kernel == KERNEL
    for not_running in ([], _loaded(enabled=False), other):
        record = make_record(system__kernel__full=None, kernel_patches=not_running)
        assert kernel_evidence(record).kernel == "4.4.0-168-generic"


def test_a_record_without_a_kernel_confirms_nothing() -> None:
    found = kernel_evidence(make_record(system__kernel__full=None, system__kernel__release=None))
    assert (found.kernel, found.confirmed) == (None, False)


def test_a_record_can_have_the_source_package() -> None:
    record = make_record()
    t.cast("dict[str, t.Any]", record["system"]["kernel"])["source_package"] = "linux-signed-hwe"
    assert kernel_evidence(record).source == "linux-hwe"


@pytest.mark.parametrize("state", ["tampered", "end_of_life", "upgrade_required", "ineligible"])
def test_some_states_get_no_patches(state: t.Any) -> None:
    assert not kernel_evidence(make_record(state=state)).patchable


def test_an_ineligible_host_gets_no_patches() -> None:
    assert kernel_evidence(make_record()).patchable
    assert not kernel_evidence(make_record(eligibility__verdict="ineligible")).patchable


def test_the_data_for_a_kernel_has_release_and_realm() -> None:
    assert exposure.release_and_realm(host()) == ("16.04", "")
    assert exposure.release_and_realm(host("4.15.0-1021.21+fips2-fips", "18.04")) == ("18.04", "fips")
    assert exposure.release_and_realm(host()._replace(kernel=None)) is None
    assert exposure.release_and_realm(host()._replace(release=None)) is None


def test_all_data_is_known() -> None:
    low = VulnerabilityIndex([index_packages(Packages("16.04", "", None, {FIXED: Vulnerability("low", "2030-01-01")}))])
    found = exposure.known_vulnerabilities([low, XENIAL, noticed(notice(upstream=[UNKNOWN]))])
    assert found[FIXED] == Vulnerability("high", "2030-01-01")
    assert found[UNKNOWN] == Vulnerability(None, None)


_RECORDS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(STATES),
        "patch__state": st.sampled_from(["applied", "applied-with-bug", "applying", "apply-failed", None]),
        "patch__version": st.sampled_from(["65.1", "64.1", "101.1", None]),
        "patch__fixes": st.lists(
            st.fixed_dictionaries({"cve": st.sampled_from(ALL), "patched": st.booleans()}), max_size=4
        ),
        "system__release": st.sampled_from(["16.04", "24.04", None]),
        "system__distribution": st.sampled_from(["ubuntu", "Ubuntu", "debian", None]),
        "system__kernel__full": st.sampled_from([KERNEL, "4.4.0-200.232-generic", None]),
        "system__kernel__origin": st.sampled_from(["ubuntu", "mainline", "custom", "unknown"]),
        "kernel_patches": st.lists(
            st.sampled_from([65, 64, 101]).flatmap(
                lambda major: st.fixed_dictionaries(
                    {
                        "module": st.just(f"lkp_Ubuntu_4_4_0_168_197_generic_{major}"),
                        "enabled": st.sampled_from([True, False, None]),
                        "transition": st.sampled_from([True, False, None]),
                        "build_id": st.none(),
                        "taint": st.none(),
                        "verification": st.fixed_dictionaries(
                            {
                                "level": st.just("client"),
                                "result": st.sampled_from(["verified", "failed", "not_checked"]),
                                "signer": st.none(),
                                "key_id": st.none(),
                                "sha512": st.none(),
                            }
                        ),
                    }
                )
            ),
            max_size=2,
        ),
    }
)


def _shows_running_patch(record: Record) -> bool:
    """Written apart from the code: everything that must be true of a record for the status live_patched."""
    patch = record["patch"]
    wanted = f"lkp_Ubuntu_4_4_0_168_197_generic_{(patch['version'] or '').partition('.')[0]}"
    return (
        record["assessment"]["state"] in ("protected", "exposed")
        and patch["state"] == "applied"
        and patch["version"] is not None
        and record["system"]["kernel"]["full"] in (KERNEL, None)
        and any(
            one["module"] == wanted and one["enabled"] and not one["transition"]
            for one in record["kernel_patches"]
            if one["verification"]["result"] != "failed"
        )
    )


@given(_RECORDS)
def test_live_patched_needs_evidence_of_the_state(places: dict[str, t.Any]) -> None:
    record = make_record("web1", places.pop("state"), **places)
    found = Evaluator([XENIAL, NOBLE, NOTICES], ALL).verdicts(kernel_evidence(record))
    assert len(found) == len(ALL)
    if any(each.status == "live_patched" for each in found):
        assert _shows_running_patch(record)
    assert all((each.reason is not None) == (each.status == "unknown") for each in found)
    assert all((each.fix is not None) == (each.status == "open") for each in found)
