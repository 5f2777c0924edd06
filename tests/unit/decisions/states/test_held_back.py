# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Settings that withhold patches: each has a name, a place and a remedy that undoes it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import (
    BlockedPatches,
    ClientError,
    ClientStatus,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import ClientMode, HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Assessment, Collector
from tests.samples.facts import NOW, a_client, a_host, shipped, without_client

DOWN = ClientStatus(error=ClientError("daemon_down", "dial unix: no such file or directory"))
UNAPPLIED: dict[str, t.Any] = {"client": a_client(patch_state="unapplied", patch_version=None), "patches": ()}
STALE: dict[str, t.Any] = {"client": a_client(last_check=NOW.replace(day=1, month=2))}
FILE, COMMAND_LINE = "/var/local/canonical_livepatch_mode", "kernel command line"


def assess(facts: HostFacts) -> Assessment:
    collector = Collector(collection="2.0.0", ansible_core="2.19.0")
    return make_record("web-01", facts, shipped("launch"), collector=collector, collected_at=NOW)["assessment"]


@pytest.mark.parametrize(
    ("mode", "facts"), [("stop", {"client": DOWN}), ("no-apply", UNAPPLIED), ("no-refresh", STALE), ("no-apply", {})]
)
@pytest.mark.parametrize(("source", "place"), [("file", FILE), ("kernel_command_line", COMMAND_LINE)])
def test_a_mode_is_named_with_its_place(mode: str, facts: dict[str, t.Any], source: t.Any, place: str) -> None:
    assessment = assess(a_host(mode=ClientMode(mode, source), **facts))
    reason = assessment["reasons"][0]
    assert (assessment["state"], reason["id"]) == ("held_back", "mode_withholds")
    assert f"mode is {mode}" in reason["message"]
    assert place in reason["message"]
    remedy = reason["remedy"] or ""
    if source == "file":
        assert "client_mode: normal" in remedy
        assert "snap restart canonical-livepatch" in remedy
    else:
        assert f"canonical_livepatch_mode={mode}" in remedy
        assert all(word in remedy for word in ("/etc/default/grub", "update-grub", "reboot"))


def test_a_disabled_service_is_named() -> None:
    assessment = assess(a_host(service_enabled=False, client=DOWN))
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("held_back", "service_disabled")
    assert "snap start --enable canonical-livepatch" in (assessment["reasons"][0]["remedy"] or "")


@pytest.mark.parametrize(
    ("changes", "shown", "key"),
    [
        ({"config": {"cutoff-date": "2024-10-01T00:00:00Z"}}, "cutoff-date (2024-10-01T00:00:00Z)", "cutoff-date"),
        ({"config": {"patch-delay": "8w"}}, "patch-delay (8w)", "patch-delay"),
        ({"config": {"check-interval": "0"}}, "check-interval is 0", "check-interval"),
        ({"config": {"check-interval": "0 minutes"}}, "check-interval is 0 minutes", "check-interval"),
        ({"client": a_client(blocked=BlockedPatches(("patch-delay",), ("LSN-0113-1",)))}, "LSN-0113-1", "patch-delay"),
        ({"client": a_client(blocked=BlockedPatches((), ("LSN-0113-1",)))}, "LSN-0113-1", "cutoff-date"),
    ],
)
def test_a_setting_is_named_and_cleared(changes: dict[str, t.Any], shown: str, key: str) -> None:
    assessment = assess(a_host(**changes))
    assert assessment["state"] == "held_back"
    assert shown in assessment["reasons"][0]["message"]
    assert f"canonical-livepatch config {key}=" in (assessment["reasons"][0]["remedy"] or "")


@pytest.mark.parametrize(
    ("count", "end"),
    [(1, "LSN-0100-1"), (5, "LSN-0104-1"), (6, "LSN-0104-1 and 1 more"), (20, "LSN-0104-1 and 15 more")],
)
def test_at_most_five_notices_are_named(count: int, end: str) -> None:
    notices = tuple(f"LSN-01{number:02}-1" for number in range(count))
    reason = assess(a_host(client=a_client(blocked=BlockedPatches(("cutoff-date",), notices))))["reasons"][0]
    assert reason["message"].endswith(end)


@pytest.mark.parametrize(
    "facts",
    [
        a_host(mode=ClientMode("normal", "file")),
        a_host(config={"cutoff-date": "", "patch-delay": "0", "check-interval": "60"}),
        a_host(config={"cutoff-date": "0001-01-01T00:00:00Z", "patch-delay": "0h0m0s"}),
        a_host(service_enabled=True),
        without_client(mode=ClientMode("stop", "file")),
        a_host(client=ClientStatus(enabled=False), patches=(), config={"patch-delay": "8w"}),
    ],
)
def test_other_hosts_are_not_held_back(facts: HostFacts) -> None:
    assert assess(facts)["state"] in ("protected", "disabled")


def test_a_host_that_can_never_be_patched_is_ineligible() -> None:
    facts = a_host(os_release={"ID": "debian"}, mode=ClientMode("stop", "file"))
    assert assess(facts)["state"] == "ineligible"
