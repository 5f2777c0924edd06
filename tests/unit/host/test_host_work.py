# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Answers of a host during patches, upgrades and reboots: packages, runs, containers, tasks, logs."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host import apt, containers
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import Change, InstallRun, Package
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import Container, Runtime, Unfinished
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import BlockingTask, read_refresh_output
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections

BOOT = "0c5a3d2e-1111-2222-3333-444455556666"


def sections(*found: Section, **outputs: str) -> Sections:
    plain = [Section(name.replace("__", " "), "ok", text, exit_code=0) for name, text in outputs.items()]
    return Sections([*found, *plain], complete=True)


# --- containers


def test_a_boot_id_is_validated() -> None:
    assert containers.read_boot_id(sections(boot_id=f"{BOOT}\n")) == BOOT
    for text in ("", "nonsense", f"{BOOT}\n{BOOT}"):
        assert containers.read_boot_id(sections(boot_id=text)) is None
    assert containers.read_boot_id(sections()) is None


def test_hostile_container_lines_are_ignored() -> None:
    text = (
        "docker ab12 web\npodman cd34 db-1\nmember m1 node1\nevacuated m1 vm\nrkt x y\ndocker a$(id) web\ndocker a b c"
    )
    assert containers.read_containers(text) == (
        Container("docker", "web"),
        Container("podman", "db-1"),
        Container("evacuated", "vm"),
    )


def test_runtimes_report_response_and_vanishing_containers() -> None:
    found = containers.read_runtimes(
        sections(
            Section("running podman", "timeout", "", exit_code=124),
            running__docker="docker ab12 web\n",
            vanishing__docker="true /web\nfalse /db\ntrue x y\n",
        )
    )
    assert found == {
        "docker": Runtime(True, (Container("docker", "web"),), ("web",)),
        "podman": Runtime(False, (), ()),
    }
    failed = sections(Section("running lxd", "ok", "", exit_code=1))
    assert containers.read_runtimes(failed)["lxd"].answers is False


def test_the_note_is_parsed() -> None:
    kept = sections(kept_boot_id=BOOT, kept="lxd c1 c1\n")
    assert containers.read_unfinished(kept) == Unfinished(BOOT, (Container("lxd", "c1"),))
    assert containers.read_unfinished(sections(kept_boot_id="?")) == Unfinished(None, ())
    assert containers.read_unfinished(sections(Section("kept_boot_id", "ok", "", exit_code=1))) is None
    assert containers.read_unfinished(sections()) is None


# --- packages


def test_kernel_packages_are_parsed() -> None:
    found = apt.read_kernel_packages(
        sections(
            packages=(
                "linux-image-4.4.0-210-generic 4.4.0-210.242 install ok installed\n"
                "linux-image-generic 4.4.0.210.216 hold ok installed\n"
                "linux-headers-generic 4.4.0.210.216 deinstall ok config-files\n"
                "known-by-name unknown ok not-installed\n"
                "$(id) 1 install ok installed\n"
            ),
            available="linux-image-4.4.0-215-generic\n\nnot a name\n",
            leads=(
                "linux-image-generic\n  Depends: linux-image-4.4.0-215-generic\n"
                " |Depends: linux-image-4.4.0-216-generic\n"
                "  Depends: linux-firmware\n  Recommends: linux-image-9\n"
            ),
            interrupted="dpkg was interrupted\n",
            boot_space="Filesystem 1024-blocks Used Available Capacity Mounted\n/dev/sda1 500 100 400 20% /boot\n",
            boot_sizes=(
                "7000 /boot/vmlinuz-4.4.0-210-generic\n30000\t/boot/initrd.img-4.4.0-210-generic\n5 /boot/grub\n"
            ),
        )
    )
    assert found is not None
    assert list(found.packages) == ["linux-image-4.4.0-210-generic", "linux-image-generic", "linux-headers-generic"]
    assert found.packages["linux-image-generic"] == Package("linux-image-generic", "4.4.0.210.216", True, True)
    assert not found.packages["linux-headers-generic"].installed
    assert found.available == ("linux-image-4.4.0-215-generic",)
    newer = ("linux-image-4.4.0-215-generic", "linux-image-4.4.0-216-generic")
    assert found.leads == {"linux-image-generic": newer}
    assert found.interrupted == ("dpkg was interrupted",)
    assert (found.boot_free, found.boot_used) == (400, {"4.4.0-210-generic": 37000})


