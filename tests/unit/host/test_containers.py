# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Running containers, boot ids, and the saved list of an interrupted reboot, as a host prints them."""

from __future__ import annotations

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host import containers
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import (
    Container,
    Runtime,
    SavedContainers,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section
from tests.samples.answers import answer, ok

BOOT = "0c5a3d2e-1111-2222-3333-444455556666"


def test_a_boot_id_is_a_uuid() -> None:
    assert containers.read_boot_id(answer(ok("boot_id", f"{BOOT}\n"))) == BOOT
    assert containers.read_boot_id(answer()) is None


@pytest.mark.parametrize("output", ["", "nonsense", f"{BOOT}\n{BOOT}", f"{BOOT}; reboot"])
def test_other_text_is_no_boot_id(output: str) -> None:
    assert containers.read_boot_id(answer(ok("boot_id", output))) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("docker ab12 web", Container("docker", "web")),
        (f"docker {'a' * 64} web", Container("docker", "web")),
        ("podman cd34 db-1", Container("podman", "db-1")),
        ("lxd db db", Container("lxd", "db")),
        ("evacuated m1 vm", Container("evacuated", "vm")),
        # A member of a cluster is not a container.
        ("member m1 node1", None),
        ("rkt x y", None),
        ("podman x", None),
        ("docker a b c", None),
        ("docker a$(id) web", None),
        ("reboot -f now", None),
        ("\x1b[2J a b", None),
    ],
)
def test_a_container_is_a_line(line: str, expected: Container | None) -> None:
    assert containers.read_containers(f"{line}\n") == ((expected,) if expected else ())


def test_runtimes_are_read_by_name() -> None:
    sections = answer(
        ok("running docker", "docker ab12 web\n"),
        ok("auto_removed docker", "true /job\nfalse /web\ntrue x y\n"),
        Section("running podman", "timeout", exit_code=124),
        ok("running lxd", "", 1, "Error: no daemon"),
    )
    assert containers.read_runtimes(sections) == {
        "docker": Runtime(True, (Container("docker", "web"),), ("job",)),
        "podman": Runtime(False, (), ()),
        "lxd": Runtime(False, (), ()),
    }


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            [ok("saved_boot_id", f"{BOOT}\n"), ok("saved", "lxd c1 c1\n")],
            SavedContainers(BOOT, (Container("lxd", "c1"),)),
        ),
        (
            [ok("saved_boot_id", "cut sho"), ok("saved", "lxd c1 c1\n")],
            SavedContainers(None, (Container("lxd", "c1"),)),
        ),
        ([ok("saved_boot_id", "?")], SavedContainers(None, ())),
        ([ok("saved_boot_id", "", 1), ok("saved", "", 1)], None),
        ([], None),
    ],
)
def test_the_saved_list_is_read(sections: list[Section], expected: SavedContainers | None) -> None:
    assert containers.read_saved_containers(answer(*sections)) == expected
