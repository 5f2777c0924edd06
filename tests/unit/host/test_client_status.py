# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The status output of every client generation, and the configuration."""

from __future__ import annotations

import itertools
import json
import time
import typing as t
from datetime import date, datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import (
    CHECK_STATES,
    PATCH_STATES,
    SUPPORT_STATES,
    BlockedPatches,
    ClientStatus,
    ReportedFix,
    StatusOutput,
    parse_config,
    parse_status,
    stale_platform,
    with_version,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import SECTION_LIMIT

CLIENT_3 = """\
kernel: 4.4.0-45.66-generic
fully-patched: true
version: "13.3"
"""

CLIENT_6 = """\
client-version: "6"
machine-id: 5f0e5f0e5f0e5f0e5f0e5f0e5f0e5f0e
machine-token: 7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a
architecture: x86_64
cpu-model: Virtual CPU @ 2.00GHz
last-check: 2017-03-01T00:30:14.104602474+01:00
boot-time: 2017-02-08T14:40:20-05:30
uptime: 497h3m28s
status:
- kernel: 4.4.0-64.85-generic
  running: true
  livepatch:
    checkState: checked
    patchState: nothing-to-apply
    version: ""
    fixes: ""
"""

CLIENT_7 = """\
client-version: "7.23"
architecture: x86_64
cpu-model: QEMU Virtual CPU
last-check: 2018-02-11T06:50:01.5Z
boot-time: 2018-02-10T12:49:32Z
uptime: 18h0m29s
status:
- kernel: 4.4.0-97.120-generic
  running: true
  livepatch:
    checkState: needs-check
    patchState: applied
    version: "35.10"
    fixes: |-
      * CVE-2017-0001 LP: #1700001
      * CVE-2017-0002: LP: #1700002
      * CVE-2017-0003 (unpatched)
"""

CLIENT_9_5 = """\
client-version: 9.5.5
architecture: x86_64
cpu-model: Virtual CPU @ 2.30GHz
last-check: 2021-05-08T17:41:06Z
boot-time: 2021-05-08T17:40:46Z
uptime: 1m0s
status:
- kernel: 5.4.0-1010.10-azure
  running: true
  livepatch:
    checkState: checked
    patchState: applied
    version: "76.1"
    fixes: |-
      * CVE-2020-0001
      * CVE-2020-0001: LP: #1800001
      * CVE-2020-12345
"""

CLIENT_10 = """\
client-version: 10.8.3
machine-id: 5f0e5f0e5f0e5f0e5f0e5f0e5f0e5f0e
architecture: amd64
cpu-model: Virtual CPU
last-check: 2024-05-20T09:05:18+01:00
boot-time: 2024-05-19T13:14:30Z
uptime: 19h19m56s
status:
- kernel: 4.15.0-201.212-generic
  running: true
  livepatch:
    checkState: checked
    patchState: applied
    version: "101.1"
    fixes: |-
      * CVE-2023-0001
  supported: supported
  upgradeRequiredDate: "2024-11-30"
tier: updates
cloud-enabled:
  cloud-enabled: true
  cloud: multipass
  region: ""
  az: ""
"""

CLIENT_10_JSON: dict[str, t.Any] = {
    "Client-Version": "10.8.3",
    "Machine-Id": "5f0e5f0e5f0e5f0e5f0e5f0e5f0e5f0e",
    "Architecture": "x86_64",
    "CPU-Model": "Virtual CPU",
    "Last-Check": "2024-05-20T08:05:18Z",
    "Boot-Time": "2024-05-19T13:14:30Z",
    "Uptime": "69598",
    "Status": [
        {
            "Kernel": "4.15.0-201.212-generic",
            "Running": True,
            "Livepatch": {"CheckState": "checked", "State": "nothing-to-apply", "Version": ""},
        }
    ],
    "tier": "stable",
}

CLIENT_11_JSON: dict[str, t.Any] = {
    "Client-Version": "v11.0.2",
    "Machine-Id": "5f0e5f0e5f0e5f0e5f0e5f0e5f0e5f0e",
    "Architecture": "amd64",
    "CPU-Model": "Virtual CPU",
    "Last-Check": "2026-01-10T10:00:00.123456789Z",
    "Boot-Time": "2026-01-01T10:00:00Z",
    "Uptime": "777600",
    "Fixed-CVEs": {"Timestamp": "2026-01-10T10:00:00Z", "Patched-CVEs": ["CVE-2025-0001"], "Digest": "00"},
    "Status": [
        {
            "Kernel": "6.8.0-40.40-generic",
            "Running": False,
            "Livepatch": {"CheckState": "check-failed", "State": "apply-failed", "Version": "90.1"},
        },
        {
            "Kernel": "6.8.0-47.47-generic",
            "Running": True,
            "Supported": "supported",
            "UpgradeRequiredDate": "2026-11-02",
            "Livepatch": {
                "CheckState": "checked",
                "State": "applied",
                "Version": "113.1",
                "Fixes": [
                    {"Name": "cve-2025-0001", "Description": "A flaw: <b>", "Bug": "", "Patched": True},
                    {"Name": "cve-2025-0002", "Description": "Another", "Bug": "", "Patched": False},
                ],
            },
        },
    ],
    "tier": "updates",
}

HUMANE = """\
last check: 52 seconds ago
kernel: 5.4.0-1010.10-azure
server check-in: succeeded
patch state: \N{CHECK MARK} all applicable livepatch modules inserted
patch version: 76.1
tier: updates (Free usage; This machine beta tests new patches.)
"""

NOT_ENABLED = (
    "Machine is not enabled. Please run 'sudo canonical-livepatch enable' with the\n"
    "token obtained from https://ubuntu.com/livepatch.\n"
)
SNAP_WARNING = "WARNING: cgroup v2 is not fully supported yet, proceeding with partial confinement\n"
NO_SUCH_FLAG = "error: unknown flag `format'\n"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)


