# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Real live patches in a real kernel: a machine in an emulator, reached by SSH, on which there is no Python."""

from __future__ import annotations

import re
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible, Run
from tests.lab.fleet import Fleet
from tests.lab.vm.kernel_modules import patched_text
from tests.lab.vm.virtual_machine import NAME, POLICY, VirtualMachine

pytestmark = pytest.mark.vm

TOKEN = "made-up-token-for-the-virtual-machine"
CLIENT = "/snap/bin/canonical-livepatch"
PAYLOAD = "/var/snap/canonical-livepatch/common/payload"
SIGNER = "Live patch signing of lab"
FIXES = ["CVE-2026-10001", "CVE-2026-10002"]
FOREIGN = "6.99.0-069900-generic"
"""A kernel of Ubuntu's mainline archive, which has no live patches."""


@pytest.fixture
def machine(virtual_machine: VirtualMachine, vm_service: Fleet) -> VirtualMachine:
    """The machine without a patch and not enabled, and its server without a patch or a fault."""
    vm_service.set_faults()
    vm_service.state.remove_patches()
    vm_service.state.set_support({})
    vm_service.set_tokens({TOKEN: {}})
    virtual_machine.reset()
    return virtual_machine


@pytest.fixture
def enabled(machine: VirtualMachine) -> VirtualMachine:
    """The machine with an enabled client that has not asked its server for a patch yet."""
    machine.read(f"{CLIENT} config remote-server={machine.server} && {CLIENT} enable {TOKEN}")
    return machine


@pytest.fixture
def ansible(tmp_path: Path, virtual_machine: VirtualMachine) -> Ansible:
    """Ansible with the machine as its inventory."""
    return Ansible(tmp_path, {"ANSIBLE_INVENTORY": str(virtual_machine.inventory)}, timeout=1200)


def result(run: Run) -> dict[str, t.Any]:
    """What the task that ended well returned."""
    assert run.code == 0, run.output
    return run.result(NAME)


def record(ansible: Ansible, machine: VirtualMachine, **options: t.Any) -> dict[str, t.Any]:
    """The machine's record, for somebody who trusts the lab's key and asks the lab's server."""
    terms = {
        "policy": str(POLICY),
        "server": machine.server,
        "trusted_certificates": [str(machine.image.certificate())],
    }
    for _attempt in range(3):
        run = ansible.task("kernelops.livepatch.patch_info", NAME, **{**terms, **options})
        found = t.cast("dict[str, t.Any]", result(run)["record"])
        # An emulator that shares its processor can be slower than the time limit for answers of the client.
        if "timed_out" not in reasons(found):
            break
    return found


def patch(ansible: Ansible, machine: VirtualMachine, *words: str, **options: t.Any) -> Run:
    """A run of the module `patch` by somebody who trusts the lab's key."""
    terms = {"policy": str(POLICY), "network": False, "trusted_certificates": [str(machine.image.certificate())]}
    return ansible.task("kernelops.livepatch.patch", NAME, *words, **{**terms, **options})


def failure(run: Run) -> dict[str, t.Any]:
    """What the task that failed returned."""
    assert run.code == 2, run.output
    return run.result(NAME)


def inserted(machine: VirtualMachine) -> list[str]:
    """The patches in the kernel, and what its log says of any since the machine was put in order."""
    return machine.read("ls /sys/kernel/livepatch; dmesg | grep -e lkp_ || true").splitlines()


def reasons(found: dict[str, t.Any]) -> list[str]:
    return [reason["id"] for reason in found["assessment"]["reasons"]]


def without_checks(machine: VirtualMachine) -> None:
    """Let the client insert whatever it gets, as an attacker's would."""
    machine.read("mkdir -p /var/lib/livepatch-lab && touch /var/lib/livepatch-lab/careless")


def built_build_id(machine: VirtualMachine, version: str) -> str | None:
    """Return the build id in the file of a patch for the running kernel."""
    notes = subprocess.run(
        ["readelf", "--notes", str(machine.image.patch(machine.kernel, version))],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"Build ID: ([0-9a-f]+)", notes)
    return found[1] if found else None


def test_no_python_is_on_the_machine(virtual_machine: VirtualMachine) -> None:
    found = virtual_machine.run("command -v python3 python python2; find / -xdev -name 'python*' -type f -perm /111")
    assert (found.stdout, found.stderr) == ("", "")


