# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Host states: every state can occur, and the order of the states is fixed."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import (
    BlockedPatches,
    ClientError,
    ClientStatus,
    ReportedFix,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import (
    ClientMode,
    HostFacts,
    ServerReachability,
    Snapd,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.kernel import (
    InstalledPackage,
    KernelPackageList,
    identify,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Collector, Record, validate
from tests.samples.facts import MODULE, NOW, a_client, a_host, a_kernel, a_patch, shipped, without_client

LAUNCH = shipped("launch")
DAY = datetime.timedelta(days=1)
MINUTE = datetime.timedelta(minutes=1)
JUST_BOOTED = {"uptime": 2 * MINUTE}
COLLECTED_AT = datetime.datetime(2026, 3, 1, 5, 0, 7, 250, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
STALE = ClientError("not_eligible_kernel", "The platform Ubuntu 22.10 is not supported: unsupported kernel")
NOTHING_TO_APPLY = {"client": a_client(patch_state="nothing-to-apply", patch_version=None)}
LOCK = "livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1"


def record_of(facts: HostFacts) -> Record:
    record = make_record(
        "web-01",
        facts,
        LAUNCH,
        collector=Collector(collection="1.0.0", ansible_core="2.19.0"),
        collected_at=COLLECTED_AT,
    )
    validate(record)
    return record


def judge(facts: HostFacts) -> tuple[str, str]:
    """Return the state and the deciding reason."""
    assessment = record_of(facts)["assessment"]
    return assessment["state"], assessment["reasons"][0]["id"]


def client(**changes: t.Any) -> dict[str, t.Any]:
    return {"client": a_client(**changes)}


def error(identifier: str) -> dict[str, t.Any]:
    return {"client": ClientStatus(error=ClientError(identifier, "original text"))}


CLIENT_2016 = client(generation="2016", check_state=None, supported=None, last_check=None)

CASES = [
    ("protected", "applied", a_host()),
    ("protected", "applied", a_host(patches=(a_patch(taint="OEK"),), kernel_keys=())),
    ("protected", "applied", a_host(patches=(a_patch(module=f"{MODULE[:-3]}112", enabled=False), a_patch()))),
    (
        "protected",
        "nothing_to_apply",
        a_host(patches=(), **client(patch_state="nothing-to-apply", patch_version=None)),
    ),
    ("protected", "applied", a_host(**client(generation="9.5", supported=None))),
    ("tampered", "signature_failed", a_host(patches=(a_patch(taint="OEK"),))),
    ("tampered", "signature_failed", a_host(patches=(a_patch(), a_patch(module="stranger", taint="EK")))),
    ("ineligible", "release", a_host(os_release={"ID": "ubuntu", "VERSION_ID": "14.04"})),
    ("ineligible", "kernel_supported", a_host(**client(supported="unsupported"))),
    ("ineligible", "kernel_supported", a_host(**error("not_eligible_kernel"))),
    ("failed", "apply_failed", a_host(patches=(), **client(patch_state="apply-failed"))),
    ("failed", "applied_with_bug", a_host(**client(patch_state="applied-with-bug"))),
    ("failed", "crash_lock", a_host(crash_locks=(LOCK,), patches=(), **client(patch_state="unapplied"))),
    ("failed", "daemon_down", a_host(**error("daemon_down"))),
    ("failed", "timed_out", a_host(**error("timed_out"))),
    ("failed", "check_failed", a_host(**client(check_state="check-failed"))),
    ("failed", "check_failed", a_host(uptime=None, **client(check_state="check-failed"))),
    ("failed", "platform_stale", a_host(client=ClientStatus(error=STALE))),
    ("ineligible", "architecture", a_host(client=ClientStatus(error=STALE), architecture="i386")),
    ("unknown", "nothing_known", a_host(**client(enabled=None, last_check=NOW - 3 * DAY))),
    ("failed", "unreadable_output", a_host(**error("unreadable_output"))),
    ("failed", "applying_too_long", a_host(**client(check_state="needs-check"))),
    ("held_back", "mode_withholds", a_host(mode=ClientMode("no-apply", "file"))),
    ("end_of_life", "kernel_end_of_life", a_host(**client(supported="kernel-end-of-life"))),
    ("end_of_life", "upgrade_date_passed", a_host(**client(upgrade_required_by=(NOW - DAY).date()))),
    ("upgrade_required", "kernel_upgrade_required", a_host(**client(patch_state="kernel-upgrade-required"))),
    ("upgrade_required", "kernel_upgrade_required", a_host(**client(supported="kernel-upgrade-required"))),
    ("disabled", "not_installed", without_client()),
    ("disabled", "not_enabled", a_host(client=ClientStatus(enabled=False), patches=())),
    ("disabled", "snapd", without_client(snapd=Snapd(installed=False))),
    ("disabled", "secure_boot", without_client(secure_boot=True, kernel_keys=(), kernel=a_kernel(version="#1"))),
    ("stale", "check_too_old", a_host(**client(last_check=NOW - DAY - MINUTE))),
    ("applying", "in_transition", a_host(patches=(a_patch(transition=True),))),
    ("applying", "not_yet_applied", a_host(patches=(), **client(patch_state="unapplied"))),
    ("applying", "not_yet_applied", a_host(patches=(), **client(patch_state="applying"))),
    ("applying", "needs_check", a_host(**JUST_BOOTED, **client(check_state="needs-check"))),
    ("applying", "check_failed_after_boot", a_host(**JUST_BOOTED, **client(check_state="check-failed"))),
    ("unverified", "kernel_disagrees", a_host(patches=())),
    ("unverified", "kernel_disagrees", a_host(patches=(a_patch(enabled=False),))),
    ("unverified", "kernel_disagrees", a_host(patches=(a_patch(module=f"{MODULE[:-3]}112"),))),
    ("unverified", "kernel_disagrees", a_host(kernel=a_kernel("4.4.0-211-generic", "243"))),
    ("unverified", "kernel_not_readable", a_host(patches=None)),
    ("unverified", "foreign_patch", a_host(patches=(a_patch(), a_patch(module="stranger")))),
    ("unknown", "client_words_unknown", a_host(**client(patch_state="levitating"))),
    ("unknown", "check_time_unknown", a_host(**CLIENT_2016)),
    ("unknown", "client_words_unknown", a_host(**client(check_state="mostly-checked"))),
    ("unknown", "client_words_unknown", a_host(**client(supported="unknown"))),
    ("unknown", "client_words_unknown", a_host(**client(patch_state=None))),
    ("unknown", "unreadable_output", a_host(client=ClientStatus(error=ClientError("unreadable_output", "")))),
    ("unknown", "permission_denied", a_host(root=False, **error("permission_denied"))),
    ("unknown", "privileges", without_client(root=False)),
    (
        "unknown",
        "other_kernel",
        a_host(patches=(), kernel=a_kernel("4.4.0-211-generic", "243"), **client(patch_state="nothing-to-apply")),
    ),
]


@pytest.mark.parametrize(("state", "reason", "facts"), CASES)
def test_states(state: str, reason: str, facts: HostFacts) -> None:
    assert judge(facts) == (state, reason)


def test_every_state_has_a_case() -> None:
    """All states except the one of hosts without a record, and the one that needs vulnerability data."""
    assert {state for state, _reason, _facts in CASES} == set(STATES) - {"no_answer", "exposed"}


def test_the_first_matching_state_applies() -> None:
    """Without the deciding fact, the next state in the order applies."""
    changes: dict[str, t.Any] = {
        "patches": (a_patch(taint="OEK", transition=True),),
        "os_release": {"ID": "ubuntu", "VERSION_ID": "14.04"},
        "client": a_client(
            check_state="check-failed",
            supported="kernel-end-of-life",
            patch_state="kernel-upgrade-required",
            last_check=NOW - 2 * DAY,
        ),
    }
    seen = [judge(a_host(**changes))[0]]
    changes["patches"] = (a_patch(transition=True),)
    seen.append(judge(a_host(**changes))[0])
    del changes["os_release"]
    seen.append(judge(a_host(**changes))[0])
    words: dict[str, t.Any] = {"last_check": NOW - 2 * DAY, "supported": "kernel-end-of-life"}
    for supported in ("kernel-end-of-life", "kernel-upgrade-required", "supported"):
        words["supported"] = supported
        changes["client"] = a_client(**words)
        seen.append(judge(a_host(**changes))[0])
    changes["client"] = a_client()
    seen.append(judge(a_host(**changes))[0])
    assert seen == ["tampered", "ineligible", "failed", "end_of_life", "upgrade_required", "stale", "applying"]
    order = [STATES.index(t.cast("t.Any", state)) for state in seen]
    assert order == sorted(order)


def test_an_enabled_host_can_be_ineligible() -> None:
    reasons = record_of(a_host(os_release={"ID": "ubuntu", "VERSION_ID": "14.04"}))["assessment"]["reasons"]
    assert "enabled_though_ineligible" in [reason["id"] for reason in reasons]
    reasons = record_of(without_client(os_release={"ID": "ubuntu", "VERSION_ID": "14.04"}))["assessment"]["reasons"]
    assert "enabled_though_ineligible" not in [reason["id"] for reason in reasons]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"container": "lxc", "os_release": {"ID": "debian", "VERSION_ID": "12"}}, ["container"]),
        ({"os_release": {"ID": "linuxmint", "ID_LIKE": "ubuntu", "VERSION_ID": "21.2"}}, ["distribution"]),
        ({"os_release": {"ID": "debian", "VERSION_ID": "12"}, "architecture": "arm64"}, ["distribution"]),
        ({"os_release": {"ID": "ubuntu", "VERSION_ID": "25.10"}, "kernel": a_kernel("6.17.0-8-generic")}, ["release"]),
        (
            {"kernel": identify("6.1.55-acme", "#1 SMP", None, True, False), "livepatch_in_kernel": False},
            ["kernel_origin"],
        ),
        ({"kernel": a_kernel("5.15.0-1085-realtime", "88")}, ["kernel_series", "kernel_conflict"]),
    ],
)
def test_a_refusal_has_no_shadows(changes: dict[str, t.Any], expected: list[str]) -> None:
    assert [reason["id"] for reason in record_of(without_client(**changes))["assessment"]["reasons"]] == expected


