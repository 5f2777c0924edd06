# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The facts that the probe reads on described hosts, and the time that hosts take which do not answer."""

from __future__ import annotations

import dataclasses
import datetime
import socket
import time
from collections.abc import Iterator

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import assess_eligibility
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import BlockedPatches
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts, Snapd, read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections, parse
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Check, Collector
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.lab.fleet import Fleet, running_fleet
from tests.lab.hosts.description import HOST_DESCRIPTIONS, WITNESSES, Description, load_descriptions
from tests.samples.facts import NOW, shipped

NONCE = "0f" * 16
WITNESS_HOSTS = sorted(set(load_descriptions(HOST_DESCRIPTIONS, WITNESSES)) - set(load_descriptions()))
HOSTS = [*WITNESS_HOSTS, "trusty", "not-enabled", "snapd-down", "xenial-generic"]
LATER = NOW + datetime.timedelta(days=270)
MOST_SECONDS = 20
"""The limit for a host with a client that hangs, and without a network."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("lab"), only=HOSTS) as fleet:
        yield fleet


def sections_of(lab: Fleet, host: str, *, network: bool = False, server: str = "") -> Sections:
    options = {"server": server, "network": "1" if network else "", "verify": "", "certificate": ""}
    done = lab.run(host, "/bin/sh -s", compose("probe", NONCE, options).encode())
    return parse(done.stdout.decode(), done.stderr.decode(), NONCE)


def facts_of(lab: Fleet, host: str, *, network: bool = False) -> HostFacts:
    sections = sections_of(lab, host, network=network)
    assert sections.complete
    return read_facts(sections)


def with_settings(host: Description, settings: dict[str, str]) -> Description:
    assert host.client is not None
    return dataclasses.replace(host, client=dataclasses.replace(host.client, settings=settings))


@pytest.mark.parametrize(
    ("host", "mode", "source"),
    [
        ("mode-stop-by-file", "stop", "file"),
        ("mode-stop-by-command-line", "stop", "kernel_command_line"),
        ("mode-no-apply-by-file", "no-apply", "file"),
        ("mode-no-apply-by-command-line", "no-apply", "kernel_command_line"),
        ("mode-no-refresh-by-file", "no-refresh", "file"),
        ("xenial-generic", "normal", "default"),
    ],
)
def test_the_mode_is_read(host: str, mode: str, source: str, lab: Fleet) -> None:
    found = facts_of(lab, host).mode
    assert found is not None
    assert (found.value, found.source) == (mode, source)


def test_only_the_mode_leaves_the_command_line(lab: Fleet) -> None:
    output = sections_of(lab, "mode-stop-by-command-line")["command_line"].output
    assert output.split() == ["canonical_livepatch_mode=stop"]


@pytest.mark.parametrize(
    ("host", "enabled"),
    [
        ("service-disabled", False),
        ("restart-loop", True),
        ("xenial-generic", True),
        ("both-servers", True),
        ("one-digit-upload", None),
    ],
)
def test_the_service_is_read(host: str, enabled: bool | None, lab: Fleet) -> None:
    assert facts_of(lab, host).service_enabled is enabled


def test_a_stopped_snapd_is_recognized(lab: Fleet) -> None:
    """Its version is that of the package, because `snap version` prints nothing within the time limit."""
    assert facts_of(lab, "snapd-down").snapd == Snapd(installed=True, version="2.61.4", answers=False)


def test_the_journal_is_asked_if_the_client_fails(lab: Fleet) -> None:
    loop = facts_of(lab, "restart-loop")
    assert loop.client is not None
    assert loop.client.error is not None
    assert loop.client_log[1] == "Only Ubuntu 16.04 LTS is supported, exiting."
    (line,) = facts_of(lab, "server-in-trouble").client_log
    assert "failed: status 503" in line
    assert "3a4677670bf56171497f78d366150fae" not in line, "the machine-id of the client"
    for host in ("xenial-generic", "not-enabled", "trusty", "one-digit-upload"):
        assert "client_log" not in sections_of(lab, host), host


def test_withheld_patches_are_read(lab: Fleet) -> None:
    facts = facts_of(lab, "cutoff-date-with-notices")
    assert facts.client is not None
    assert facts.client.blocked == BlockedPatches(("cutoff-date",), ("LSN-0108-1", "LSN-0109-1"))
    assert (facts.config or {})["cutoff-date"] == "2024-10-01T00:00:00Z"


def test_the_package_dates_a_kernel_whose_text_is_cut(lab: Fleet) -> None:
    kernel = facts_of(lab, "uname-cut").kernel
    assert kernel.build_date == datetime.datetime(2025, 6, 12, 15, 52, 10, tzinfo=datetime.timezone.utc)
    assert "kernel_times" not in sections_of(lab, "xenial-generic"), "no process where uname -v has a year"


def test_other_facts_are_read(lab: Fleet) -> None:
    assert facts_of(lab, "reboot-for-libc").reboot_packages == ("libc6", "dbus")
    assert facts_of(lab, "xenial-generic").reboot_packages == ()
    assert facts_of(lab, "trusty").codename == "trusty"
    fips = facts_of(lab, "one-digit-upload")
    assert fips.kernel.full == "4.15.0-1002.2-azure-fips"
    assert fips.installed_kernels == ("4.15.0-1002-azure-fips",)


def test_both_hosted_servers_are_asked(lab: Fleet) -> None:
    results = {}
    for host in ("one-of-two-servers", "both-servers"):
        servers = facts_of(lab, host, network=True).reachability
        results[host] = {each.url.split("//")[1].partition(":")[0]: each.outcome for each in servers}
    names = ("livepatch.canonical.com", "livepatch-files.canonical.com")
    assert results["one-of-two-servers"] == dict(zip(names, ("reached", "refused"), strict=True))
    assert results["both-servers"] == dict.fromkeys(names, "reached")


def check_of(facts: HostFacts, policy: str, identifier: str) -> Check:
    eligibility = assess_eligibility(facts, shipped(policy), collected_at=LATER)
    (found,) = [check for check in eligibility["checks"] if check["id"] == identifier]
    return found


def test_the_remedy_names_both_hosted_servers(lab: Fleet) -> None:
    check = check_of(facts_of(lab, "one-of-two-servers", network=True), "launch", "network")
    assert check["status"] == "fail"
    assert (check["found"] or "").startswith("https://livepatch-files.canonical.com:")
    assert " to livepatch.canonical.com and livepatch-files.canonical.com," in (check["remedy"] or "")


def test_the_age_of_a_kernel_whose_text_is_cut_is_known(lab: Fleet) -> None:
    check = check_of(facts_of(lab, "uname-cut"), "current", "kernel_age")
    assert (check["status"], check["found"], check["required"]) == ("warn", "17 months", "at most 9 months")


def test_a_hanging_client_costs_its_limit_only(lab: Fleet) -> None:
    """The server accepts the connection and never answers, so that the network takes its whole limit, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"https://127.0.0.1:{listener.getsockname()[1]}"
        started = time.monotonic()
        sections = sections_of(lab, "client-hangs", network=True, server=server)
        seconds = time.monotonic() - started
    facts = read_facts(sections)
    assert sections.complete
    assert [each.outcome for each in facts.reachability] == ["refused"]
    assert facts.client is not None
    assert facts.client.error is not None
    assert facts.client.error.id == "timed_out"
    assert facts.config is None
    assert "status plain" not in sections, "a client that has timed out is not asked again"
    assert seconds < MOST_SECONDS