def test_a_policy_of_the_operators_admits_the_machine(ansible: Ansible, machine: VirtualMachine) -> None:
    found = result(
        ansible.task("kernelops.livepatch.eligibility_info", NAME, policy=str(POLICY), server=machine.server)
    )
    statuses = {check["id"]: check["status"] for check in found["checks"]}
    assert {name for name, status in statuses.items() if status != "pass"} == set(), found["checks"]
    assert found["verdict"] == "eligible"
    kernel = found["system"]["kernel"]
    assert (kernel["release"], kernel["full"]) == (machine.kernel.release, machine.kernel.full)
    assert (kernel["series"], kernel["flavour"], kernel["origin"]) == ("6.1", "cloud-amd64", "ubuntu")
    assert machine.image.kernels[0].release == kernel["release"], "the older of the two kernels runs"


def test_what_the_kernel_runs_is_verified_by_the_file_it_came_from(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet
) -> None:
    before = record(ansible, enabled)
    assert before["kernel_patches"] == []
    assert (before["client"]["enabled"], before["patch"]["version"]) == (True, None)
    vm_service.add_patch(*enabled.archive("1.1"), fixes=FIXES)
    enabled.read(f"{CLIENT} refresh")
    assert enabled.read("cat /proc/cmdline") == patched_text("1.1")

    by_digest, by_file = record(ansible, enabled), record(ansible, enabled, verify="file")
    for after in (by_digest, by_file):
        assert after["assessment"]["state"] == "protected", after["assessment"]
        assert (after["patch"]["state"], after["patch"]["version"]) == ("applied", "1.1")
        assert [fix["cve"] for fix in after["patch"]["fixes"]] == FIXES
        (loaded,) = after["kernel_patches"]
        assert loaded["module"] == enabled.image.patch(enabled.kernel, "1.1").stem
        assert (loaded["enabled"], loaded["transition"]) == (True, False)
        assert loaded["build_id"]
        assert loaded["build_id"] == built_build_id(enabled, "1.1")
        assert set(loaded["taint"]) == set("KOE"), "this kernel does not carry the lab's key"
        assert (loaded["verification"]["result"], loaded["verification"]["signer"]) == ("verified", SIGNER)
    levels = [after["kernel_patches"][0]["verification"]["level"] for after in (by_digest, by_file)]
    assert levels == ["digest", "file"]


def test_who_does_not_trust_the_key_is_told_of_tampering(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet
) -> None:
    vm_service.add_patch(*enabled.archive("1.1"))
    enabled.read(f"{CLIENT} refresh")
    found = record(ansible, enabled, trusted_certificates=[str(enabled.image.certificate("stranger"))])
    assert found["assessment"]["state"] == "tampered"
    assert reasons(found) == ["wrong_signer"]


@pytest.mark.parametrize(("signer", "reason"), [("stranger", "wrong_signer"), ("unsigned", "signature_failed")])
def test_a_module_that_is_not_signed_by_the_key_is_tampering(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet, signer: str, reason: str
) -> None:
    without_checks(enabled)
    vm_service.add_patch(*enabled.archive("1.1", signer))
    enabled.read(f"{CLIENT} refresh")
    assert enabled.read("cat /proc/cmdline") == patched_text("1.1"), "the kernel itself takes it"
    for verify in ("auto", "file"):
        found = record(ansible, enabled, verify=verify)
        assert found["patch"]["state"] == "applied", "the client's word is not enough"
        assert (found["assessment"]["state"], reasons(found)) == ("tampered", [reason]), verify


def test_a_module_that_runs_and_is_not_the_file_is_tampering(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet
) -> None:
    """The file that is kept is genuine, but of another module than the one in memory."""
    vm_service.add_patch(*enabled.archive("1.1"))
    enabled.read(f"{CLIENT} refresh")
    name = enabled.image.patch(enabled.kernel, "1.1").name
    enabled.write(f"{PAYLOAD}/{name}", enabled.image.patch(enabled.kernel, "2.1").read_bytes())
    for verify in ("auto", "file"):
        found = record(ansible, enabled, verify=verify)
        assert (found["assessment"]["state"], reasons(found)) == ("tampered", ["build_id_differs"]), verify


def test_a_patch_that_a_sleeping_task_holds_up_is_in_transition(ansible: Ansible, machine: VirtualMachine) -> None:
    machine.read("cat /proc/lab_sleep >/dev/null 2>&1 & sleep 1")
    with pytest.raises(RuntimeError):
        machine.insert("3.1", wait=3)
    (loaded,) = record(ansible, machine)["kernel_patches"]
    assert (loaded["enabled"], loaded["transition"]) == (True, True)
    machine.read("echo wake >/proc/lab_sleep && sleep 3")
    (loaded,) = record(ansible, machine)["kernel_patches"]
    assert (loaded["enabled"], loaded["transition"]) == (True, False)


