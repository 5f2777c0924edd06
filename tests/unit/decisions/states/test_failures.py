# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The reason of a failure is its cause, found with all sources."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientError, ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, ServerReachability
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Assessment, Collector
from tests.samples.facts import NOW, a_client, a_host, a_kernel, shipped

LAUNCH = shipped("launch")
MINUTE = datetime.timedelta(minutes=1)
REFUSED = ServerReachability("https://livepatch.canonical.com", False, "curl", "refused", "no route to host")
JOURNAL = (
    "Nov 26 11:16:55 host1 systemd[1]: Started Service for snap application canonical-livepatch.",
    "Nov 26 11:16:57 host1 canonical-livepatch[811]: server check-in failed: status 503",
)


def assess(facts: HostFacts) -> Assessment:
    collector = Collector(collection="2.0.0", ansible_core="2.19.0")
    return make_record("web-01", facts, LAUNCH, collector=collector, collected_at=NOW)["assessment"]


def ids(facts: HostFacts) -> list[str]:
    return [reason["id"] for reason in assess(facts)["reasons"]]


def broken(identifier: str, text: str = "", **changes: t.Any) -> HostFacts:
    return a_host(client=ClientStatus(error=ClientError(identifier, text)), patches=(), **changes)


# --- the check of the client ---


def test_a_server_in_trouble_is_not_the_network() -> None:
    facts = a_host(client=a_client(check_state="check-failed", patch_state="nothing-to-apply"), client_log=JOURNAL)
    assessment = assess(dataclasses.replace(facts, patches=()))
    [reason] = assessment["reasons"]
    assert (assessment["state"], reason["id"]) == ("failed", "check_failed")
    assert reason["message"].endswith("status 503")
    assert reason["evidence"] == list(JOURNAL)
    remedy = reason["remedy"] or ""
    assert all(word in remedy for word in ("journalctl", "wait", "refresh", "enable it again"))
    assert not any(word in remedy for word in ("network", "proxy", "ca-certs"))


def test_without_network_the_address_is_named() -> None:
    reason = assess(a_host(client=a_client(check_state="check-failed"), reachability=(REFUSED,)))["reasons"][0]
    assert reason["id"] == "check_failed"
    assert "https://livepatch.canonical.com" in reason["message"]
    assert "443" in (reason["remedy"] or "")


def test_without_a_network_check_the_network_is_suggested() -> None:
    reason = assess(a_host(client=a_client(check_state="check-failed"), reachability=()))["reasons"][0]
    assert "ca-certs" in (reason["remedy"] or "")


def test_a_stale_check_uses_the_network_check() -> None:
    stale = assess(a_host(client=a_client(last_check=NOW - 3 * 1440 * MINUTE)))
    assert stale["state"] == "stale"
    assert "journalctl" in (stale["reasons"][0]["remedy"] or "")


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"client": a_client(check_state="check-failed", patch_state="apply-failed")}, ["apply_failed"]),
        (
            {
                "client": a_client(check_state="check-failed", patch_state="apply-failed"),
                "crash_locks": ("livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1",),
            },
            ["crash_lock"],
        ),
        ({"client": a_client(check_state="check-failed", patch_state="applied-with-bug")}, ["applied_with_bug"]),
    ],
)
def test_a_failed_patch_explains_a_failed_check(changes: dict[str, t.Any], reasons: list[str]) -> None:
    assert ids(a_host(patches=(), **changes)) == reasons


def test_a_missing_key_explains_a_failed_patch() -> None:
    failed = a_client(patch_state="apply-failed", check_state="check-failed")
    lock = ("livepatch_Ubuntu_4_4_0_210_242_generic_113_113.1",)
    unsigned = {"patches": (), "kernel_keys": (), "secure_boot": True, "kernel": a_kernel(version="#242-Ubuntu SMP")}
    facts = a_host(client=failed, crash_locks=lock, **unsigned)
    assert ids(facts) == ["secure_boot", "crash_lock"]
    assert "mokutil --import" in (assess(facts)["reasons"][0]["remedy"] or "")


@pytest.mark.parametrize("error", ["Required key not available", "Key was rejected by service"])
def test_the_journal_shows_a_missing_key(error: str) -> None:
    log = (f"insmod: ERROR: could not insert module livepatch.ko: {error}",)
    reason = assess(a_host(patches=(), client=a_client(patch_state="apply-failed"), client_log=log))["reasons"][0]
    assert reason["id"] == "secure_boot"
    assert reason["evidence"] == list(log)