def attempt(stdout: str = "", stderr: str = "", exit_code: int | None = 0, timed_out: bool = False) -> StatusOutput:
    return StatusOutput(stdout, stderr, exit_code, timed_out)


def status_of(stdout: str | dict[str, t.Any]) -> ClientStatus:
    return parse_status([attempt(stdout if isinstance(stdout, str) else json.dumps(stdout))])


def refused(stderr: str, exit_code: int | None = 1) -> str | None:
    status = parse_status([attempt(stderr=stderr, exit_code=exit_code)])
    assert status.enabled is None
    return status.error.id if status.error else None


def running(livepatch: object = None, **entry: object) -> dict[str, t.Any]:
    """Return a JSON status with one running kernel that has the given members."""
    members = {"Kernel": "6.8.0-47.47-generic", "Running": True, "Livepatch": livepatch} | entry
    return {"Client-Version": "10.8.3", "Status": [members]}


GENERATIONS = [
    pytest.param(
        CLIENT_3,
        ClientStatus(
            enabled=True, generation="2016", kernel="4.4.0-45.66-generic", patch_state="applied", patch_version="13.3"
        ),
        id="3",
    ),
    pytest.param(
        CLIENT_6,
        ClientStatus(
            enabled=True,
            generation="6",
            version="6",
            last_check=utc(2017, 2, 28, 23, 30, 14, 104602),
            kernel="4.4.0-64.85-generic",
            check_state="checked",
            patch_state="nothing-to-apply",
        ),
        id="6",
    ),
    pytest.param(
        CLIENT_7,
        ClientStatus(
            enabled=True,
            generation="6",
            version="7.23",
            last_check=utc(2018, 2, 11, 6, 50, 1, 500000),
            kernel="4.4.0-97.120-generic",
            check_state="needs-check",
            patch_state="applied",
            patch_version="35.10",
            fixes=(
                ReportedFix("CVE-2017-0001", True),
                ReportedFix("CVE-2017-0002", True),
                ReportedFix("CVE-2017-0003", False),
            ),
        ),
        id="7",
    ),
    pytest.param(
        CLIENT_9_5,
        ClientStatus(
            enabled=True,
            generation="9.5",
            version="9.5.5",
            last_check=utc(2021, 5, 8, 17, 41, 6),
            kernel="5.4.0-1010.10-azure",
            check_state="checked",
            patch_state="applied",
            patch_version="76.1",
            fixes=(ReportedFix("CVE-2020-0001", True), ReportedFix("CVE-2020-12345", True)),
        ),
        id="9.5",
    ),
    pytest.param(
        CLIENT_10,
        ClientStatus(
            enabled=True,
            generation="10",
            version="10.8.3",
            last_check=utc(2024, 5, 20, 8, 5, 18),
            kernel="4.15.0-201.212-generic",
            check_state="checked",
            patch_state="applied",
            patch_version="101.1",
            fixes=(ReportedFix("CVE-2023-0001", True),),
            supported="supported",
            upgrade_required_by=date(2024, 11, 30),
            tier="updates",
        ),
        id="10",
    ),
    pytest.param(
        json.dumps(CLIENT_10_JSON, indent=2),
        ClientStatus(
            enabled=True,
            generation="10",
            version="10.8.3",
            last_check=utc(2024, 5, 20, 8, 5, 18),
            kernel="4.15.0-201.212-generic",
            check_state="checked",
            patch_state="nothing-to-apply",
            tier="stable",
        ),
        id="10-json",
    ),
    pytest.param(
        json.dumps(CLIENT_11_JSON),
        ClientStatus(
            enabled=True,
            generation="11",
            version="11.0.2",
            last_check=utc(2026, 1, 10, 10, 0, 0, 123456),
            kernel="6.8.0-47.47-generic",
            check_state="checked",
            patch_state="applied",
            patch_version="113.1",
            fixes=(ReportedFix("CVE-2025-0001", True), ReportedFix("CVE-2025-0002", False)),
            supported="supported",
            upgrade_required_by=date(2026, 11, 2),
            tier="updates",
        ),
        id="11-json",
    ),
]


