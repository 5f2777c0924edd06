# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""`kernel_upgrade` as a user runs it: installations, refusals, and runs that end early.

Waits and their deadlines are tests of the task, in `tests/unit/tasks/test_kernel_upgrade.py`.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Description

from .conftest import Ansible
from .shells import SHELLS
from .upgrading import LIKE, NEW, OLD, Hosts

MODULE = "kernelops.livepatch.kernel_upgrade"
# The calls of doubles that change nothing.
READING = ("apt-cache ", "apt-get -s ", "dpkg --", "systemd-detect-virt", "snap version", "canonical-livepatch ")
WAS_LOCKED = (
    "dpkg: error: dpkg frontend lock was locked by another process with pid 4602\n"
    "Note: removing the lock file is always wrong, can damage the locked area"
)
"""The text of dpkg since Ubuntu 22.04."""
RUN = "run/kernelops-livepatch/kernel_upgrade"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Hosts]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), 47, LIKE) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


@pytest.fixture
def ansible(tmp_path: Path, hosts: Hosts) -> Ansible:
    return Ansible(tmp_path, hosts.fleet.variables)


def needs_none(host: Description) -> Description:
    """Return the host with a client that has nothing to apply, and whose patches end in 20 days."""
    assert host.client is not None
    client = dataclasses.replace(
        host.client, patch_state="nothing-to-apply", supported="supported", upgrade_required_in=20
    )
    return dataclasses.replace(host, client=client)