def test_patch_applies_what_is_published_and_then_what_replaces_it(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet
) -> None:
    cmdline = enabled.read("cat /proc/cmdline")
    vm_service.add_patch(*enabled.archive("1.1"), fixes=FIXES)
    result(patch(ansible, enabled, "--check"))
    assert enabled.read("cat /proc/cmdline") == cmdline, "check mode changes nothing"

    first = result(patch(ansible, enabled))
    assert (first["changed"], first["version"]) == (True, "1.1")
    assert enabled.read("cat /proc/cmdline") == patched_text("1.1")
    assert first["record"]["assessment"]["state"] == "protected", first["record"]["assessment"]
    (loaded,) = first["record"]["kernel_patches"]
    assert (loaded["verification"]["level"], loaded["verification"]["signer"]) == ("file", SIGNER)
    assert loaded["build_id"]
    assert loaded["build_id"] == built_build_id(enabled, "1.1")

    assert result(patch(ansible, enabled))["changed"] is False

    vm_service.add_patch(*enabled.archive("2.1"), fixes=FIXES)
    second = result(patch(ansible, enabled))
    assert (second["changed"], second["previous_version"], second["version"]) == (True, "1.1", "2.1")
    assert enabled.read("cat /proc/cmdline") == patched_text("2.1")
    (loaded,) = second["record"]["kernel_patches"]
    assert loaded["build_id"]
    assert loaded["build_id"] == built_build_id(enabled, "2.1")
    assert second["record"]["assessment"]["state"] == "protected"