@pytest.mark.parametrize("before", ["", SNAP_WARNING, SNAP_WARNING + "{retrying}\n\n"])
@pytest.mark.parametrize(("output", "status"), GENERATIONS)
def test_the_status_of_every_generation_is_parsed(output: str, status: ClientStatus, before: str) -> None:
    assert status_of(before + output) == status


@pytest.mark.parametrize(("output", "status"), GENERATIONS)
def test_carriage_returns_make_no_difference(output: str, status: ClientStatus) -> None:
    assert status_of(output.replace("\n", "\r\n")) == status


@pytest.mark.parametrize("exit_code", [0, 1, None])
def test_the_exit_code_does_not_change_the_state(exit_code: int | None) -> None:
    assert parse_status([attempt(CLIENT_10, "", exit_code)]).patch_state == "applied"


def test_tokens_are_not_stored() -> None:
    assert "7a7a7a7a" not in repr(status_of(CLIENT_6))


@pytest.mark.parametrize(
    ("output", "state", "version", "supported"),
    [
        ('kernel: 4.4.0-45.66-generic\nfully-patched: true\nversion: ""\n', "nothing-to-apply", None, None),
        ('kernel: 4.4.0-45.66-generic\nfully-patched: false\nversion: "13.3"\n', "unapplied", "13.3", None),
        (
            'kernel: 4.8.0-26.28-generic (unsupported)\nfully-patched: false\nversion: ""',
            "unapplied",
            None,
            "unsupported",
        ),
    ],
)
def test_the_format_of_2016_is_parsed(output: str, state: str, version: str | None, supported: str | None) -> None:
    status = status_of(output)
    assert (status.generation, status.enabled) == ("2016", True)
    assert (status.patch_state, status.patch_version, status.supported) == (state, version, supported)
    assert status.kernel == output.split()[1]


@pytest.mark.parametrize(
    ("version", "generation", "kept"),
    [
        ("8.0.3", "6", "8.0.3"),
        ("9", "6", "9"),
        ("9.4.9", "6", "9.4.9"),
        ("9.5", "9.5", "9.5"),
        ("9.10.1", "9.5", "9.10.1"),
        ("10.0", "10", "10.0"),
        ("10.11.2", "10", "10.11.2"),
        ("11.0.2", "11", "11.0.2"),
        ("v12.1.0-rc1", "11", "12.1.0-rc1"),
        ("version", "9.5", "version"),
        ("", "9.5", None),
    ],
)
def test_generation_follows_the_version(version: str, generation: str, kept: str | None) -> None:
    status = status_of({"Client-Version": version, "Status": []})
    assert (status.generation, status.version) == (generation, kept)


@pytest.mark.parametrize(
    ("output", "generation"),
    [
        ("status: []\n", "6"),
        ('{"Status": []}', "9.5"),
        ('{"Status": [], "tier": "updates"}', "10"),
        ("status: []\ncloud-enabled:\n  cloud: aws\n", "10"),
        ('{"Status": [{"Running": true, "Supported": "supported"}]}', "10"),
        ('{"Status": [], "Fixed-CVEs": {}}', "11"),
        ('{"Status": [{"Running": true, "Livepatch": {"Fixes": []}}]}', "11"),
    ],
)
def test_generation_without_a_version_follows_the_format(output: str, generation: str) -> None:
    assert status_of(output).generation == generation


@pytest.mark.parametrize(
    ("output", "version", "generation", "kept"),
    [
        (NOT_ENABLED, "3", "2016", "3"),
        (NOT_ENABLED, "9.3.0", "6", "9.3.0"),
        (NOT_ENABLED, "v11.0.2", "11", "11.0.2"),
        (NOT_ENABLED, "edge", None, None),
        (NOT_ENABLED, "", None, None),
        (NOT_ENABLED, "9" * 5000, None, None),
        (NOT_ENABLED, "9.5\x1b[2J", "9.5", "9.5\ufffd[2J"),
        (CLIENT_3, "8.0.3", "2016", "8.0.3"),
        ('{"Status": [], "tier": "updates"}', "10.8.3", "10", "10.8.3"),
    ],
)
def test_the_package_version_is_the_fallback(
    output: str, version: str, generation: str | None, kept: str | None
) -> None:
    before = status_of(output)
    after = with_version(before, version)
    assert (after.generation, after.version) == (generation, kept)
    assert (after.enabled, after.kernel) == (before.enabled, before.kernel)