def test_a_refusal_of_the_service_is_not_that_of_the_policy() -> None:
    found = [reason["id"] for reason in record_of(a_host(**client(supported="unsupported")))["assessment"]["reasons"]]
    assert found == ["kernel_supported"]


def test_no_step_contradicts_the_other_policy() -> None:
    """A host that another policy covers does not have to disable its client."""
    noble = a_kernel("6.8.0-51-generic", "52")
    facts = a_host(os_release={"ID": "ubuntu", "VERSION_ID": "24.04"}, kernel=noble)
    collector = Collector(collection="2", ansible_core="2.19.0")
    record = make_record(
        "web-01", facts, LAUNCH, collector=collector, collected_at=COLLECTED_AT, alternative=shipped("current")
    )
    remedies = {reason["id"]: str(reason["remedy"]) for reason in record["assessment"]["reasons"]}
    assert list(remedies) == ["release", "enabled_though_ineligible"]
    assert all(remedy.endswith("livepatch_policy=current") for remedy in remedies.values())


def test_a_network_failure_keeps_an_enabled_host_eligible() -> None:
    cut_off = ServerReachability(
        "https://livepatch.example.com", by_proxy=False, tool="curl", outcome="refused", detail=""
    )
    state, _reason = judge(a_host(reachability=(cut_off,), **client(last_check=NOW - 3 * DAY)))
    assert state == "stale"
    record = record_of(a_host(reachability=(cut_off,)))
    assert record["assessment"]["state"] == "protected"
    assert [reason["id"] for reason in record["assessment"]["reasons"]] == ["applied", "network"]
    record = record_of(without_client(reachability=(cut_off,)))
    assert (record["assessment"]["state"], record["eligibility"]["verdict"]) == ("disabled", "ineligible")
    assert [reason["id"] for reason in record["assessment"]["reasons"]] == ["network", "not_installed"]