@pytest.mark.parametrize(
    ("line", "words", "never"),
    [
        ("bad server status 401", "canonical-livepatch disable", "ca-certs"),
        ('{"error": "Invalid Machine Token"}', "kernelops.livepatch.enable --limit web-01", "wait"),
        ("x509: certificate signed by unknown authority", "ca-certs", "disable"),
        ("proxyconnect tcp: dial tcp 192.0.2.7:3128: connect: connection refused", "https-proxy", "disable"),
        ("x509: certificate has expired or is not yet valid", "timedatectl", "disable"),
        ("dial tcp: lookup livepatch.canonical.com: no such host", "canonical-livepatch refresh", "disable"),
        ("server check-in failed: status 503", "wait", "ca-certs"),
        ("cannot write state: no space left on device", "df -h", "run the task again"),
        ("kernel 4.4.0-210-generic is not supported", "-e livepatch_force=true", "snap refresh"),
        ("The platform Ubuntu 16.04 is not supported", "snap refresh canonical-livepatch", "livepatch_force"),
        ("something else", "journalctl", "ca-certs"),
    ],
)
def test_the_journal_explains_a_failed_check(line: str, words: str, never: str) -> None:
    log = ("canonical-livepatch[811]: status 200", f"canonical-livepatch[811]: livepatch check failed: {line}")
    assessment = assess(a_host(client=a_client(check_state="check-failed"), client_log=log))
    reason = assessment["reasons"][0]
    assert (assessment["state"], reason["id"]) == ("failed", "check_failed")
    assert words in (reason["remedy"] or "")
    assert never not in (reason["remedy"] or "")
    assert line[:40] in reason["message"]


def test_an_answer_of_the_server_replaces_the_network_check() -> None:
    status = a_client(check_state="check-failed")
    unchecked = a_host(client=status, reachability=())
    assert "https-proxy" in (assess(unchecked)["reasons"][0]["remedy"] or "")
    answered = dataclasses.replace(unchecked, client_log=("livepatch check failed: bad server status 503",))
    assert "https-proxy" not in (assess(answered)["reasons"][0]["remedy"] or "")


def test_a_check_before_the_network_is_repeated() -> None:
    """The client last asked before the boot, and the host can reach the server now."""
    status = a_client(check_state="check-failed", last_check=NOW - 60 * MINUTE)
    reason = assess(a_host(client=status, uptime=18 * MINUTE))["reasons"][0]
    assert "name service" in reason["message"]
    assert (reason["remedy"] or "").startswith("refresh the client: canonical-livepatch refresh")


def test_a_check_that_failed_at_an_unknown_time_was_not_before_the_network() -> None:
    """Without an uptime, nothing shows that the client last asked before the boot."""
    status = a_client(check_state="check-failed", last_check=NOW - 60 * MINUTE)
    assert "name service" not in assess(a_host(client=status, uptime=None))["reasons"][0]["message"]


def test_a_full_disk_explains_a_patch_or_a_daemon_that_failed() -> None:
    log = ("canonical-livepatchd[7]: cannot write state: no space left on device", "canonical-livepatchd[7]: exiting")
    failed = a_host(patches=(), client=a_client(patch_state="apply-failed"), client_log=log)
    for facts, step in (
        (failed, "; then refresh the client: canonical-livepatch refresh"),
        (broken("daemon_down", client_log=log), "; then restart the daemon: systemctl restart"),
    ):
        reason = assess(facts)["reasons"][0]
        assert (reason["id"], step in (reason["remedy"] or "")) == ("disk_full", True)
    assert ids(broken("timed_out", client_log=log)) == ["timed_out"], "this client answers late"


# --- a client without a status ---


def test_a_client_of_another_release_is_stale() -> None:
    text = "livepatchd error: The platform Ubuntu 22.10 is not supported."
    facts = broken("platform_unsupported", text, os_release={"ID": "ubuntu", "VERSION_ID": "16.04"})
    assessment = assess(facts)
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("failed", "platform_stale")
    assert "22.10" in assessment["reasons"][0]["message"]
    assert "snap remove --purge canonical-livepatch" in (assessment["reasons"][0]["remedy"] or "")