def test_the_running_entry_can_be_anywhere() -> None:
    entries = CLIENT_11_JSON["Status"]
    for order in itertools.permutations(entries):
        assert status_of(CLIENT_11_JSON | {"Status": list(order)}).kernel == "6.8.0-47.47-generic"


@pytest.mark.parametrize(
    "entries", [[], None, "applied", {"Running": True}, CLIENT_11_JSON["Status"][:1], [1, "x", []]]
)
def test_without_a_running_entry_the_patch_is_unknown(entries: object) -> None:
    status = status_of(CLIENT_11_JSON | {"Status": entries})
    assert (status.enabled, status.generation, status.tier) == (True, "11", "updates")
    assert (status.kernel, status.check_state, status.patch_state, status.patch_version) == (None, None, None, None)
    assert (status.fixes, status.supported, status.upgrade_required_by) == ((), None, None)


@pytest.mark.parametrize("state", sorted(PATCH_STATES))
def test_known_patch_states_in_any_spelling(state: str) -> None:
    assert status_of(running({"State": state.capitalize()})).patch_state == state
    assert status_of(running({"PatchState": f" {state}"})).patch_state == state


@pytest.mark.parametrize("state", sorted(CHECK_STATES))
def test_known_check_states_in_any_spelling(state: str) -> None:
    assert status_of(running({"CheckState": state.upper()})).check_state == state


def test_unknown_states_are_kept_unchanged() -> None:
    status = status_of(running({"CheckState": "Checked?", "State": "Half-Applied"}))
    assert (status.check_state, status.patch_state) == ("Checked?", "Half-Applied")
    assert status.check_state not in CHECK_STATES
    assert status.patch_state not in PATCH_STATES


@pytest.mark.parametrize("support", [*sorted(SUPPORT_STATES), "Kernel-End-Of-Life"])
def test_known_support_statuses_are_recognised(support: str) -> None:
    assert status_of(running(Supported=support)).supported == support.lower()


@pytest.mark.parametrize(
    ("support", "read"),
    [(True, "supported"), ("mostly", "unknown"), (False, "unknown"), ([], "unknown"), (7, "unknown"), (None, None)],
)
def test_unknown_support_is_never_supported(support: object, read: str | None) -> None:
    assert status_of(running(Supported=support)).supported == read


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-20T09:05:18Z", utc(2024, 5, 20, 9, 5, 18)),
        ("2024-05-20t09:05:18.1234567899z", utc(2024, 5, 20, 9, 5, 18, 123456)),
        ("2024-05-20 09:05:18+0530", utc(2024, 5, 20, 3, 35, 18)),
        ("2024-01-01T00:05:18-11:45", utc(2024, 1, 1, 11, 50, 18)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-05-20T09:05:18", None),
        ("2024-05-20T09:05:18+99:00", None),
        ("52 seconds ago", None),
        (1716195918, None),
        (["2024-05-20T09:05:18Z"], None),
    ],
)
def test_times_are_utc_or_unknown(text: object, moment: datetime | None) -> None:
    assert status_of(CLIENT_10_JSON | {"Last-Check": text}).last_check == moment


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-02", date(2026, 11, 2)),
        ("2026-11-02T00:00:00Z", date(2026, 11, 2)),
        ("2026-11-31", None),
        ("0001-01-01T00:00:00Z", None),
        ("20261102", None),
        ("2026-11-021", None),
        (None, None),
        ({}, None),
    ],
)
def test_the_upgrade_date_is_parsed(text: object, day: date | None) -> None:
    assert status_of(running(UpgradeRequiredDate=text)).upgrade_required_by == day


def test_a_null_upgrade_date_is_none() -> None:
    output = CLIENT_10.replace('"2024-11-30"', "null").replace("supported: supported", "supported: ~")
    assert (status_of(output).upgrade_required_by, status_of(output).supported) == (None, None)


@pytest.mark.parametrize(
    ("fixes", "read"),
    [
        ("* CVE-2020-0001\n* CVE-2020-0001 (unpatched)", (ReportedFix("CVE-2020-0001", False),)),
        ("* CVE-2020-0001 (unpatched)\n* CVE-2020-0001", (ReportedFix("CVE-2020-0001", False),)),
        ("  *  cve-2020-0001: LP: #1 (unpatched)  ", (ReportedFix("CVE-2020-0001", False),)),
        ("fixes CVE-2020-0001\n* LP: #1\n* CVE-20-1\n\n", ()),
        (
            ["CVE-2020-0001", "* CVE-2020-0002 (unpatched)"],
            (ReportedFix("CVE-2020-0001", True), ReportedFix("CVE-2020-0002", False)),
        ),
        ([{"Name": "cve-2020-0001"}], (ReportedFix("CVE-2020-0001", False),)),
        ([{"Name": "cve-2020-0001", "Patched": "true"}], (ReportedFix("CVE-2020-0001", True),)),
        ([{"Name": ["cve-2020-0001"], "Patched": True}, {"Patched": True}, 7, None, []], ()),
        ({"Name": "cve-2020-0001", "Patched": True}, ()),
        (True, ()),
        (None, ()),
    ],
)
def test_fixes_are_parsed(fixes: object, read: tuple[ReportedFix, ...]) -> None:
    assert status_of(running({"Fixes": fixes})).fixes == read