@pytest.mark.parametrize(
    "facts",
    [
        a_host(crash_locks=("livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2",)),
        a_host(crash_locks=(LOCK.replace("113_113.1", "112_112.1"),)),
    ],
)
def test_a_lock_for_another_patch_is_ignored(facts: HostFacts) -> None:
    assert judge(facts) == ("protected", "applied")


def test_an_upgrade_due_soon_is_a_reason() -> None:
    def reminded(days: int) -> bool:
        facts = a_host(**client(upgrade_required_by=(NOW + days * DAY).date()))
        assessment = record_of(facts)["assessment"]
        assert assessment["state"] == "protected"
        return "upgrade_due_soon" in [reason["id"] for reason in assessment["reasons"]]

    assert [days for days in (0, 1, 30, 31, 200) if reminded(days)] == [0, 1, 30]


@pytest.mark.parametrize(
    ("facts", "needed"),
    [
        (a_host(newest_installed="4.4.0-211-generic"), False),
        (a_host(**client(patch_state="kernel-upgrade-required")), True),
        (a_host(**client(supported="kernel-end-of-life")), True),
        (a_host(patches=(a_patch(taint="OEK"),)), True),
        (without_client(newest_installed="4.4.0-211-generic"), True),
        (without_client(), False),
        (without_client(newest_installed=None), None),
    ],
)
def test_a_reboot_is_suggested_only_if_it_helps(facts: HostFacts, needed: bool | None) -> None:
    assert record_of(facts)["assessment"]["reboot_needed"] is needed


