# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""`kernel_upgrade` as a user runs it: what it installs, what it refuses, and what survives when things break off."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import read_kernel_packages
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Description

from .conftest import Ansible
from .shells import SHELLS, each_shell
from .upgrading import (
    LIKE,
    NEW,
    OLD,
    Hosts,
    set_reachable,
    shell_on,
    wait_until,
    with_tools_of_the_host,
)

MODULE = "kernelops.livepatch.kernel_upgrade"
READING = ("apt-cache ", "apt-get -s ", "dpkg --", "systemd-detect-virt", "snap version", "canonical-livepatch status")
NONCE = "0f" * 16


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Hosts]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), 30, LIKE) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


@pytest.fixture
def ansible(tmp_path: Path, hosts: Hosts) -> Ansible:
    return Ansible(tmp_path, hosts.fleet.variables)


def needs_none(host: Description) -> Description:
    client = dataclasses.replace(
        host.client, patch_state="nothing-to-apply", supported="supported", upgrade_required_in=20
    )
    return dataclasses.replace(host, client=client)


def on_disk(fleet: Fleet, name: str) -> list[str]:
    return sorted(path.name for path in (fleet.root(name) / "boot").glob("vmlinuz-*"))


@pytest.mark.matrix
def test_check_then_run_then_again(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next()
    before = on_disk(hosts.fleet, host)

    foreseen = ansible.task(MODULE, host, "--check", "--diff").result(host)
    assert foreseen["changed"] is True, foreseen
    assert (foreseen["from"], foreseen["to"], foreseen["reboot_needed"]) == (OLD, NEW, True)
    assert [reason["id"] for reason in foreseen["reasons"]] == ["kernel_upgrade_required"]
    assert f"linux-image-{NEW} 4.4.0-262.296" in foreseen["diff"]["after"]
    assert f"linux-image-{NEW}" not in foreseen["diff"]["before"]
    assert "linux-generic 4.4.0.261.267" in foreseen["diff"]["before"]
    assert on_disk(hosts.fleet, host) == before
    changing = [
        line
        for line in hosts.fleet.commands(host)
        if not line.startswith(READING) and "canonical-livepatch" not in line
    ]
    assert changing == []

    done = ansible.task(MODULE, host).result(host)
    assert done["changed"] is True, done
    assert done["packages"] == foreseen["packages"]
    assert {"name": f"linux-image-{NEW}", "old": None, "new": "4.4.0-262.296"} in done["packages"]
    assert (done["from"], done["to"], done["reboot_needed"]) == (OLD, NEW, True)
    # Seen from the host itself: installed by the metapackages, and not running yet.
    assert f"vmlinuz-{NEW}" in on_disk(hosts.fleet, host)
    (installed,) = hosts.said(host, "apt-get -y")
    assert installed.endswith("install linux-generic linux-headers-generic linux-image-generic")
    assert "--no-remove" in installed
    assert "Dpkg::Options::=--force-confold" in installed
    assert hosts.kernel(host) == OLD

    again = ansible.task(MODULE, host).result(host)
    assert again["changed"] is False, again
    assert (again["to"], again["reboot_needed"]) == (NEW, True)
    assert len(hosts.said(host, "apt-get -y")) == 1


def test_a_host_that_needs_none_is_let_be(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(needs_none)
    result = ansible.task(MODULE, host).result(host)
    assert (result["kind"], result["changed"], result["needed"], result["reboot_needed"]) == ("ok", False, False, False)
    assert result["from"] == result["to"] == OLD
    assert hosts.said(host, "apt-get") == []

    soon = ansible.task(MODULE, host, "--check", within_days=30).result(host)
    assert (soon["needed"], soon["to"]) == (True, NEW)
    assert [reason["id"] for reason in soon["reasons"]] == ["upgrade_due_soon"]
    assert ansible.task(MODULE, host, "--check", within_days=10).result(host)["needed"] is False
    assert ansible.task(MODULE, host, "--check", force=True).result(host)["to"] == NEW


def test_without_a_metapackage_the_image_comes_with_what_the_running_kernel_has(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(installed={f"linux-headers-{OLD}": "4.4.0-261.295"})
    result = ansible.task(MODULE, host).result(host)
    assert sorted(package["name"] for package in result["packages"]) == [f"linux-headers-{NEW}", f"linux-image-{NEW}"]


def test_another_series_and_flavour_can_be_asked_for(hosts: Hosts, ansible: Ansible) -> None:
    newer = "4.15.0-142.146~16.04.1-generic"
    host = hosts.next(kernels=(newer, "4.4.0-262.296-generic", "4.4.0-263.297-lowlatency"))
    assert ansible.task(MODULE, host, "--check").result(host)["to"] == NEW
    assert ansible.task(MODULE, host, "--check", series="4.15").result(host)["to"] == "4.15.0-142-generic"
    flavour = ansible.task(MODULE, host, "--check", flavour="lowlatency").result(host)
    assert flavour["to"] == "4.4.0-263-lowlatency"


def test_a_lock_is_waited_for(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(locked_for="8s")
    started = time.monotonic()
    result = ansible.task(MODULE, host).result(host)
    assert result["changed"] is True, result
    assert time.monotonic() - started > 8
    assert len(hosts.said(host, "apt-get -q update")) > 1


def refused(ansible: Ansible, hosts: Hosts, host: str, error_id: str, **options: t.Any) -> dict[str, t.Any]:
    """The failure of a run that leaves the host's kernels as they are."""
    before = on_disk(hosts.fleet, host)
    result = ansible.task(MODULE, host, **options).result(host)
    assert result["kind"] == "failed", result
    assert result["error_id"] == error_id, result
    assert result["remedy"]
    assert result["remedy"] in result["msg"]
    assert on_disk(hosts.fleet, host) == before
    return result


def test_a_lock_that_stays_is_a_failure(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(locked_for="1h")
    refused(ansible, hosts, host, "apt_locked", lock_timeout=1)


def test_held_packages_are_respected_and_named(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(held=("linux-image-generic",))
    result = refused(ansible, hosts, host, "packages_held")
    assert "linux-image-generic" in result["msg"]
    assert result["to"] == NEW
    assert hosts.said(host, "apt-get -y") == []


def test_a_full_boot_folder_is_seen_before_anything_is_installed(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(boot_free=0)
    refused(ansible, hosts, host, "boot_full")
    assert hosts.said(host, "apt-get -y") == []


def test_an_interrupted_dpkg_is_repaired_first_or_reported(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(interrupted=True)
    refused(ansible, hosts, host, "dpkg_interrupted", repair=False)
    result = ansible.task(MODULE, host).result(host)
    assert (result["changed"], result["repaired"]) == (True, True), result
    order = [line.split()[0] for line in hosts.fleet.commands(host) if "--configure" in line or "-y" in line.split()]
    assert order == ["dpkg", "apt-get"]


def test_what_a_failed_run_left_is_repaired_by_the_next(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(fault="dpkg")
    refused(ansible, hosts, host, "dpkg_failed")
    apt = hosts.fleet.current(host).describe().apt
    assert apt is not None
    assert apt.interrupted
    hosts.change(host, apt=dataclasses.replace(apt, fault=None))
    result = ansible.task(MODULE, host).result(host)
    assert (result["changed"], result["repaired"], result["to"]) == (True, True, NEW), result


def test_an_archive_that_does_not_answer_is_a_failure_that_names_it(hosts: Hosts, ansible: Ansible) -> None:
    result = refused(ansible, hosts, hosts.next(fault="fetch"), "archive_unreachable")
    assert "archive.lab.test" in result["msg"]
    assert "warnings" in result


def test_no_newer_kernel_is_a_failure_for_a_host_that_needs_one(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(kernels=("4.4.0-262.296-lowlatency",), leads={})
    foreseen = ansible.task(MODULE, host, "--check").result(host)
    assert (foreseen["kind"], foreseen["needed"], foreseen["changed"]) == ("ok", True, False), "its lists may be old"
    assert "fetches them anew" in foreseen["warnings"][0]
    result = refused(ansible, hosts, host, "no_newer_kernel")
    assert "4.4" in result["msg"]
    assert "generic" in result["msg"]


@pytest.mark.parametrize(("fault", "error_id"), [("initrd", "kernel_incomplete"), ("grub", "no_boot_entry")])
def test_a_kernel_that_could_not_boot_is_no_success(fault: str, error_id: str, hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(fault=fault)
    if fault == "grub":
        # The link of the kernel's package would do as well.
        hosts.change(host, files={"/vmlinuz-is-no-link": ""})
    result = ansible.task(MODULE, host).result(host)
    assert (result["kind"], result["error_id"]) == ("failed", error_id), result
    assert NEW in result["msg"]
    assert "do not reboot" in result["remedy"]
    # And it stays one, until it is mended.
    assert ansible.task(MODULE, host).result(host)["error_id"] == error_id


def test_a_container_is_refused_with_what_to_upgrade_instead(fleet: Fleet, tmp_path: Path) -> None:
    ansible = Ansible(tmp_path, fleet.variables)
    for host in ("lxd-container", "docker-container", "wsl"):
        result = ansible.task(MODULE, host, force=True).result(host)
        assert (result["kind"], result["error_id"]) == ("failed", "container"), result
    assert "machine that runs this container" in ansible.task(MODULE, "lxd-container").result("lxd-container")["msg"]
    assert ansible.task(MODULE, "not-root", force=True).result("not-root")["error_id"] == "not_root"


# --- what breaks off ---


def test_the_run_goes_on_when_the_controller_is_killed_and_the_next_one_waits_for_it(
    hosts: Hosts, ansible: Ansible
) -> None:
    host = hosts.next(takes="8s")
    with ansible.start_task(MODULE, host) as run:
        assert run.reaches(lambda: bool(hosts.said(host, "apt-get -y")))
    assert f"vmlinuz-{NEW}" not in on_disk(hosts.fleet, host)

    busy = ansible.task(MODULE, host, "--check").result(host)
    assert busy["error_id"] == "run_in_progress", busy
    result = ansible.task(MODULE, host).result(host)
    assert result["kind"] == "ok", result
    assert (result["to"], result["reboot_needed"]) == (NEW, True)
    assert len(hosts.said(host, "apt-get -y")) == 1


def test_a_connection_that_drops_while_apt_works_is_taken_up_again(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(takes="6s")

    def cut() -> None:
        wait_until(lambda: bool(hosts.said(host, "apt-get -y")))
        set_reachable(hosts.fleet, host, False)
        time.sleep(8)
        set_reachable(hosts.fleet, host, True)

    cutting = threading.Thread(target=cut)
    cutting.start()
    result = ansible.task(MODULE, host).result(host)
    cutting.join()
    assert (result["kind"], result["changed"], result["to"]) == ("ok", True, NEW), result
    assert len(hosts.said(host, "apt-get -y")) == 1


def test_a_deadline_ends_the_wait_and_not_the_run(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next(takes="12s")
    result = ansible.task(MODULE, host, timeout=5).result(host)
    assert (result["kind"], result["error_id"]) == ("failed", "upgrade_timed_out"), result
    wait_until(lambda: f"vmlinuz-{NEW}" in on_disk(hosts.fleet, host))


def test_what_runs_on_the_host_is_for_root_alone(hosts: Hosts, ansible: Ansible) -> None:
    host = hosts.next()
    assert ansible.task(MODULE, host).result(host)["changed"]
    folder = hosts.fleet.root(host) / "run/kernelops-livepatch/kernel_upgrade"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "exit").read_text("ascii") == "0\n"


# --- shells ---


def variables(task: str, **more: str) -> dict[str, str]:
    texts = {"task": task, "server": "", "network": "", "packages": "", "release": "", "repair": "", "wait": "0"}
    return {**texts, "lock_wait": "5", **more}


@each_shell
def test_every_shell_installs_alike(shell: str, hosts: Hosts) -> None:
    source = shutil.which(SHELLS[shell].split()[0])
    if source is None:
        pytest.skip(f"{shell} is not installed on this machine")
    host = hosts.next(interrupted=True)
    command = shell_on(hosts.fleet, host, shell, Path(source))

    def run(task: str, **more: str) -> t.Any:
        script = compose(("probe", "kernel_upgrade"), NONCE, variables(task, **more))
        done = hosts.fleet.run(host, f"{command} -s", with_tools_of_the_host(script, shell).encode())
        sections = parse(done.stdout.decode(), done.stderr.decode(), NONCE)
        assert sections.complete, (done.stdout, done.stderr)
        return sections

    found = read_kernel_packages(run("look"))
    assert found is not None
    assert found.leads["linux-image-generic"] == (f"linux-image-{NEW}",)
    assert f"linux-image-{NEW}" in found.available
    assert found.interrupted
    assert (found.boot_free, set(found.boot_used)) == (200 * 1024, {OLD})
    assert run("refresh").output("refresh")
    started = run("start", packages=f"linux-image-{NEW}", repair="1")
    assert started.output("start") == "started"
    assert f"Inst linux-image-{NEW}" in started["simulation"].output
    wait_until((hosts.fleet.root(host) / "run/kernelops-livepatch/kernel_upgrade/exit").exists)
    ended = run("wait", wait="5", release=NEW)
    assert ended.output("run") == "ended 0"
    assert "entry /boot/grub/grub.cfg" in ended["proof"].output
    assert "entry /vmlinuz" in ended["proof"].output
    assert f"ok /boot/initrd.img-{NEW}" in ended["proof"].output