def test_numbers_keep_their_digits() -> None:
    status = status_of('{"Client-Version": 9.50, "Status": [{"Running": true, "Livepatch": {"Version": 33.20}}]}')
    assert (status.version, status.patch_version) == ("9.50", "33.20")
    status = status_of(CLIENT_7.replace('"7.23"', "7.230").replace('"35.10"', "35.10"))
    assert (status.version, status.patch_version) == ("7.230", "35.10")


@pytest.mark.parametrize("odd", [True, [], {}, ["x"], {"a": "b"}, None])
def test_values_of_another_type_are_unknown(odd: object) -> None:
    keys = ("Client-Version", "Machine-Id", "Architecture", "Last-Check", "tier")
    status = status_of(
        dict.fromkeys(keys, odd) | running({"CheckState": odd, "State": odd, "Version": odd}, Kernel=odd)
    )
    assert status == ClientStatus(enabled=True, generation=status.generation, version="10.8.3")


def test_texts_of_the_host_are_printable_and_short() -> None:
    status = status_of(running({"State": "applied\x1b[2J\ud800"}, Kernel="4" * 5000))
    assert status.patch_state == "applied\ufffd[2J\ufffd"
    assert status.kernel == "4" * 200
    assert status.patch_state.encode()


@pytest.mark.parametrize(
    "output",
    [
        CLIENT_10.replace("tier: updates", "tier: &t updates"),
        CLIENT_10.replace("tier: updates", "tier: *t"),
        CLIENT_10 + "more: " + "[" * 40 + "]" * 40,
        CLIENT_10 + "more: {",
        CLIENT_10 + "# " + "x" * 70000,
        CLIENT_10.replace("Virtual", "\x00"),
        CLIENT_10.replace("Virtual", "\ud800"),
        "status: applied\n",
        "- status: []\n",
        json.dumps(CLIENT_11_JSON)[:-1],
        json.dumps([CLIENT_11_JSON]),
        '{"status": 7}',
        "{" * 5000,
        '{"Client-Version":' * 100000,
        HUMANE,
        "",
    ],
)
def test_other_outputs_are_unreadable(output: str) -> None:
    status = status_of(output)
    assert status.error is not None
    assert status == ClientStatus(error=status.error)
    assert status.error.id == "unreadable_output"
    assert len(status.error.text) <= 300


@pytest.mark.parametrize("key", ["[a]", "{a: b}", "? - a\n", "~"])
def test_members_without_a_name_are_ignored(key: str) -> None:
    assert status_of(CLIENT_10 + key + ": x\n").patch_state == "applied"


def test_yaml_aliases_are_refused() -> None:
    bomb = "status: []\na0: &a0 [x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 30)
    )
    start = time.process_time()
    assert status_of(bomb).enabled is None
    assert time.process_time() - start < 1


def test_humane_output_is_not_parsed() -> None:
    status = parse_status([attempt(stderr=NO_SUCH_FLAG, exit_code=1), attempt(HUMANE), attempt(HUMANE)])
    assert (status.enabled, status.kernel, status.patch_version, status.tier) == (None, None, None, None)
    assert status.error is not None
    assert (status.error.id, status.error.text) == ("unreadable_output", NO_SUCH_FLAG.strip())


def test_the_first_parsable_output_is_used() -> None:
    assert parse_status([attempt(CLIENT_10), attempt(CLIENT_7)]).version == "10.8.3"
    assert parse_status([attempt(stderr=NO_SUCH_FLAG, exit_code=1), attempt(CLIENT_7)]).version == "7.23"
    assert (
        parse_status([attempt(timed_out=True, exit_code=124), attempt(HUMANE), attempt(CLIENT_9_5)]).version == "9.5.5"
    )
    failed = attempt(stderr="Connection to the daemon failed: Get http://127.0.0.1/status", exit_code=1)
    assert parse_status([failed, attempt(CLIENT_3)]).generation == "2016"


def test_without_attempts_the_status_is_unknown() -> None:
    assert parse_status([]) == ClientStatus()