def test_other_packages_that_request_a_reboot_are_named() -> None:
    assessment = record_of(a_host(reboot_packages=("linux-image-4.4.0-211-generic", "libc6", "dbus")))["assessment"]
    assert (assessment["state"], assessment["reboot_needed"]) == ("protected", False)
    assert assessment["reasons"][1]["id"] == "reboot_requested"
    assert assessment["reasons"][1]["message"].endswith("libc6, dbus")
    assert len(record_of(a_host(reboot_packages=("linux-base",)))["assessment"]["reasons"]) == 1


def test_the_record_states_the_clock_skew() -> None:
    assert record_of(a_host())["clock_skew_seconds"] == -7
    assert record_of(a_host(now=None))["clock_skew_seconds"] is None


def test_the_record_names_the_witnesses() -> None:
    by_kernel = record_of(a_host())
    assert by_kernel["kernel_patches"][0]["verification"]["level"] == "kernel"
    assert by_kernel["kernel_patches"][0]["verification"]["result"] == "verified"
    assert "signature" in by_kernel["assessment"]["reasons"][0]["message"]
    without_key = record_of(a_host(kernel_keys=(), patches=(a_patch(taint="OEK"),)))
    assert without_key["kernel_patches"][0]["verification"]["level"] == "client"
    assert without_key["kernel_patches"][0]["verification"]["result"] == "not_checked"
    assert "signature" not in without_key["assessment"]["reasons"][0]["message"]
    stranger = record_of(a_host(kernel_keys=(), patches=(a_patch(), a_patch(module="stranger"))))
    assert stranger["kernel_patches"][1]["verification"]["level"] == "none"


def test_the_record_contains_the_facts() -> None:
    record = record_of(
        a_host(
            **client(fixes=(ReportedFix("CVE-2024-50047", True), ReportedFix("CVE-2016-0758", False)), tier="updates")
        )
    )
    assert record["collected_at"] == "2026-03-01T04:00:07Z"
    assert record["system"]["kernel"]["full"] == "4.4.0-210.242-generic"
    assert record["system"]["kernel"]["booted_at"] == "2026-01-20T04:00:00Z"
    assert record["client"]["last_check"] == "2026-03-01T03:20:00Z"
    assert record["patch"]["fixes"] == [
        {"cve": "CVE-2024-50047", "patched": True},
        {"cve": "CVE-2016-0758", "patched": False},
    ]
    bare = record_of(without_client())
    assert bare["client"]["enabled"] is False
    assert bare["client"]["server"] is None
    assert bare["patch"]["state"] is None


# --- limits ---


def test_the_record_contains_what_withholds_patches() -> None:
    blocked = BlockedPatches(("cutoff-date",), ("LSN-0114-1",))
    found = record_of(
        a_host(
            **client(blocked=blocked),
            config={"cutoff-date": "2026-01-01T00:00:00Z"},
            mode=ClientMode("no-apply", "file"),
            client_log=("status 503",),
        )
    )["client"]
    assert found["mode"] == {"value": "no-apply", "source": "file"}
    assert found["blocking"] == {
        "options": ["cutoff-date"],
        "excluded_notices": ["LSN-0114-1"],
        "cutoff_date": "2026-01-01T00:00:00Z",
    }
    assert found["recent_log"] == ["status 503"]
    bare = record_of(without_client())["client"]
    assert bare["mode"] == {"value": None, "source": None}
    assert bare["blocking"] == {"options": [], "excluded_notices": [], "cutoff_date": None}
    assert bare["recent_log"] == []