@pytest.mark.matrix
def test_a_kernel_is_installed_once(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.take()
    checked = ansible.task(MODULE, host, "--check", "--diff").result(host)
    assert checked["changed"] is True, checked
    assert (checked["from"], checked["to"], checked["reboot_needed"]) == (OLD, NEW, True)
    assert [reason["id"] for reason in checked["reasons"]] == ["kernel_upgrade_required"]
    assert f"linux-image-{NEW} 4.4.0-262.296" in checked["diff"]["after"]
    assert f"linux-image-{NEW}" not in checked["diff"]["before"]
    assert "linux-generic 4.4.0.261.267" in checked["diff"]["before"]
    assert hosts.kernels(host) == [OLD]
    assert [command for command in hosts.commands(host, "") if not command.startswith(READING)] == []

    done = ansible.task(MODULE, host).result(host)
    assert (done["kind"], done["changed"]) == ("ok", True), done
    assert done["packages"] == checked["packages"]
    assert {"name": f"linux-image-{NEW}", "old": None, "new": "4.4.0-262.296"} in done["packages"]
    assert (done["from"], done["to"], done["reboot_needed"]) == (OLD, NEW, True)
    # The metapackages have installed it, and it does not run yet.
    assert hosts.kernels(host) == [OLD, NEW]
    (installed,) = hosts.commands(host, "apt-get -y")
    assert installed.endswith("install linux-generic linux-headers-generic linux-image-generic")
    assert "--no-remove" in installed
    assert "Dpkg::Options::=--force-confold" in installed
    assert hosts.kernel(host) == OLD
    assert hosts.file(host, RUN).stat().st_mode & 0o077 == 0
    assert (hosts.file(host, RUN) / "exit").read_text("ascii") == "0\n"

    again = ansible.task(MODULE, host).result(host)
    assert again["changed"] is False, again
    assert (again["to"], again["reboot_needed"]) == (NEW, True)
    assert len(hosts.commands(host, "apt-get -y")) == 1


def test_check_mode_shows_the_selected_kernel(hosts: Hosts, ansible: Ansible) -> None:
    kernels = ("4.15.0-142.146~16.04.1-generic", "4.4.0-262.296-generic", "4.4.0-263.297-lowlatency")
    without_newer = hosts.take(kernels=("4.4.0-262.296-lowlatency",), leads={})
    expected: dict[str, tuple[dict[str, t.Any], str | None]] = {
        hosts.take(needs_none): ({}, None),
        hosts.take(needs_none): ({"within_days": 10}, None),
        hosts.take(needs_none): ({"within_days": 30}, NEW),
        hosts.take(needs_none): ({"force": True}, NEW),
        hosts.take(kernels=kernels): ({}, NEW),
        hosts.take(kernels=kernels): ({"series": "4.15"}, "4.15.0-142-generic"),
        hosts.take(kernels=kernels): ({"flavour": "lowlatency"}, "4.4.0-263-lowlatency"),
        without_newer: ({}, OLD),
    }
    results = ansible.cases(MODULE, {host: options for host, (options, _target) in expected.items()}, "--check")
    for host, (options, target) in expected.items():
        assert (results[host]["kind"], results[host]["needed"]) == ("ok", target is not None), (options, results[host])
        assert results[host]["to"] == (target or OLD), options
        assert hosts.commands(host, "apt-get -q update", "apt-get -y") == []
    assert "refreshes the lists first" in results[without_newer]["warnings"][-1]


def with_kernel(**fields: t.Any) -> Callable[[Description], Description]:
    """Return a change of the kernel of a host, whose client does not report support."""

    def changed(host: Description) -> Description:
        assert host.client is not None
        client = dataclasses.replace(host.client, version="8.0.2", patch_state="nothing-to-apply", supported=None)
        return dataclasses.replace(host, kernel=dataclasses.replace(host.kernel, **fields), client=client)

    return changed


def test_the_installed_metapackage_defines_the_target(hosts: Hosts, ansible: Ansible) -> None:
    hwe = "linux-image-generic-hwe-16.04"
    rolled = {
        "kernels": ("4.15.0-142.146~16.04.1-generic",),
        "leads": {hwe: "4.15.0-142.146~16.04.1-generic"},
        "installed": {hwe: "4.13.0.37.56"},
    }
    mainline = "4.4.23-040423-generic"
    rolling = hosts.take(with_kernel(full="4.13.0-37.42~16.04.1-generic", upstream="4.13.13"), **rolled)
    same_series = hosts.take(
        lambda host: dataclasses.replace(host, kernel=dataclasses.replace(host.kernel, also_installed=(mainline,))),
        kernels=("4.4.0-262.296-generic", "4.4.23-040423.202002281329-generic"),
    )
    foreign = hosts.take(
        with_kernel(
            full=None,
            release="4.19.0-041900-generic",
            version="#202207312230 SMP Sun Jul 31 22:34:11 UTC 2022",
            also_installed=("4.15.0-142-generic",),
        ),
        **{**rolled, "installed": {hwe: "4.15.0.142.137"}},
    )
    results = ansible.cases(MODULE, {rolling: {}, same_series: {}, foreign: {"force": True}})
    assert [reason["id"] for reason in results[rolling]["reasons"]] == ["series_ended"], results[rolling]
    assert (results[rolling]["kind"], results[rolling]["to"]) == ("ok", "4.15.0-142-generic")
    assert (results[same_series]["kind"], results[same_series]["to"]) == ("ok", NEW), results[same_series]
    assert NEW in hosts.kernels(same_series)
    assert (results[foreign]["kind"], results[foreign]["to"]) == ("ok", "4.15.0-142-generic"), results[foreign]
    assert (results[foreign]["changed"], results[foreign]["reboot_needed"]) == (False, True)


def test_hosts_that_cannot_be_upgraded_are_named(hosts: Hosts, ansible: Ansible) -> None:
    cases: dict[str, tuple[dict[str, t.Any], str, str]] = {
        hosts.take(held=("linux-image-generic",)): ({}, "packages_held", "linux-image-generic"),
        hosts.take(boot_free=0): ({}, "boot_full", "/boot"),
        hosts.take(interrupted=True): ({"repair": False}, "dpkg_interrupted", "dpkg"),
        hosts.take(fault="fetch"): ({}, "archive_unreachable", "archive.lab.test"),
        hosts.take(fault="dpkg"): ({}, "dpkg_failed", "returned an error code"),
        hosts.take(locked_for="1h"): ({"lock_timeout": 0}, "apt_locked", "Could not get lock"),
        hosts.take(kernels=("4.4.0-262.296-lowlatency",), leads={}): ({}, "no_newer_kernel", "flavour generic"),
        hosts.take(fault="boot-full"): ({}, "disk_full", "/boot is full"),
        hosts.take(fault="contradiction"): ({}, "impossible_request", "linux-headers-generic (= 4.4.0.261.267)"),
        hosts.take(fault="unmet"): ({"repair": False}, "apt_broken", "apt-get -f install"),
        hosts.take(fault="credentials"): ({}, "pro_credentials", "pro refresh"),
        hosts.take(fault="module"): ({}, "module_build_failed", "wireguard/1.0"),
        hosts.take(locked_for="1h", interrupted=True, lock_text=WAS_LOCKED): (
            {"lock_timeout": 0},
            "apt_locked",
            "pid 4602",
        ),
    }
    results = ansible.cases(MODULE, {host: options for host, (options, *_rest) in cases.items()})
    for host, (_options, error_id, text) in cases.items():
        result = results[host]
        assert (result["kind"], result.get("error_id")) == ("failed", error_id), result
        assert text in result["msg"]
        assert result["remedy"][1:] in result["msg"]
        assert result["to"] in (OLD, NEW)
        assert hosts.kernels(host) == [OLD], error_id
    refused = [
        host for host, (_options, error_id, _text) in cases.items() if error_id in ("packages_held", "boot_full")
    ]
    assert [hosts.commands(host, "apt-get -y") for host in refused] == [[], []]


def test_special_hosts_are_upgraded(hosts: Hosts, ansible: Ansible) -> None:
    supported = hosts.take(needs_none)
    bare = hosts.take(installed={f"linux-headers-{OLD}": "4.4.0-261.295"})
    interrupted = hosts.take(interrupted=True)
    locked = hosts.take(locked_for="1s")
    # unattended-upgrades leaves the same traces as an interrupted run.
    working = hosts.take(locked_for="1s", interrupted=True, lock_text=WAS_LOCKED)
    broken = hosts.take(fault="unmet")
    results = ansible.cases(MODULE, {host: {} for host in (supported, bare, interrupted, locked, working, broken)})
    assert {result["kind"] for result in results.values()} == {"ok"}, results

    assert (results[supported]["changed"], results[supported]["reboot_needed"]) == (False, False)
    assert hosts.commands(supported, "apt-get") == []
    # Without a metapackage, the image is installed with the packages that the running kernel has.
    names = [package["name"] for package in results[bare]["packages"]]
    assert sorted(names) == [f"linux-headers-{NEW}", f"linux-image-{NEW}"]
    assert results[interrupted]["repaired"] is True
    order = [command.split()[0] for command in hosts.commands(interrupted, "dpkg --force", "apt-get -y")]
    assert order == ["dpkg", "apt-get"]
    assert len(hosts.commands(locked, "apt-get -q update")) == 2
    assert hosts.kernels(locked) == hosts.kernels(working) == hosts.kernels(broken) == [OLD, NEW]
    assert results[broken]["repaired"] is True
    assert [command.rpartition(" -o ")[2].split(" ", 1)[1] for command in hosts.commands(broken, "apt-get -y")][
        1:2
    ] == ["-f install"]


def test_a_kernel_must_be_bootable(hosts: Hosts, ansible: Ansible) -> None:
    expected = {
        hosts.take(fault="initrd"): "kernel_incomplete",
        hosts.take(fault="empty"): "kernel_incomplete",
        hosts.take(fault="grub"): "no_boot_entry",
    }
    for host in expected:
        # The link of the kernel package would also refer to the kernel.
        hosts.change(host, files={"/vmlinuz-is-no-link": ""})
    for _run in range(2):
        results = ansible.cases(MODULE, {host: {} for host in expected})
        assert {host: result.get("error_id") for host, result in results.items()} == expected
        assert all(NEW in result["msg"] and "do not reboot" in result["remedy"] for result in results.values())


def test_containers_and_foreign_logins_are_refused(fleet: Fleet, tmp_path: Path) -> None:
    expected = {
        "lxd-container": "container",
        "docker-container": "container",
        "wsl": "container",
        "not-root": "not_root",
    }
    results = Ansible(tmp_path, fleet.variables).cases(MODULE, {host: {"force": True} for host in expected})
    assert {host: result["error_id"] for host, result in results.items()} == expected
    assert "machine that runs this container" in results["lxd-container"]["msg"]


# --- runs that end early


def test_apt_continues_without_its_controller(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.take()
    with hosts.fleet.hold(host, "apt-get install") as installing, hosts.fleet.hold(host, "setsid exit") as ended:
        with ansible.start_task(MODULE, host) as run:
            installing.wait(run.process)
        assert hosts.kernels(host) == [OLD]
        busy = ansible.task(MODULE, host, "--check").result(host)
        assert (busy["kind"], busy["error_id"]) == ("failed", "run_in_progress"), busy
        late = ansible.task(MODULE, host, timeout=1).result(host)
        assert (late["kind"], late["error_id"]) == ("failed", "upgrade_timed_out"), late
        installing.release()
        ended.wait()
    assert hosts.kernels(host) == [OLD, NEW]
    result = ansible.task(MODULE, host).result(host)
    assert (result["kind"], result["to"], result["reboot_needed"]) == ("ok", NEW, True), result
    assert len(hosts.commands(host, "apt-get -y")) == 1


def test_the_next_run_repairs_a_failed_one(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.take(fault="dpkg")
    assert ansible.task(MODULE, host).result(host)["error_id"] == "dpkg_failed"
    assert list(hosts.file(host, "var/lib/dpkg/updates").iterdir()) != []
    hosts.change_apt(host, fault=None)
    result = ansible.task(MODULE, host).result(host)
    assert (result["changed"], result["repaired"], result["to"]) == (True, True, NEW), result


# --- shells


def test_every_shell_installs_alike(hosts: Hosts, ansible: Ansible) -> None:
    found = hosts.with_shells(lambda: hosts.take(interrupted=True))
    results = ansible.cases(MODULE, {host: {} for host in found.values()})
    expected = results[found["dash"]]
    for shell, host in found.items():
        assert (results[host]["kind"], results[host]["repaired"]) == ("ok", True), (shell, results[host])
        assert (results[host]["to"], results[host]["packages"]) == (NEW, expected["packages"])
        assert hosts.kernels(host) == [OLD, NEW]
    if len(found) < len(SHELLS):
        pytest.skip(f"only these shells are installed: {', '.join(found)}")