def test_the_file_names_the_server_of_a_client_that_hangs(lab: Fleet) -> None:
    host = "client-hangs"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        server = f"https://127.0.0.1:{closed.getsockname()[1]}"
    lab.change(host, lambda now: with_settings(now, {"remote-server": server}))
    options = {"server": "", "network": "1", "verify": "", "certificate": ""}
    script = compose("probe", NONCE, options).replace("bounded 9", "bounded 1").replace("bounded 4", "bounded 1")
    done = lab.run(host, "/bin/sh -s", script.encode())
    (reached,) = read_facts(parse(done.stdout.decode(), done.stderr.decode(), NONCE)).reachability
    assert (reached.url, reached.outcome) == (server, "refused")


@pytest.mark.parametrize("policy", ["launch", "current"])
def test_described_hosts_have_their_states(policy: str, lab: Fleet) -> None:
    found, expected = {}, {}
    # Another test has measured the client that hangs.
    for host in sorted(set(WITNESS_HOSTS) - {"client-hangs"}):
        each = lab.hosts[host]
        server = lab.server if each.reaches is None else ""
        facts = read_facts(sections_of(lab, host, network=True, server=server))
        now = datetime.datetime.now(datetime.timezone.utc)
        collector = Collector(collection="2.0.0", ansible_core="2.19.0")
        record = make_record(host, facts, shipped(policy), collector=collector, collected_at=now)
        failing = (check["id"] for check in record["eligibility"]["checks"] if check["status"] == "fail")
        found[host] = (record["assessment"]["state"], record["eligibility"]["verdict"], tuple(sorted(failing)))
        expectation = each.expected(policy)
        expected[host] = (expectation.state, expectation.verdict, expectation.failing)
    assert found == expected