def reasons(facts: HostFacts) -> dict[str, str]:
    """Return the messages of all reasons by id."""
    return {each["id"]: each["message"] for each in record_of(facts)["assessment"]["reasons"]}


SECOND = datetime.timedelta(seconds=1)
HOUR = 60 * MINUTE


@pytest.mark.parametrize(("late", "state"), [(0 * SECOND, "applying"), (SECOND, "failed")])
def test_the_grace_time_includes_its_end(late: datetime.timedelta, state: str) -> None:
    facts = a_host(uptime=LAUNCH.check_grace + late, **client(check_state="check-failed"))
    assert judge(facts)[0] == state


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (LAUNCH.stale_after, None),
        (LAUNCH.stale_after + SECOND, "24 hours ago"),
        (30 * HOUR, "30 hours ago"),
        (30 * HOUR - SECOND, "29 hours ago"),
        (47 * HOUR, "47 hours ago"),
        (2 * DAY, "2 days ago"),
        (5 * DAY, "5 days ago"),
    ],
)
def test_a_check_is_stale_after_a_day(age: datetime.timedelta, shown: str | None) -> None:
    facts = a_host(**client(last_check=COLLECTED_AT - age))
    assert judge(facts)[0] == ("protected" if shown is None else "stale")
    assert shown is None or shown in reasons(facts)["check_too_old"]


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        (client(patch_state="unapplied"), True),
        (client(patch_state="unapplied", patch_version="114.1"), True),
        (client(), True),
        (client(patch_version="114.1"), False),
        (client(patch_version="112.1"), True),  # the lock withholds a newer patch
        ({"kernel": dataclasses.replace(a_kernel(), full=None), **client(patch_state="unapplied")}, True),
        ({"kernel": a_kernel("4.4.0-168-generic", "197"), **client(patch_state="unapplied")}, False),
    ],
)
def test_only_matching_crash_locks_count(changes: dict[str, t.Any], counts: bool) -> None:
    assert ("crash_lock" in reasons(a_host(crash_locks=(LOCK,), **changes))) is counts


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ({"mode": None}, "mode_unknown"),
        ({"config": None}, "settings_unknown"),
        ({"container_known": False}, "container"),
        ({"architecture": None}, "architecture"),
    ],
)
@pytest.mark.parametrize("state", ["applied", "nothing-to-apply"])
def test_a_host_with_a_missing_witness_is_not_protected(missing: dict[str, t.Any], reason: str, state: str) -> None:
    client = a_client() if state == "applied" else a_client(patch_state=state, patch_version=None)
    facts = a_host(client=client, patches=(a_patch(),) if state == "applied" else ())
    assert record_of(facts)["assessment"]["state"] == "protected"
    assessment = record_of(dataclasses.replace(facts, **missing))["assessment"]
    assert (assessment["state"], [each["id"] for each in assessment["reasons"]]) == ("unknown", [reason])


def test_old_clients_have_no_settings_that_withhold_patches() -> None:
    client = a_client(generation="9.5", version="9.5.5", supported=None)
    assert record_of(a_host(client=client, config=None))["assessment"]["state"] != "unknown"


def test_a_protected_host_has_one_reason() -> None:
    assert list(reasons(a_host())) == ["applied"]
    assert list(reasons(a_host(desktop=True))) == ["applied"]
    refused = ServerReachability(
        "https://livepatch.canonical.com", by_proxy=False, tool="curl", outcome="refused", detail=""
    )
    assert list(reasons(a_host(reachability=(refused,)))) == ["applied", "network"]


@pytest.mark.parametrize(
    ("kernel", "state"), [("4.4.0-210.242-generic", "protected"), (None, "unknown"), ("4.4.0-1.1-generic", "unknown")]
)
def test_nothing_to_apply_protects_the_running_kernel(kernel: str | None, state: str) -> None:
    nothing = client(patch_state="nothing-to-apply", patch_version=None, kernel=kernel)
    assert judge(a_host(patches=(), **nothing))[0] == state


@pytest.mark.parametrize(
    ("upload", "state", "ids"),
    [
        ("242", "protected", ["nothing_to_apply"]),
        ("242~16.04.1", "protected", ["nothing_to_apply"]),
        ("242~lp9", "unknown", ["kernel_origin"]),
        ("242~14.04.1", "unknown", ["kernel_of_other_release"]),
    ],
)
def test_nothing_to_apply_protects_no_other_build(upload: str, state: str, ids: list[str]) -> None:
    nothing = client(patch_state="nothing-to-apply", patch_version=None, kernel=f"4.4.0-210.{upload}-generic")
    found = record_of(a_host(kernel=a_kernel(upload=upload), patches=(), **nothing))["assessment"]
    assert (found["state"], [reason["id"] for reason in found["reasons"]]) == (state, ids)