@pytest.mark.parametrize(
    "asked",
    [
        attempt(stderr=NOT_ENABLED, exit_code=1),
        attempt(stdout=NOT_ENABLED, exit_code=1),
        attempt(stdout=NOT_ENABLED, exit_code=0),
        attempt(stderr=SNAP_WARNING + "2018/05/24 18:51:29 " + NOT_ENABLED, exit_code=1),
    ],
)
def test_not_enabled_is_found_on_either_stream(asked: StatusOutput) -> None:
    assert parse_status([asked]) == ClientStatus(enabled=False)
    assert parse_status([attempt(stderr=NO_SUCH_FLAG, exit_code=1), asked]) == ClientStatus(enabled=False)


SOCKET = "dial unix /var/snap/canonical-livepatch/42/livepatchd.sock"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"Connection to the daemon failed: Get http://127.0.0.1/status: {SOCKET}: connect: x", "daemon_down"),
        (f"error: Get http://127.0.0.1/status: {SOCKET}: connect: no such file or directory", "daemon_down"),
        (f"error: Get http://127.0.0.1/status: {SOCKET}: no such file or directory", "daemon_down"),
        (f"error: Get http://127.0.0.1/status: {SOCKET}: connect:\n connection refused", "daemon_down"),
        (f"Connection to the daemon failed: Get x: {SOCKET}: connect: permission denied", "permission_denied"),
        ('2018/05/24 cannot use livepatch: your kernel "4.15.0-9-kvm" is not eligible for livepatch updates', None),
        ("error: your kernel 4.15.0-9-kvm is not supported", "not_eligible_kernel"),
        ("livepatchd error: The platform Ubuntu 17.10 is not supported. exiting.", "platform_unsupported"),
        ("cannot change apparmor hat of the support process. errmsg: Operation not permitted", "apparmor"),
        ("Snappy kernel-module-control interface not connected!", "interface_not_connected"),
        ('error: snap "canonical-livepatch" is not installed', "not_executable"),
        ("cannot find installed snap canonical-livepatch at revision 95", "not_executable"),
        ("error: cannot communicate with server: dial unix /run/snapd.socket: connect: no such file", "snapd_down"),
        ("livepatchd error: daemon shutting down", "daemon_shutting_down"),
        (SNAP_WARNING, "unreadable_output"),
        ("dial tcp: lookup example.com: no such host", "unreadable_output"),
        ("", "unreadable_output"),
    ],
)
def test_errors_of_all_generations_are_recognised(text: str, error: str | None) -> None:
    assert refused(text) == (error or "not_eligible_kernel")
    status = parse_status([attempt(stdout=HUMANE), attempt(stdout=text)])
    assert status.error is not None
    assert status.error.id == (error or "not_eligible_kernel")


def test_a_known_error_outweighs_timeout_and_exit_code() -> None:
    down = attempt(stderr=f"{SOCKET}: connect: connection refused", exit_code=127)
    status = parse_status([attempt(timed_out=True, exit_code=None), down])
    assert status.error is not None
    assert status.error.id == "daemon_down"


@pytest.mark.parametrize("exit_code", [None, 124, 137])
def test_a_hanging_client_is_reported(exit_code: int | None) -> None:
    status = parse_status([attempt('{"Client-', exit_code=exit_code, timed_out=True), attempt(HUMANE)])
    assert status.error is not None
    assert (status.enabled, status.error.id) == (None, "timed_out")


@pytest.mark.parametrize("exit_code", [126, 127])
def test_an_unusable_client_is_reported(exit_code: int) -> None:
    assert refused("sh: 1: /snap/bin/canonical-livepatch: not found", exit_code) == "not_executable"


# --- patches that settings withhold ---


@pytest.mark.parametrize(
    ("fields", "options", "notices"),
    [
        ({}, (), ()),
        ({"Blocking-Options": [], "Using-Cutoff-Date": False, "Excluded-LSNs": []}, (), ()),
        ({"Blocking-Options": None, "Excluded-LSNs": None}, (), ()),
        ({"Blocking-Options": ["cutoff-date"], "Excluded-LSNs": ["LSN-0113-1"]}, ("cutoff-date",), ("LSN-0113-1",)),
        ({"Blocking-Options": ["patch-delay", "cutoff-date"]}, ("patch-delay", "cutoff-date"), ()),
        ({"Using-Cutoff-Date": True}, ("cutoff-date",), ()),
        ({"Using-Cutoff-Date": "true", "Blocking-Options": ["patch-delay"]}, ("patch-delay",), ()),
        (
            {"Excluded-LSNs": [{"Name": "LSN-0113-1", "CVEs": []}, {"lsn": "LSN-0114-1"}]},
            (),
            ("LSN-0113-1", "LSN-0114-1"),
        ),
        ({"Excluded-LSNs": {"LSN-0113-1": ["CVE-2024-1"]}}, (), ("LSN-0113-1",)),
        ({"Blocking-Options": {"cutoff-date": True, "patch-delay": False}}, ("cutoff-date",), ()),
        ({"Blocking-Options": "cutoff-date, patch-delay"}, ("cutoff-date", "patch-delay"), ()),
        ({"Excluded-LSNs": [None, True, {}, [], "", {"Name": None}, "LSN-0113-1", "LSN-0113-1"]}, (), ("LSN-0113-1",)),
    ],
)
def test_withheld_patches_are_parsed(
    fields: dict[str, t.Any], options: tuple[str, ...], notices: tuple[str, ...]
) -> None:
    assert status_of(running() | fields).blocked == BlockedPatches(options, notices)


