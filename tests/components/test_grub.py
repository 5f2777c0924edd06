# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The core names the kernel that GRUB starts: a real GRUB in an emulator starts the same entry.

Instead of a kernel, each entry of the menu writes its release to GRUB's environment block, and reboots.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.boot_loader import BootChoice, read_boot_choice
from tests.lab.hosts.grub import UUID, grub_configuration
from tests.lab.vm.grub_disk import GRUB, PARTITION_START, SYSTEM_PATH, fill_partition, write_boot_loader
from tests.samples.answers import answer, ok

pytestmark = pytest.mark.oracle

FOREIGN, INTENDED, OLD = "5.7.7-050707-generic", "5.4.0-216-generic", "5.4.0-42-generic"
ADVANCED = f"gnulinux-advanced-{UUID}"
SIZE = 16 << 20
_TOOLS = ("debugfs", "grub-editenv", "grub-mkimage", "mke2fs", "qemu-system-x86_64")


@dataclasses.dataclass(frozen=True)
class Case:
    """A default of the configuration, and variables of the environment block. `starts` is the kernel that starts.

    In `recovery` mode, it does not start as a reboot needs it.
    """

    starts: str
    default: str = "0"
    environment: tuple[str, ...] = ()
    recovery: bool = False


CASES = {
    "the first entry": Case(FOREIGN),
    "an index": Case(INTENDED, "1>2"),
    "an index of a recovery mode": Case(OLD, "1>5", recovery=True),
    "identifiers": Case(INTENDED, f"{ADVANCED}>gnulinux-{INTENDED}-advanced-{UUID}"),
    "titles": Case(OLD, f"Advanced options for Ubuntu>Ubuntu, with Linux {OLD}"),
    "an entry that does not exist": Case(FOREIGN, "gnulinux-none"),
    "a submenu": Case(FOREIGN, ADVANCED),
    "a saved entry": Case(OLD, "${saved_entry}", (f"saved_entry={ADVANCED}>gnulinux-{OLD}-advanced-{UUID}",)),
    "no saved entry": Case(FOREIGN, "${saved_entry}"),
    "the next entry": Case(INTENDED, "0", (f"next_entry={ADVANCED}>gnulinux-{INTENDED}-advanced-{UUID}",)),
    "the next entry before a saved one": Case(
        INTENDED, "${saved_entry}", (f"saved_entry={ADVANCED}>1", f"next_entry={ADVANCED}>2")
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=SYSTEM_PATH) is None]
    if missing or not (GRUB / "boot.img").is_file():
        pytest.skip(f"this machine lacks {', '.join(missing) or 'GRUB for a BIOS (grub-pc-bin)'}")


def run(*command: str) -> str:
    environment = {**os.environ, "PATH": SYSTEM_PATH}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=300).stdout


def recording(configuration: str) -> str:
    """Return the configuration with entries that write their release, and without a wait for a person."""
    recorded = re.sub(r"\tlinux\t/boot/vmlinuz-(\S+) .*", r"\tset booted=\1\n\tsave_env booted", configuration)
    recorded = re.sub(r"\tinitrd\t.*", "\treboot", recorded)
    recorded = re.sub(r"^(terminal_output gfxterm|\trecordfail|\tload_video|\tinsmod ext2)\n", "", recorded, flags=re.M)
    return f"set timeout=0\n{recorded}"


def boot(folder: Path, configuration: str, environment: tuple[str, ...]) -> tuple[str, str]:
    """Start GRUB once. Return its environment block before and after."""
    block, disk = folder / "root/boot/grub/grubenv", folder / "disk.img"
    block.parent.mkdir(parents=True)
    (block.parent / "grub.cfg").write_text(recording(configuration), encoding="utf-8")
    run("grub-editenv", str(block), "create")
    for setting in environment:
        run("grub-editenv", str(block), "set", setting)
    run(*fill_partition(disk, folder / "root", SIZE))
    write_boot_loader(disk, folder, SIZE)
    machine = ("-accel", "tcg", "-m", "128", "-display", "none", "-monitor", "none", "-no-reboot")
    run("qemu-system-x86_64", *machine, "-drive", f"file={disk},format=raw,if=virtio")
    return block.read_text("utf-8"), run("debugfs", "-R", "cat /boot/grub/grubenv", f"{disk}?offset={PARTITION_START}")


def predicted(configuration: str, block: str) -> BootChoice:
    places = ok("boot_loader", "ok /boot/grub/grub.cfg\n")
    return read_boot_choice(answer(places, ok("grub_cfg", configuration), ok("grub_env", block)))


@pytest.mark.parametrize("name", CASES)
def test_grub_starts_the_named_kernel(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    configuration = grub_configuration([FOREIGN, INTENDED, OLD], default=case.default)
    before, after = boot(tmp_path, configuration, case.environment)
    choice = predicted(configuration, before)
    assert (choice.release, choice.problem) == (None if case.recovery else case.starts, None)
    assert ("recovery" in str(choice.entry)) is case.recovery
    assert re.findall(r"^booted=(.*)$", after, re.MULTILINE) == [case.starts]


def test_a_selected_entry_is_started_once(tmp_path: Path) -> None:
    """The entry that the core selects for the next boot; after it, GRUB starts the foreign kernel again."""
    configuration = grub_configuration([FOREIGN, INTENDED])
    entry = predicted(configuration, "# GRUB Environment Block\n").menu[INTENDED]
    _before, after = boot(tmp_path, configuration, (f"next_entry={entry}",))
    assert f"\nbooted={INTENDED}\n" in after
    assert f"\nnext_entry={entry}" not in after
    assert predicted(configuration, after).release == FOREIGN