def test_a_kernel_of_another_release_is_replaced_by_force() -> None:
    """Its version can be newer than that of the release of the host."""
    nothing = client(patch_state="nothing-to-apply", patch_version=None, kernel="4.4.0-210.242~14.04.1-generic")
    facts = a_host(kernel=a_kernel(upload="242~14.04.1"), patches=(), **nothing)
    (reason,) = record_of(facts)["assessment"]["reasons"]
    assert "livepatch_force=true" in str(reason["remedy"])


def test_an_unknown_state_quotes_the_client() -> None:
    denied = a_host(**error("permission_denied"))
    unreadable = a_host(client=ClientStatus(error=ClientError("unreadable_output", "{original text")))
    assert reasons(denied)["permission_denied"] == "access to the client's daemon is denied"
    assert reasons(unreadable)["unreadable_output"].endswith("could not be read: {original text")
    states = reasons(a_host(**client(patch_state="perhaps")))["client_words_unknown"]
    assert states.startswith("the client reports checked, perhaps, supported, which")
    silent = reasons(a_host(**client(check_state=None, patch_state=None, supported=None)))
    assert silent["client_words_unknown"].startswith("the client reports no state, which")


def test_an_incomplete_answer_is_a_reason() -> None:
    unreadable = a_host(client=ClientStatus(error=ClientError("unreadable_output", "")))
    assert "answer_cut_short" not in reasons(unreadable)
    assert "answer_cut_short" in reasons(dataclasses.replace(unreadable, complete=False))


@pytest.mark.parametrize(("changes", "state"), [({}, "unknown"), ({"patch_state": "apply-failed"}, "failed")])
def test_a_record_with_missing_entries_is_never_protected(changes: dict[str, t.Any], state: str) -> None:
    fixes = tuple(ReportedFix(f"CVE-2016-{number:06}", patched=True) for number in range(3000))
    record = record_of(a_host(**client(fixes=fixes, **changes)))
    found = [reason["id"] for reason in record["assessment"]["reasons"]]
    assert record["assessment"]["state"] == state
    assert found.index("record_truncated") == (0 if state == "unknown" else len(found) - 1)
    assert 1000 < len(record["patch"]["fixes"]) < 3000


@pytest.mark.parametrize(("left", "due"), [(-1, False), (0, True), (1, True)])
def test_a_past_date_is_not_due_soon(left: int, due: bool) -> None:
    facts = a_host(patches=(a_patch(taint="OEK"),), **client(upgrade_required_by=NOW.date() + left * DAY))
    assert judge(facts)[0] == "tampered"
    assert ("upgrade_due_soon" in reasons(facts)) is due


def test_the_packages_of_kernels_are_recorded() -> None:
    image = InstalledPackage("linux-image-4.4.0-210-generic", "4.4.0-210.242")
    kernel = record_of(a_host(kernel_packages=KernelPackageList("linux", "4.4.0-210.242", (image,))))["system"][
        "kernel"
    ]
    assert (kernel["source_package"], kernel["source_version"]) == ("linux", "4.4.0-210.242")
    assert kernel["packages"] == [image._asdict()]
    assert kernel["packages_problem"] is None
    without = record_of(a_host(kernel_packages=KernelPackageList(problem="no_dpkg")))["system"]["kernel"]
    assert (without["source_package"], without["packages"], without["packages_problem"]) == (None, [], "no_dpkg")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (a_host(**client(kernel=None)), "reports on no kernel, and 4.4.0-210.242-generic is running"),
        (
            a_host(kernel=dataclasses.replace(a_kernel(), full=None), patches=(), **NOTHING_TO_APPLY),
            "reports on 4.4.0-210.242-generic, and an unknown kernel is running",
        ),
    ],
)
def test_a_report_on_another_kernel_names_both(facts: HostFacts, words: str) -> None:
    messages = {reason["id"]: reason["message"] for reason in record_of(facts)["assessment"]["reasons"]}
    assert messages["other_kernel"].endswith(words)