def test_withheld_patches_are_parsed_from_yaml() -> None:
    more = (
        "blocking-options:\n- cutoff-date\nusing-cutoff-date: true\nexcluded-lsns:\n- LSN-0113-1\n- name: LSN-0114-1\n"
    )
    assert status_of(CLIENT_10 + more).blocked == BlockedPatches(("cutoff-date",), ("LSN-0113-1", "LSN-0114-1"))
    assert status_of(CLIENT_10 + "using-cutoff-date: true\n").blocked.options == ("cutoff-date",)


def test_withheld_patches_are_bounded() -> None:
    notices = [f"LSN-{number:04}-1{'x' * 200}" for number in range(5000)]
    found = status_of(running() | {"Excluded-LSNs": notices}).blocked.excluded_notices
    assert len(found) == 64
    assert max(map(len, found)) == 64


SECRET = "5eC2e7" * 6


@pytest.mark.parametrize(
    "text",
    [
        f"Error executing enable?auth-token={SECRET}. failed",
        f"machine-token: {SECRET}",
        f'{{"machine-token": "{SECRET}"}}',
        f"Using Machine-Token is {SECRET}",
        f"removed machine-token:\n  {SECRET}\n",
        f"tokens ({SECRET.upper()})",
        f"enable {'5ec2e7' * 6} failed",
        "enable 5ec2e75e-c2e7-5ec2-e75e-c2e75ec2e75e failed",
        "x " * 32754 + f" apparmor token={SECRET}",
        "x" * 250 + f" token={SECRET}",
    ],
)
def test_tokens_in_errors_are_masked(text: str) -> None:
    for asked in (attempt(stderr=text, exit_code=1), attempt(stdout=text)):
        error = parse_status([asked]).error
        assert error is not None
        assert "5ec2e7" not in error.text.lower()


def test_error_text_is_one_short_printable_line() -> None:
    noise = "\x1b[31m\u202e\ud800<b>{{ 7 }}\n" * 5000
    error = parse_status([attempt(stderr=noise + "The platform Ubuntu 17.10 is not supported.\n" + noise)]).error
    assert error is not None
    assert error.text.isprintable()
    assert len(error.text) <= 300
    assert refused("line\n" * 200 + "The platform Ubuntu 17.10 is not supported.\n" + noise) == "platform_unsupported"


def test_error_text_shows_what_was_recognised() -> None:
    text = "2024/05/20 error: The platform Ubuntu 17.10 is not supported."
    for before in ("", "a warning of snap\n" * 100):
        error = parse_status([attempt(stderr=before + text)]).error
        assert error is not None
        assert "platform Ubuntu 17.10 is not supported." in error.text


PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCC+/=\nAQAB\n-----END CERTIFICATE-----"
ESCAPED_PEM = PEM.replace("\n", "\\n")
PEM_OF_DOS = PEM.replace("\n", "\r\n")
INDENTED_PEM = PEM.replace("\n", "\n  ")


def test_the_default_configuration_is_parsed() -> None:
    text = (
        'http-proxy: ""\nhttps-proxy: "http://proxy.example:3128"\nno-proxy: \'\'\n'
        'remote-server: https://livepatch.example:8443\nca-certs: ""\ncheck-interval: 60  # minutes\n'
        'tls-patch-download: false\ncutoff-date:\nlog-level: "warning"'
    )
    assert parse_config(text) == {
        "http-proxy": "",
        "https-proxy": "http://proxy.example:3128",
        "no-proxy": "",
        "remote-server": "https://livepatch.example:8443",
        "ca-certs": "",
        "check-interval": "60",
        "tls-patch-download": "false",
        "cutoff-date": "",
        "log-level": "warning",
    }