def test_missing_apt_and_sparse_answers_are_accepted() -> None:
    assert apt.read_kernel_packages(sections()) is None
    assert apt.read_kernel_packages(sections(Section("packages", "absent"))) is None
    little = apt.read_kernel_packages(sections(packages="", boot_space="Filesystem\n? ? ? lots\n"))
    assert little is not None
    assert (little.packages, little.boot_free, little.boot_used, little.leads) == ({}, None, {}, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ended 0", InstallRun("ended", 0, "log")),
        ("ended 100", InstallRun("ended", 100, "log")),
        ("running", InstallRun("running", log="log")),
        ("lost", InstallRun("lost", log="log")),
        ("absent", InstallRun("absent")),
        ("", InstallRun("absent")),
        ("ended soon", InstallRun("lost", log="log")),
        ("rm -rf", InstallRun("lost", log="log")),
    ],
)
def test_the_state_of_a_run_is_parsed(text: str, expected: InstallRun) -> None:
    assert apt.read_run(sections(run=text, log="log")) == expected


def test_a_simulation_lists_the_changes() -> None:
    text = "Inst linux-image-x [1.0] (2.0 Ubuntu)\nInst new (1 Ubuntu)\nConf new\nRemv old [3]\nReading\n"
    assert apt.read_changes(text) == [
        Change("linux-image-x", "1.0", "2.0"),
        Change("new", None, "1"),
        Change("old", "3", None),
    ]


def test_a_kernel_check_names_missing_files() -> None:
    text = "ok /boot/vmlinuz-x\nabsent /boot/initrd.img-x\nabsent /boot/grub/grub.cfg\nentry /vmlinuz\n"
    found = apt.read_proof(sections(proof=text))
    assert (found.missing, found.entries) == (("/boot/initrd.img-x",), ("/vmlinuz",))
    assert apt.image_release("linux-image-unsigned-5.4.0-1-kvm") == "5.4.0-1-kvm"
    assert apt.image_release("linux-image-generic") is None


# --- the application of a patch


def test_a_successful_refresh_has_no_error() -> None:
    found = read_refresh_output(sections(refresh="Before refresh: …"))
    assert (found.refused, found.timed_out, found.removed, found.tasks) == (None, False, (), ())
    assert read_refresh_output(sections()).refused is None


def test_a_failed_refresh_has_an_error_id() -> None:
    section = Section("refresh", "ok", "", "Unknown Auth-Token", exit_code=1)
    assert (read_refresh_output(sections(section)).refused or pytest.fail("nothing")).id == "bad_token"
    late = read_refresh_output(sections(Section("refresh", "timeout", exit_code=124)))
    assert (late.refused, late.timed_out) == (None, True)
    lost = read_refresh_output(sections(Section("refresh", "lost")))
    assert (lost.refused or pytest.fail("nothing")).id == "interrupted"


def test_locks_tasks_and_logs_are_bounded() -> None:
    tasks = "".join(f"{7 + number} {7 + number} kvm\n" for number in range(50))
    found = read_refresh_output(
        sections(
            Section("removed b", "ok", "", exit_code=1),
            removed__a="",
            tasks=f"7 7 kvm\n7 7 again\nnonsense\n{tasks}",
            kernel_log="\n".join(f"line {number}" for number in range(30)),
            journal="x" * 1000 + "\n\x1b[2Jred\n\n",
        )
    )
    assert found.removed == ("a",)
    assert len(found.tasks) == 20
    assert found.tasks[:2] == (BlockingTask(7, 7, "kvm"), BlockingTask(8, 8, "kvm"))
    assert (len(found.kernel_log), found.kernel_log[-1]) == (20, "line 29")
    assert len(found.journal[0]) == 300
    assert "\x1b" not in found.journal[1]
