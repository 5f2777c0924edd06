# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The plan of a reboot, and the parser of containers, with tables of cases."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import reboot_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.reboot_plan import KernelRebootError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import kernel
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import (
    Container,
    Runtime,
    Unfinished,
    read_boot_id,
    read_containers,
    read_runtimes,
    read_unfinished,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from tests.samples.facts import a_host

OLD, NEW = "4.4.0-21-generic", "4.4.0-210-generic"
THIS, ANOTHER = "1c7c9b3e-43a5-4f3c-9d9b-0a0c5a8f1e52", "2c7c9b3e-43a5-4f3c-9d9b-0a0c5a8f1e52"


def host(running: str | None, newest: str | None, **changes: t.Any) -> HostFacts:
    identity = kernel.identify(running, None, None, signature_absent=True, in_container=False)
    return dataclasses.replace(a_host(), kernel=identity, newest_installed=newest, **changes)


@pytest.mark.parametrize(
    ("running", "newest", "noted", "options", "step", "rebooted"),
    [
        (OLD, OLD, None, {}, "nothing", False),
        (OLD, NEW, None, {}, "reboot", False),
        (NEW, OLD, None, {}, "reboot", False),
        (OLD, None, None, {}, "nothing", False),
        (OLD, OLD, None, {"force": True}, "reboot", False),
        (OLD, NEW, None, {"kernel": OLD}, "nothing", False),
        (OLD, OLD, None, {"kernel": NEW}, "reboot", False),
        # The drain had started, but the host has not rebooted.
        (OLD, NEW, THIS, {}, "reboot", False),
        (OLD, OLD, THIS, {}, "finish", False),
        (OLD, OLD, THIS, {"force": True}, "reboot", False),
        # The host has rebooted: there is no second reboot.
        (NEW, NEW, ANOTHER, {}, "finish", True),
        (NEW, NEW, ANOTHER, {"force": True}, "finish", True),
        (OLD, NEW, ANOTHER, {}, "finish", True),
        # A truncated note does not contain a boot id.
        (OLD, NEW, "", {}, "reboot", False),
    ],
)
def test_the_note_decides_the_next_step(
    running: str, newest: str | None, noted: str | None, options: dict[str, t.Any], step: str, rebooted: bool
) -> None:
    unfinished = None if noted is None else Unfinished(noted or None, ())
    wanted = {"kernel": None, "force": False, **options}
    course = reboot_plan.plan_reboot(host(running, newest), THIS, unfinished, **wanted)
    assert (course.step, course.rebooted_before) == (step, rebooted)
    assert course.intended == (wanted["kernel"] or newest or running)


@pytest.mark.parametrize(("running", "boot_id"), [(None, THIS), (OLD, None)])
def test_a_host_without_boot_id_is_not_rebooted(running: str | None, boot_id: str | None) -> None:
    with pytest.raises(KernelRebootError) as caught:
        reboot_plan.plan_reboot(host(running, NEW), boot_id, None, kernel=None, force=True)
    assert caught.value.id == "boot_unknown"


STOP = {"docker": "stop", "podman": "stop", "lxd": "stop"}


@pytest.mark.parametrize(
    ("runtime", "counted", "policy", "error"),
    [
        (Runtime(True, (), ()), 0, "stop", None),
        (Runtime(False, (), ()), 0, "stop", None),
        (Runtime(False, (), ()), 3, "stop", "runtime_unresponsive"),
        (Runtime(False, (), ()), 3, "wait", "runtime_unresponsive"),
        (Runtime(False, (), ()), 3, "ignore", None),
        (Runtime(True, (), ("job",)), 1, "stop", "containers_would_vanish"),
        (Runtime(True, (), ("job",)), 1, "wait", None),
        (Runtime(True, (), ("job",)), 1, "ignore", None),
    ],
)
def test_undrainable_containers_are_named(runtime: Runtime, counted: int, policy: str, error: str | None) -> None:
    facts = host(OLD, NEW, containers={"docker": counted})
    policies = {**STOP, "docker": policy}
    if error is None:
        reboot_plan.refuse_undrainable(facts, {"docker": runtime}, policies)
        return
    with pytest.raises(KernelRebootError) as caught:
        reboot_plan.refuse_undrainable(facts, {"docker": runtime}, policies)
    assert caught.value.id == error


def test_returned_containers_are_compared() -> None:
    reboot_plan.check_kernel(NEW, NEW)
    with pytest.raises(KernelRebootError, match=f"{OLD}, and not with {NEW}"):
        reboot_plan.check_kernel(OLD, NEW)
    reboot_plan.check_containers([], "")
    with pytest.raises(KernelRebootError, match=r"db \(lxd\).*no space"):
        reboot_plan.check_containers([Container("lxd", "db")], "Error:\n no space")


# --- parsers ---


def test_container_lists_are_parsed() -> None:
    text = f"docker {'a' * 64} web\nlxd db db\nmember node-1 node-1\nevacuated db2 db2\n"
    text += "podman x\nreboot -f now\n\x1b[2J a b\n"
    assert read_containers(text) == (Container("docker", "web"), Container("lxd", "db"), Container("evacuated", "db2"))


def test_runtimes_are_parsed() -> None:
    read = read_runtimes(
        Sections(
            [
                Section("running docker", "ok", "docker abc web\n", exit_code=0),
                Section("vanishing docker", "ok", "true /job\nfalse /web\n", exit_code=0),
                Section("running podman", "timeout", exit_code=124),
                Section("running lxd", "ok", "", "Error: no daemon", exit_code=1),
            ],
            complete=True,
        )
    )
    assert read == {
        "docker": Runtime(True, (Container("docker", "web"),), ("job",)),
        "podman": Runtime(False, (), ()),
        "lxd": Runtime(False, (), ()),
    }


def test_the_note_is_parsed() -> None:
    def note(boot_id: str, code: int = 0) -> Unfinished | None:
        sections = [
            Section("kept_boot_id", "ok", boot_id, exit_code=code),
            Section("kept", "ok", "docker abc web\n", exit_code=code),
        ]
        return read_unfinished(Sections(sections, complete=True))

    assert note(f"{THIS}\n") == Unfinished(THIS, (Container("docker", "web"),))
    assert note("cut sho") == Unfinished(None, (Container("docker", "web"),))
    assert note("", 1) is None
    assert read_boot_id(Sections([Section("boot_id", "ok", f"{THIS}; reboot\n", exit_code=0)], complete=True)) is None