@pytest.mark.parametrize(
    "written",
    [f'"{ESCAPED_PEM}\\n"', f'"{PEM}"', f"'{PEM}'", f"|\n  {INDENTED_PEM}", f"|-\n  {INDENTED_PEM}\n", PEM, PEM_OF_DOS],
)
def test_certificates_are_parsed_in_every_notation(written: str) -> None:
    config = parse_config(f'http-proxy: "a"\nca-certs: {written}\nlog-level: "info"\n')
    assert config["ca-certs"].strip() == PEM
    assert (config["http-proxy"], config["log-level"], len(config)) == ("a", "info", 3)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r'"a\"b\\c\td"', 'a"b\\c\td'),
        (r'"\x41\u00e9\U0001f600"', "A\u00e9\U0001f600"),
        (r'"\ud800\Uffffffff"', "\ufffd\ufffd"),
        (r'"\q\xZZ"', "qxZZ"),
        ("'it''s'", "it's"),
        ("a # b", "a"),
        ("http://h/#a", "http://h/#a"),
        ('"a # b" # c', "a # b"),
        ('"open', '"open'),
        ("|\n  a\n\n  b\n", "a\n\nb"),
        ("key: value", "key: value"),
    ],
)
def test_configuration_values_are_parsed(written: str, value: str) -> None:
    assert parse_config(f"no-proxy: {written}\nlog-level: info") == {"no-proxy": value, "log-level": "info"}


def test_other_lines_are_ignored_in_the_configuration() -> None:
    assert parse_config(f"{SNAP_WARNING}\n  indented: x\nkey:value\nOther: y\nlog-level: info\nbye\n") == {
        "log-level": "info"
    }


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["Status", "Livepatch", "Running", "Fixes", "Name", "Client-Version", "Last-Check", "State"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
PIECES = [*CLIENT_10.splitlines(keepends=True), *CLIENT_3.splitlines(keepends=True), HUMANE, NOT_ENABLED]
PIECES += [
    "{",
    "}",
    "[",
    "- ",
    "  ",
    "&a ",
    "*a",
    "!!python/object ",
    '"',
    "\n",
    "\x00",
    "token: ",
    "\\",
    "|-",
    "---\n",
]
OUTPUTS = (
    st.text()
    | DOCUMENTS.map(json.dumps)
    | st.dictionaries(st.sampled_from(["Status", "Client-Version", "tier"]), DOCUMENTS).map(json.dumps)
    | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
    | st.tuples(st.integers(0, len(CLIENT_10)), st.text(max_size=4)).map(
        lambda cut: CLIENT_10[: cut[0]] + cut[1] + CLIENT_10[cut[0] :]
    )
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.builds(StatusOutput, OUTPUTS, OUTPUTS, st.none() | st.integers(), st.booleans()), max_size=3))
def test_any_output_gives_a_status(attempts: list[StatusOutput]) -> None:
    status = parse_status(attempts)
    assert status.supported in {None, *SUPPORT_STATES}
    assert status.last_check is None or status.last_check.tzinfo is timezone.utc
    if status.error:
        assert status.enabled is None
        assert status.error.text.isprintable()
        assert len(status.error.text) <= 300


@settings(deadline=None)
@given(OUTPUTS | st.text(alphabet="ab:\"'|\\\n -#x0uU", max_size=60).map("a: {}".format))
def test_any_text_gives_a_configuration(text: str) -> None:
    config = parse_config(text)
    assert all(key in text for key in config)
    assert len(config) <= text.count(":")


UNITS = [
    "{",
    "{\n",
    '{"a":',
    "[",
    " ",
    "\n",
    "\r",
    "\x1b",
    "token=",
    "token ",
    "a",
    "dial unix x: ",
    "platform ",
    "kernel ",
]
UNITS += ["* CVE-2020-0001\n", 'a: "\n', 'a: "\\', "a: |\n", "a: -----BEGIN \n", "a: '"]
HEADED = [("status:\n", "- a: b\n"), ("status: ", "[a,"), ("status:\n", "? "), ("status: '", "a\n"), ('a: "', "\\n")]
HEADED += [('{"Client-Version": ', "1"), ('{"Last-Check": "', "1"), ('{"Status": ', "["), ("a: '", "''")]


@pytest.mark.parametrize(("start", "unit"), [*(("", unit) for unit in UNITS), *HEADED])
def test_the_largest_section_is_parsed_quickly(start: str, unit: str) -> None:
    noise = start + unit * (SECTION_LIMIT // len(unit))
    began = time.process_time()
    parse_status([attempt(noise, noise)])
    parse_config(noise)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "release", "stale"),
    [
        ("livepatchd error: The platform Ubuntu 22.10 is not supported.", "24.04", True),
        ("livepatchd error: The platform Ubuntu 24.04 is not supported.", "24.04", False),
        ("Only Ubuntu 16.04 LTS is supported, exiting.", "16.04", False),
        ("Only Ubuntu 16.04 LTS is supported, exiting.", "18.04", True),
        ("The platform Ubuntu 22.10 is not supported.", None, False),
        ("supported are Ubuntu 16.04 and Ubuntu 18.04", "18.04", False),
        ("kernel 4.4.0-21.37-generic is not eligible for livepatch updates", "16.04", False),
        ("", "16.04", False),
    ],
)
def test_a_stale_client_names_another_release(text: str, release: str | None, stale: bool) -> None:
    assert stale_platform(text, release) is stale