def test_a_journal_shows_a_stale_client() -> None:
    log = ("livepatchd error: The platform Ubuntu 22.10 is not supported.",)
    assessment = assess(broken("daemon_down", client_log=log))
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("failed", "platform_stale")
    assert "22.10" in assessment["reasons"][0]["message"]
    assert (
        assess(broken("daemon_down", client_log=("upgraded from Ubuntu 22.10",)))["reasons"][0]["id"] == "daemon_down"
    )


def test_a_refusal_of_the_own_release_counts() -> None:
    text = "livepatchd error: The platform Ubuntu 16.04 is not supported."
    assert assess(broken("platform_unsupported", text))["state"] == "ineligible"


def test_the_last_words_of_a_daemon_are_shown() -> None:
    ended = ("systemd[1]: Started Service.", "canonical-livepatchd[7]: cannot load config: bad yaml")
    reason = assess(broken("daemon_down", client_log=ended))["reasons"][0]
    assert (reason["id"], reason["evidence"]) == ("daemon_down", list(ended))
    assert "cannot load config" in reason["message"]


def test_five_lines_of_a_journal_are_evidence() -> None:
    lines = tuple(f"canonical-livepatchd[7]: line {number}" for number in range(7))
    assert assess(broken("daemon_down", client_log=lines))["reasons"][0]["evidence"] == list(lines[-5:])


@pytest.mark.parametrize(("length", "end"), [(120, "y" * 5), (121, "y" * 5 + "…")])
def test_at_most_120_characters_of_a_line_are_quoted(length: int, end: str) -> None:
    line = "x" + "y" * (length - 1)
    message = assess(broken("daemon_down", client_log=(line,)))["reasons"][0]["message"]
    shown = message[message.index("x" + "y" * 9) :]
    assert (len(shown), shown[-len(end) :]) == (120, end)


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (("Only Ubuntu 16.04 LTS is supported, exiting.",), "Only Ubuntu 16.04 LTS"),
        (("canonical-livepatchd[9]: panic: boom", "systemd[1]: x: Scheduled restart job, counter 9."), "panic: boom"),
        (("systemd[1]: x: Start request repeated too quickly.",), "Start request repeated"),
        (
            ("systemd[1]: x: Main process exited.", "systemd[1]: x: Start request repeated too quickly."),
            "Start request",
        ),
    ],
)
def test_a_restart_loop_needs_another_snap(log: tuple[str, ...], shown: str) -> None:
    assessment = assess(broken("daemon_down", client_log=log))
    reason = assessment["reasons"][0]
    assert (assessment["state"], reason["id"]) == ("failed", "daemon_ends")
    assert shown in reason["message"]
    assert "snap refresh canonical-livepatch" in (reason["remedy"] or "")
    assert "systemctl restart" not in (reason["remedy"] or "")


@pytest.mark.parametrize(
    "text",
    [
        "Illegal instruction (core dumped)",
        "panic: runtime error: index out of range [3] with length 3",
        "runtime: failed to create new OS thread (have 2 already; errno=11)",
    ],
)
def test_a_text_instead_of_a_client_is_a_failure(text: str) -> None:
    assessment = assess(broken("unreadable_output", text))
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("failed", "unreadable_output")
    assert text[:60] in assessment["reasons"][0]["message"]


@pytest.mark.parametrize(
    ("text", "identifier", "words"),
    [
        ("livepatchd error: x509: certificate signed by unknown authority", "tls_untrusted", "ca-certs"),
        ("cannot write state: no space left on device", "disk_full", "df -h"),
        ("mkdir /run/user/0: read-only file system", "file_system_read_only", "mount"),
        ('{"error": "Invalid Machine Token"}'[1:-1], "machine_token_invalid", "enable"),
    ],
)
def test_a_known_text_instead_of_a_status_has_its_step(text: str, identifier: str, words: str) -> None:
    assessment = assess(broken("unreadable_output", text))
    reason = assessment["reasons"][0]
    assert (assessment["state"], reason["id"]) == ("failed", identifier)
    assert words in (reason["remedy"] or "")
    assert text in reason["message"]


@pytest.mark.parametrize("text", ["", '{"Client-Version": "v12"', "client-version: 12 status: [", "{}"])
def test_a_status_that_cannot_be_read_is_unknown(text: str) -> None:
    assert assess(broken("unreadable_output", text))["state"] == "unknown"
