# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Real live patches in a real kernel: a machine in an emulator, reached by SSH, on which there is no Python."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._patches import module_file
from tests.integration.conftest import Ansible, Run
from tests.lab.fleet import Fleet
from tests.lab.vm.machine import NAME, POLICY, VirtualMachine
from tests.lab.vm.modules import patched_text

pytestmark = pytest.mark.vm

TOKEN = "made-up-token-for-the-virtual-machine"
CLIENT = "/snap/bin/canonical-livepatch"
PAYLOAD = "/var/snap/canonical-livepatch/common/payload"
SIGNER = "Live patch signing of lab"
FIXES = ["CVE-2026-10001", "CVE-2026-10002"]


@pytest.fixture
def machine(virtual_machine: VirtualMachine, vm_service: Fleet) -> VirtualMachine:
    """The machine without a patch and not enabled, and its server without a patch or a fault."""
    vm_service.set_faults()
    vm_service.state.remove_patches()
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
    return Ansible(tmp_path, {"ANSIBLE_INVENTORY": str(virtual_machine.inventory)})


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
    run = ansible.task("kernelops.livepatch.patch_info", NAME, **{**terms, **options})
    return t.cast("dict[str, t.Any]", result(run)["record"])


def reasons(found: dict[str, t.Any]) -> list[str]:
    return [reason["id"] for reason in found["assessment"]["reasons"]]


def without_checks(machine: VirtualMachine) -> None:
    """Let the client insert whatever it gets, as an attacker's would."""
    machine.read("mkdir -p /var/lib/livepatch-lab && touch /var/lib/livepatch-lab/careless")


def built_build_id(machine: VirtualMachine, version: str) -> str | None:
    """The build id in the file of a patch for the running kernel."""
    return module_file.read_module(machine.image.patch(machine.kernel, version).read_bytes()).build_id


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
        assert loaded["build_id"] == built_build_id(enabled, "1.1") is not None
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
    machine.read("cat /proc/lab_nap >/dev/null 2>&1 & sleep 1")
    with pytest.raises(RuntimeError):
        machine.insert("3.1", wait=3)
    (loaded,) = record(ansible, machine)["kernel_patches"]
    assert (loaded["enabled"], loaded["transition"]) == (True, True)
    machine.read("echo wake >/proc/lab_nap && sleep 3")
    (loaded,) = record(ansible, machine)["kernel_patches"]
    assert (loaded["enabled"], loaded["transition"]) == (True, False)
