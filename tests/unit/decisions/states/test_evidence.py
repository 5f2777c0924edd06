# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""No host is protected if any evidence is missing, and no patch is shown to run without it."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import KernelSupport
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.patch_verification import VerifiedPatch
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import (
    DEFAULT_MONTHS,
    AdmittedSystem,
    Policy,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.states.evidence import (
    Evidence,
    shows_running_patch,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import (
    BlockedPatches,
    ClientError,
    ClientStatus,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import ClientMode, HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import (
    Assessment,
    Check,
    Collector,
    Eligibility,
    KernelPatch,
    Record,
    Verification,
)
from tests.samples import records
from tests.samples.facts import MODULE, NOW, a_client, a_host, a_kernel, a_patch, shipped

POLICIES = {name: shipped(name) for name in ("launch", "current")}
COLLECTOR = Collector(collection="2.0.0", ansible_core="2.19.0")
MINUTE = datetime.timedelta(minutes=1)
DAY = datetime.timedelta(days=1)
NEW_KERNEL = a_kernel(version="#242-Ubuntu SMP Fri Jan 16 09:57:56 UTC 2026")
OLD_KERNEL = a_kernel()
UNDATED = a_kernel(version="#242~16.04.1-Ubuntu SMP PREEMPT_DYNAMIC Mon Jan 30 17:03:34 UTC 2")


def assess(
    facts: HostFacts, policy: Policy = POLICIES["launch"], earlier: Record | None = None, **options: t.Any
) -> Assessment:
    return make_record("web-01", facts, policy, collector=COLLECTOR, collected_at=NOW, earlier=earlier, **options)[
        "assessment"
    ]


EARLIER = (
    None,
    make_record("web-01", a_host(), POLICIES["launch"], collector=COLLECTOR, collected_at=NOW - 60 * MINUTE),
    make_record(
        "web-01",
        a_host(patches=(), client=a_client(patch_state="unapplied")),
        POLICIES["launch"],
        collector=COLLECTOR,
        collected_at=NOW - DAY,
    ),
)
"""Records that the host can have: none, one as good as it is now, and one of a host that waits for its patch."""


# --- one defect each, applied to any host that is otherwise protected ---


def _client(facts: HostFacts, **changes: t.Any) -> HostFacts:
    return dataclasses.replace(facts, client=dataclasses.replace(facts.client or ClientStatus(), **changes))


def _kernel(facts: HostFacts, **changes: t.Any) -> HostFacts:
    return dataclasses.replace(facts, kernel=dataclasses.replace(facts.kernel, **changes))


def _with_stranger(facts: HostFacts, **changes: t.Any) -> HostFacts:
    return dataclasses.replace(facts, patches=(*(facts.patches or ()), a_patch(module="rootkit", **changes)))


def _at(facts: HostFacts, now: datetime.datetime | None) -> HostFacts:
    return dataclasses.replace(facts, now=now)


DEFECTS: dict[str, t.Callable[[HostFacts], HostFacts]] = {
    "another kernel in the report": lambda facts: _client(facts, kernel="4.4.0-209.241-generic"),
    "no kernel in the report": lambda facts: _client(facts, kernel=None),
    "no identity of the kernel": lambda facts: dataclasses.replace(
        facts, kernel=dataclasses.replace(facts.kernel, full=None)
    ),
    "kernel not readable": lambda facts: dataclasses.replace(facts, patches=None),
    "rogue patch": _with_stranger,
    "rogue patch without a verdict": lambda facts: _with_stranger(facts, taint=None),
    "rogue patch, state unknown": lambda facts: _with_stranger(facts, enabled=None),
    "clock two years behind": lambda facts: _client(_at(facts, NOW - 700 * DAY), last_check=NOW - 700 * DAY - MINUTE),
    "clock behind": lambda facts: _at(facts, NOW - 6 * MINUTE),
    "clock ahead": lambda facts: _at(facts, NOW + 6 * MINUTE),
    "no clock": lambda facts: _at(facts, None),
    "no check": lambda facts: _client(facts, last_check=None),
    "check in the future": lambda facts: _client(facts, last_check=NOW + 6 * MINUTE),
    "check too old": lambda facts: _client(facts, last_check=NOW - 2 * DAY),
    "failed check": lambda facts: _client(facts, check_state="check-failed"),
    "unknown check": lambda facts: _client(facts, check_state="mostly-checked"),
    "no check state": lambda facts: _client(facts, check_state=None),
    "client error": lambda facts: dataclasses.replace(facts, client=ClientStatus(error=ClientError("timed_out", "x"))),
    "client error beside a status": lambda facts: _client(facts, error=ClientError("unreadable_output", "x")),
    "not enabled": lambda facts: _client(facts, enabled=False),
    "unknown if enabled": lambda facts: _client(facts, enabled=None),
    "no client": lambda facts: dataclasses.replace(facts, client=None),
    "unsupported": lambda facts: _client(facts, supported="unsupported"),
    "support unknown": lambda facts: _client(facts, supported="unknown"),
    "end of life": lambda facts: _client(facts, supported="kernel-end-of-life"),
    "upgrade date passed": lambda facts: _client(facts, upgrade_required_by=(NOW - DAY).date()),
    "no support status": lambda facts: _client(facts, supported=None, generation="10"),
    "crash lock": lambda facts: dataclasses.replace(
        facts, crash_locks=("livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1", "livepatch_lock")
    ),
    "notices withheld": lambda facts: _client(facts, blocked=BlockedPatches(excluded_notices=("LSN-0114-1",))),
    "option that withholds": lambda facts: _client(facts, blocked=BlockedPatches(options=("cutoff-date",))),
    "cutoff date": lambda facts: dataclasses.replace(facts, config={"cutoff-date": "2026-01-01T00:00:00Z"}),
    "patch delay": lambda facts: dataclasses.replace(facts, config={"patch-delay": "8w"}),
    "no checks": lambda facts: dataclasses.replace(facts, config={"check-interval": "0"}),
    "mode": lambda facts: dataclasses.replace(facts, mode=ClientMode("no-apply", "file")),
    "no mode": lambda facts: dataclasses.replace(facts, mode=None),
    "no settings": lambda facts: _client(dataclasses.replace(facts, config=None), generation="10"),
    "no container check": lambda facts: dataclasses.replace(facts, container_known=False),
    "no architecture": lambda facts: dataclasses.replace(facts, architecture=None),
    "unknown mode": lambda facts: dataclasses.replace(facts, mode=ClientMode("half-apply", "kernel_command_line")),
    "service disabled": lambda facts: dataclasses.replace(facts, service_enabled=False),
    "incomplete answer": lambda facts: dataclasses.replace(facts, complete=False),
    "kernel of another flavour": lambda facts: _client(facts, kernel="4.4.0-210.242-lowlatency"),
    "check just too old": lambda facts: _client(facts, last_check=NOW - DAY - MINUTE),
    "check never made": lambda facts: _client(facts, check_state="needs-check", last_check=None),
    "clock just ahead": lambda facts: _at(facts, NOW + 5 * MINUTE + datetime.timedelta(seconds=1)),
    "state unknown": lambda facts: _client(facts, patch_state="Applied!"),
    "no patch state": lambda facts: _client(facts, patch_state=None),
    "waits": lambda facts: _client(facts, patch_state="unapplied"),
    "upgrade required": lambda facts: _client(facts, supported="kernel-upgrade-required"),
    "stale client": lambda facts: dataclasses.replace(
        facts,
        client=ClientStatus(error=ClientError("platform_unsupported", "The platform Ubuntu 22.10 is not supported.")),
    ),
    "mode on the command line": lambda facts: dataclasses.replace(
        facts, mode=ClientMode("stop", "kernel_command_line")
    ),
    "cutoff date beside other keys": lambda facts: dataclasses.replace(
        facts, config={"patch-delay": "0s", "cutoff-date": "2026-02-28T00:00:00+01:00"}
    ),
    "container": lambda facts: dataclasses.replace(facts, container="lxc"),
    "WSL": lambda facts: dataclasses.replace(facts, wsl=True),
    "another distribution": lambda facts: dataclasses.replace(
        facts, os_release={"ID": "linuxmint", "ID_LIKE": "ubuntu"}
    ),
    "another architecture": lambda facts: dataclasses.replace(facts, architecture="ppc64el"),
    "another builder": lambda facts: _kernel(facts, origin="custom", full=None),
    "realtime": lambda facts: _kernel(facts, realtime=True),
    "no support in the kernel": lambda facts: dataclasses.replace(facts, livepatch_in_kernel=False),
}
DEFECTS_OF_A_PATCH: dict[str, t.Callable[[HostFacts], HostFacts]] = {
    "bug": lambda facts: _client(facts, patch_state="applied-with-bug"),
    "not loaded": lambda facts: dataclasses.replace(facts, patches=()),
    "not enabled": lambda facts: dataclasses.replace(facts, patches=(a_patch(enabled=False),)),
    "in transition": lambda facts: dataclasses.replace(facts, patches=(a_patch(transition=True),)),
    "another version": lambda facts: _client(facts, patch_version="112.1"),
    "no version": lambda facts: _client(facts, patch_version=None),
    "enabled unknown": lambda facts: dataclasses.replace(facts, patches=(a_patch(enabled=None),)),
    "failed": lambda facts: _client(facts, patch_state="apply-failed"),
    "older patch beside": lambda facts: dataclasses.replace(
        facts, patches=(a_patch(), a_patch(module=f"{MODULE[:-3]}112"))
    ),
    "module of another kernel": lambda facts: dataclasses.replace(
        facts, patches=(a_patch(module="lkp_Ubuntu_4_4_0_209_241_generic_113"),)
    ),
}


@st.composite
def protected_hosts(draw: st.DrawFn, *, with_patch: bool) -> HostFacts:
    """Return hosts that are protected: in all generations that report enough, and by all sources of support."""
    generation = draw(st.sampled_from(["6", "9.5", "10", "11"]))
    supported = "supported" if generation in ("10", "11") else draw(st.sampled_from(["supported", None]))
    applied: dict[str, t.Any] = {} if with_patch else {"patch_state": "nothing-to-apply", "patch_version": None}
    client = a_client(
        generation=generation,
        supported=supported,
        last_check=NOW - draw(st.integers(0, 1439)) * MINUTE,
        upgrade_required_by=draw(st.sampled_from([None, (NOW + 9 * DAY).date()])),
        **applied,
    )
    return a_host(
        client=client,
        patches=(a_patch(taint=draw(st.sampled_from(["OK", None]))),) if with_patch else (),
        kernel=NEW_KERNEL,
        now=NOW + draw(st.integers(-300, 300)) * datetime.timedelta(seconds=1),
        mode=draw(st.sampled_from([ClientMode("normal", "default"), ClientMode("normal", "file")])),
        service_enabled=draw(st.sampled_from([None, True])),
        config=draw(st.sampled_from([{}, {"check-interval": "60", "patch-delay": "0", "cutoff-date": ""}])),
        uptime=draw(st.sampled_from([None, MINUTE, 40 * DAY])),
        reboot_packages=draw(st.sampled_from([None, (), ("dbus",)])),
    )


@given(
    protected_hosts(with_patch=True) | protected_hosts(with_patch=False),
    st.sampled_from(sorted(POLICIES)),
    st.sampled_from(EARLIER),
)
def test_hosts_without_defects_are_protected(facts: HostFacts, policy: str, earlier: Record | None) -> None:
    """Otherwise the test with defects would prove nothing."""
    assert assess(facts, POLICIES[policy], earlier)["state"] == "protected"


@settings(max_examples=300)
@given(st.data(), st.booleans(), st.sampled_from(sorted(POLICIES)))
def test_a_host_with_a_defect_is_never_protected(data: st.DataObject, with_patch: bool, policy: str) -> None:
    facts = data.draw(protected_hosts(with_patch=with_patch))
    defects = {**DEFECTS, **(DEFECTS_OF_A_PATCH if with_patch else {})}
    names = data.draw(st.lists(st.sampled_from(sorted(defects)), min_size=1, max_size=3, unique=True))
    for name in names:
        facts = defects[name](facts)
    answers = [None, *(KernelSupport(state) for state in ("supported", "unknown", None))]
    options = {"earlier": data.draw(st.sampled_from(EARLIER)), "kernel_support": data.draw(st.sampled_from(answers))}
    # The answer of the server replaces the status that the client does not report.
    if not {"no support status"} & set(names) or options["kernel_support"] != KernelSupport("supported"):
        assert assess(facts, POLICIES[policy], **options)["state"] != "protected"


@pytest.mark.parametrize("with_patch", [True, False])
@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_each_defect_alone_prevents_protection(name: str, with_patch: bool) -> None:
    changes: dict[str, t.Any] = {"kernel": NEW_KERNEL}
    if not with_patch:
        changes |= {"patches": (), "client": a_client(patch_state="nothing-to-apply", patch_version=None)}
    assessment = assess(DEFECTS[name](a_host(**changes)), POLICIES["current"])
    assert assessment["state"] != "protected"
    assert assessment["reasons"][0]["remedy"]


@pytest.mark.parametrize("name", sorted(DEFECTS_OF_A_PATCH))
def test_each_defect_of_a_patch_prevents_protection(name: str) -> None:
    assert assess(DEFECTS_OF_A_PATCH[name](a_host(kernel=NEW_KERNEL)))["state"] != "protected"


@pytest.mark.parametrize("state", ["unsupported", "kernel-upgrade-required", "kernel-end-of-life", "unknown"])
def test_the_server_can_refuse_what_the_client_supports(state: str) -> None:
    facts = a_host(kernel=NEW_KERNEL)
    assert assess(facts, kernel_support=KernelSupport("supported"))["state"] == "protected"
    assert assess(facts, kernel_support=KernelSupport(state))["state"] != "protected"


# --- the age of the kernel where the client reports no support status ---

OLD = {"generation": "6", "supported": None}
NOTHING = {**OLD, "patch_state": "nothing-to-apply", "patch_version": None}


@pytest.mark.parametrize(
    ("policy", "kernel", "client", "state", "reason"),
    [
        ("launch", OLD_KERNEL, NOTHING, "end_of_life", "kernel_age"),
        ("current", OLD_KERNEL, NOTHING, "end_of_life", "kernel_age"),
        ("launch", NEW_KERNEL, NOTHING, "protected", "nothing_to_apply"),
        ("launch", UNDATED, NOTHING, "unknown", "support_unknown"),
        ("current", UNDATED, NOTHING, "unknown", "support_unknown"),
        # An applied patch shows that the service covers the kernel, if the policy states no interval.
        ("launch", OLD_KERNEL, OLD, "protected", "applied"),
        ("launch", UNDATED, OLD, "protected", "applied"),
        ("current", OLD_KERNEL, OLD, "end_of_life", "kernel_age"),
        ("current", UNDATED, OLD, "unknown", "support_unknown"),
        # The status of the service takes precedence over the age.
        ("current", OLD_KERNEL, {}, "protected", "applied"),
    ],
)
def test_age_replaces_a_missing_support_status(
    policy: str, kernel: t.Any, client: dict[str, t.Any], state: str, reason: str
) -> None:
    patches = () if client.get("patch_state") == "nothing-to-apply" else (a_patch(),)
    assessment = assess(a_host(kernel=kernel, patches=patches, client=a_client(**client)), POLICIES[policy])
    assert (assessment["state"], assessment["reasons"][0]["id"]) == (state, reason)
    assert assessment["reboot_needed"] is {"end_of_life": True, "protected": False, "unknown": None}[state]


@pytest.mark.parametrize(("months", "state"), [(DEFAULT_MONTHS, "protected"), (DEFAULT_MONTHS + 1, "end_of_life")])
def test_a_kernel_gets_patches_up_to_the_interval(months: int, state: str) -> None:
    kernel = dataclasses.replace(a_kernel(), build_date=NOW - (months * 365 // 12 + 1) * DAY)
    assert assess(a_host(kernel=kernel, patches=(), client=a_client(**NOTHING)))["state"] == state


def test_the_upgrade_of_an_old_kernel_needs_no_force() -> None:
    """The playbook selects hosts by their state, also where the client does not ask for an upgrade."""
    assessment = assess(a_host(kernel=OLD_KERNEL, patches=(), client=a_client(**NOTHING)), POLICIES["current"])
    assert "kernelops.livepatch.upgrade" in (assessment["reasons"][0]["remedy"] or "")
    assert "livepatch_force" not in (assessment["reasons"][0]["remedy"] or "")


def test_a_kernel_whose_release_is_unknown_is_not_protected() -> None:
    """The name in /proc/version_signature remains, which alone does not show that this kernel runs."""
    assessment = assess(a_host(kernel=dataclasses.replace(a_kernel(), release=None), client=a_client()))
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("unknown", "other_kernel")


def test_a_build_date_in_the_future_is_no_age() -> None:
    kernel = a_kernel(version="#242-Ubuntu SMP Fri Apr 16 09:57:56 UTC 2027")
    assert assess(a_host(kernel=kernel, patches=(), client=a_client(**NOTHING)))["state"] == "unknown"


# --- the facts from which the rules conclude ---


def evidence_of(facts: HostFacts, **changes: t.Any) -> Evidence:
    eligibility = Eligibility(policy="launch", verdict="eligible", checks=changes.pop("checks", []))
    return Evidence(
        **{
            "facts": facts,
            "policy": POLICIES["launch"],
            "eligibility": eligibility,
            "verified": [],
            "collected_at": NOW,
            **changes,
        }
    )


def built(at: datetime.datetime) -> HostFacts:
    return a_host(kernel=dataclasses.replace(a_kernel(), build_date=at))


@pytest.mark.parametrize(("days", "months"), [(0, 0), (30, 0), (31, 1), (364, 11), (365, 12), (730, 24)])
def test_the_age_of_a_kernel_is_in_complete_months(days: int, months: int) -> None:
    assert evidence_of(built(NOW - days * DAY)).kernel_months == months


@pytest.mark.parametrize(("minutes", "months"), [(5, 0), (6, None)])
def test_a_build_host_may_be_five_minutes_ahead(minutes: int, months: int | None) -> None:
    assert evidence_of(built(NOW + minutes * MINUTE)).kernel_months == months


@pytest.mark.parametrize(
    ("changes", "months"),
    [
        ({}, 13),
        ({"release": "18.04"}, None),
        ({"architecture": "s390x"}, None),
        ({"series": "4.15"}, None),
        ({"flavours": ("aws",)}, None),
        ({"upgrade_within_months": None}, None),
    ],
)
def test_the_interval_is_that_of_the_row_for_the_system(changes: dict[str, t.Any], months: int | None) -> None:
    row = AdmittedSystem("ubuntu", "16.04", "amd64", "4.4", ("generic", "lowlatency"), 13)
    policy = dataclasses.replace(POLICIES["launch"], systems=(dataclasses.replace(row, **changes),))
    assert evidence_of(a_host(), policy=policy).policy_months == months


def test_client_and_server_report_the_support() -> None:
    server = Check(
        id="kernel_supported", status="fail", found="unsupported", required=None, message="not supported", remedy=None
    )
    assert evidence_of(a_host(client=ClientStatus(enabled=False))).support == frozenset()
    assert evidence_of(a_host(client=a_client(supported=None)), checks=[server]).support == {"unsupported"}
    assert evidence_of(a_host(), checks=[server]).support == {"supported", "unsupported"}


def test_a_stale_client_does_not_hide_the_answer_of_the_server() -> None:
    stale = a_host(
        client=ClientStatus(error=ClientError("platform_unsupported", "The platform Ubuntu 22.10 is not supported."))
    )
    answers: list[KernelSupport | None] = [None, KernelSupport("supported"), KernelSupport("unsupported")]
    states = [
        make_record("web1", stale, POLICIES["launch"], collector=COLLECTOR, collected_at=NOW, kernel_support=answer)[
            "assessment"
        ]["state"]
        for answer in answers
    ]
    assert states == ["failed", "failed", "ineligible"]


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (ClientStatus(error=ClientError("daemon_down", "no answer")), True),
        (ClientStatus(error=ClientError("timed_out", "no answer")), False),
        (a_client(check_state="check-failed"), True),
        (a_client(), False),
    ],
)
def test_the_journal_of_a_client_that_works_is_history(client: ClientStatus, shown: bool) -> None:
    line = "livepatchd error: The platform Ubuntu 22.10 is not supported."
    evidence = evidence_of(a_host(client=client, client_log=(line,)))
    assert evidence.stale_refusal == (line if shown else None)


def test_the_time_of_the_boot_is_that_of_the_controller() -> None:
    assert evidence_of(a_host(now=NOW - 9 * DAY, uptime=DAY)).booted_at == NOW - DAY
    assert evidence_of(a_host(uptime=None)).booted_at is None


@pytest.mark.parametrize(
    ("level", "result", "is_foreign"),
    [
        ("file", "verified", False),
        ("digest", "verified", False),
        ("file", "failed", True),
        ("file", "not_checked", True),
        # The kernel accepts the keys of other programs too.
        ("kernel", "verified", True),
    ],
)
def test_only_a_signed_file_explains_another_patch(level: t.Any, result: str, is_foreign: bool) -> None:
    verification = Verification(level=level, result=result, signer=None, key_id=None, sha512=None)
    patch = KernelPatch(
        module="lkp_other", enabled=True, transition=False, build_id=None, taint="OK", verification=verification
    )
    assert evidence_of(a_host(), verified=[VerifiedPatch(patch)]).foreign == ([patch] if is_foreign else [])


# --- the clock ---


@pytest.mark.parametrize(("seconds", "skew"), [(-3, -3), (0, 0), (25, 0), (30, 0), (34, 4)])
def test_the_time_of_a_round_trip_is_no_clock_skew(seconds: int, skew: int) -> None:
    second = datetime.timedelta(seconds=1)
    record = make_record(
        "web1",
        a_host(now=NOW + seconds * second),
        POLICIES["launch"],
        collector=COLLECTOR,
        collected_at=NOW + datetime.timedelta(milliseconds=900),
        answered_at=NOW + 30 * second,
    )
    assert record.get("clock_skew_seconds") == skew


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (-6, "6 minutes behind"),
        (119, "119 minutes ahead of"),
        (120, "2 hours ahead of"),
        (-60 * 47, "47 hours behind"),
        (60 * 48, "2 days ahead of"),
    ],
)
def test_a_wrong_clock_is_a_reason(minutes: int, words: str) -> None:
    assessment = assess(a_host(now=NOW + minutes * MINUTE))
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("unknown", "clock_skew")
    assert words in assessment["reasons"][0]["message"]
    failed = assess(a_host(now=NOW + minutes * MINUTE, patches=(), client=a_client(patch_state="apply-failed")))
    assert [reason["id"] for reason in failed["reasons"]] == ["apply_failed", "clock_skew"]


@pytest.mark.parametrize(
    "facts",
    [
        a_host(now=NOW + 5 * MINUTE),
        a_host(now=NOW - 5 * MINUTE),
        a_host(client=a_client(last_check=NOW + 5 * MINUTE)),
    ],
)
def test_clocks_may_differ_by_five_minutes(facts: HostFacts) -> None:
    assessment = assess(facts)
    assert (assessment["state"], [reason["id"] for reason in assessment["reasons"]]) == ("protected", ["applied"])


def test_dates_count_by_the_controllers_clock() -> None:
    late = NOW - 700 * DAY
    facts = a_host(now=late, client=a_client(last_check=late - MINUTE, upgrade_required_by=(NOW - 300 * DAY).date()))
    assert assess(facts)["state"] == "end_of_life"
    assert assess(a_host(now=late, client=a_client(last_check=late - MINUTE)))["state"] == "stale"


# --- the patch that a record shows ---


@pytest.mark.parametrize(
    ("state", "changes", "shown"),
    [
        ("protected", {}, True),
        ("stale", {}, True),
        ("end_of_life", {}, True),
        ("tampered", {}, False),
        ("unverified", {}, False),
        ("applying", {}, False),
        ("failed", {}, False),
        ("unknown", {}, False),
        ("protected", {"patch__state": "nothing-to-apply"}, False),
        ("protected", {"patch__version": "66.1"}, False),
        ("protected", {"patch__version": None}, False),
        ("protected", {"system__kernel__full": None}, False),
        ("protected", {"kernel_patches": []}, False),
    ],
)
def test_a_patch_runs_only_with_evidence(state: t.Any, changes: dict[str, t.Any], shown: bool) -> None:
    assert shows_running_patch(records.make_record("web1", state, **changes)) is shown


def test_a_patch_of_another_kernel_does_not_run() -> None:
    record: Record = records.make_record()
    record["patch"]["kernel"] = record["system"]["kernel"]["full"]
    assert shows_running_patch(record)
    record["patch"]["kernel"] = "4.4.0-167.196-generic"
    assert not shows_running_patch(record)


def test_a_module_that_failed_verification_does_not_count() -> None:
    record = records.make_record()
    module = record["kernel_patches"][0]
    assert module["module"] != MODULE
    failed = {"verification": {**module["verification"], "result": "failed"}}
    for change in ({"enabled": False}, {"transition": True}, failed):
        assert not shows_running_patch(t.cast("Record", {**record, "kernel_patches": [{**module, **change}]}))