@pytest.mark.parametrize("fault", ["wrong hash", "cut off", "truncated archive"])
def test_what_is_damaged_on_its_way_never_reaches_the_kernel(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet, fault: str
) -> None:
    name, archive = enabled.archive("1.1")
    vm_service.add_patch(name, archive[: len(archive) // 2] if fault == "truncated archive" else archive)
    if fault == "wrong hash":
        vm_service.set_faults(hash=True)
    elif fault == "cut off":
        vm_service.set_faults(path="/v1/patches/", cut=1000)
    enabled.read("dmesg --clear")
    failed = failure(patch(ansible, enabled, timeout=60))
    assert failed["changed"] is False
    assert failed["record"]["kernel_patches"] == []
    assert any("/v1/patches/" in request["path"] for request in vm_service.requests()), "it was fetched"
    assert inserted(enabled) == []
    assert not enabled.read("cat /proc/cmdline").startswith("live patch")


@pytest.mark.parametrize(("signer", "reason"), [("stranger", "wrong_signer"), ("unsigned", "signature_failed")])
def test_patch_fails_where_a_client_inserts_what_is_not_signed_by_the_key(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet, signer: str, reason: str
) -> None:
    without_checks(enabled)
    vm_service.add_patch(*enabled.archive("1.1", signer))
    failed = failure(patch(ansible, enabled))
    assert enabled.read("cat /proc/cmdline") == patched_text("1.1"), "the kernel itself takes it"
    assert (failed["changed"], failed["record"]["assessment"]["state"]) == (True, "tampered")
    assert reasons(failed["record"]) == [reason]


def test_a_task_that_holds_up_a_transition_is_named_and_can_be_waited_for(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet
) -> None:
    # A program under a name of its own: what is reported must be this one and no other.
    enabled.read("cp /bin/cat /root/late-sleeper; /root/late-sleeper /proc/lab_sleep >/dev/null 2>&1 & sleep 1")
    vm_service.add_patch(*enabled.archive("3.1"))
    stalled = failure(patch(ansible, enabled, timeout=45))
    assert "late-sleeper" in stalled["msg"]
    assert [task["name"] for task in stalled["tasks"]] == ["late-sleeper"]
    assert [loaded["transition"] for loaded in stalled["record"]["kernel_patches"]] == [True]
    assert stalled["record"]["assessment"]["state"] == "applying"

    enabled.read("echo wake >/proc/lab_sleep && sleep 3")
    ended = result(patch(ansible, enabled))
    assert (ended["version"], ended["tasks"]) == ("3.1", [])
    assert ended["record"]["assessment"]["state"] == "protected", ended["record"]["assessment"]
    assert enabled.read("cat /proc/cmdline") == patched_text("3.1")


def test_a_kernel_that_only_an_upgrade_helps_is_upgraded_rebooted_and_patched(
    ansible: Ansible, enabled: VirtualMachine, vm_service: Fleet
) -> None:
    """From here on the machine runs its newer kernel."""
    older, newer = enabled.image.kernels
    boot_id = enabled.read("cat /proc/sys/kernel/random/boot_id")
    vm_service.state.set_support({older.full: "kernel-upgrade-required"})
    enabled.read(f"apt-get -q update && {CLIENT} refresh")
    assert record(ansible, enabled)["assessment"]["state"] == "upgrade_required"
    assert enabled.run(f"test -e /boot/vmlinuz-{newer.release}").returncode == 1

    terms = {"livepatch_policy": str(POLICY), "livepatch_network": False}
    run = ansible.playbook("kernelops.livepatch.upgrade", **terms)
    assert run.code == 0, run.output
    assert enabled.read("uname -r") == newer.release
    later_boot_id = enabled.read("cat /proc/sys/kernel/random/boot_id")
    assert later_boot_id != boot_id
    installed = enabled.read(f"dpkg-query -W -f '${{Status}} ${{Version}}' linux-image-{newer.release}")
    assert installed == f"install ok installed {newer.package_version}"

    vm_service.add_patch(*enabled.archive("1.1"), fixes=FIXES)
    patched = result(patch(ansible, enabled))
    assert (patched["changed"], patched["version"]) == (True, "1.1")
    assert enabled.read("cat /proc/cmdline") == patched_text("1.1")
    assert patched["record"]["system"]["kernel"]["full"] == newer.full
    assert patched["record"]["assessment"]["state"] == "protected", patched["record"]["assessment"]
    (loaded,) = patched["record"]["kernel_patches"]
    assert loaded["verification"]["level"] == "file"
    assert loaded["build_id"]
    assert loaded["build_id"] == built_build_id(enabled, "1.1")

    again = ansible.playbook("kernelops.livepatch.upgrade", **terms)
    assert again.code == 0, again.output
    assert enabled.read("cat /proc/sys/kernel/random/boot_id") == later_boot_id, (
        "a host that needs none is not rebooted"
    )


def test_grub_starts_the_intended_kernel_beside_a_foreign_one(ansible: Ansible, machine: VirtualMachine) -> None:
    """GRUB sorts the foreign kernel first. Its files are those of another kernel, and its name shows who started."""
    older, newer = machine.image.kernels
    intended = older.release if machine.read("uname -r") == newer.release else newer.release
    if intended == newer.release:
        machine.read("apt-get -q update && apt-get -q -y install linux-image-cloud-amd64")
    for name in ("vmlinuz", "initrd.img"):
        machine.read(f"cp /boot/{name}-{older.release} /boot/{name}-{FOREIGN}")
    machine.read(f"/usr/lib/livepatch-lab/kernel-hook {older.release}")
    boot_id = machine.read("cat /proc/sys/kernel/random/boot_id")
    options = {"kernel": intended, "require_protected": False, "delay": 0}

    refused = failure(ansible.task("kernelops.livepatch.kernel_reboot", NAME, **options))
    assert refused["error_id"] == "boot_order"
    assert FOREIGN in refused["msg"]
    assert machine.read("cat /proc/sys/kernel/random/boot_id") == boot_id

    rebooted = result(ansible.task("kernelops.livepatch.kernel_reboot", NAME, boot_entry="set", **options))
    assert rebooted["rebooted"] is True
    assert machine.read("uname -r") == intended
    assert f"BOOT_IMAGE=/boot/vmlinuz-{intended} " in machine.read("cat /proc/cmdline")
    assert "next_entry=gnulinux" not in machine.read("grub-editenv list"), "GRUB has used it up"


def test_a_kernel_that_panics_returns_to_the_default_one(ansible: Ansible, machine: VirtualMachine) -> None:
    """The selected kernel finds no root file system. It panics, and GRUB has already used up the selection."""
    older, newer = machine.image.kernels
    if machine.run(f"test -e /boot/vmlinuz-{newer.release}").returncode != 0:
        machine.read("apt-get -q update && apt-get -q -y install linux-image-cloud-amd64")
    running, broken = machine.read("uname -r"), older.release
    if running == broken:
        broken = newer.release
    # The default entry is the first one: a copy of the running kernel.
    for name in ("vmlinuz", "initrd.img"):
        machine.read(f"cp /boot/{name}-{running} /boot/{name}-{FOREIGN}")
    machine.read(f"/usr/lib/livepatch-lab/kernel-hook {running}")
    machine.read(f"cd $(mktemp -d) && echo . | busybox cpio -o -H newc >/boot/initrd.img-{broken}")
    boot_id = machine.read("cat /proc/sys/kernel/random/boot_id")

    options = {"kernel": broken, "require_protected": False, "delay": 0, "boot_entry": "set"}
    returned = failure(ansible.task("kernelops.livepatch.kernel_reboot", NAME, **options))
    assert returned["error_id"] == "old_kernel"
    assert f"booted {running} instead of {broken}" in returned["msg"]
    assert machine.read("cat /proc/sys/kernel/random/boot_id") != boot_id
