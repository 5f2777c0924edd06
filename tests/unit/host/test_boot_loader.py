# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The kernel that GRUB starts, by configurations in the form of GRUB 2.02 (14.04) to 2.12 (24.04)."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.boot_loader import (
    BootChoice,
    choose_entry,
    read_boot_choice,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section
from tests.lab.hosts.grub import UUID, grub_configuration
from tests.samples.answers import answer, ok

OLD, NEW, MAINLINE = "5.4.0-42-generic", "5.4.0-216-generic", "5.7.7-050707-generic"
ADVANCED = f"gnulinux-advanced-{UUID}"


def by_id(release: str) -> str:
    return f"{ADVANCED}>gnulinux-{release}-advanced-{UUID}"


def by_title(release: str) -> str:
    return f"Advanced options for Ubuntu>Ubuntu, with Linux {release}"


def test_the_first_entry_is_started() -> None:
    choice = choose_entry(grub_configuration([MAINLINE, NEW, OLD]), "")
    assert (choice.release, choice.cause, choice.entry) == (MAINLINE, "order", "Ubuntu")
    assert choice.menu == {release: by_id(release) for release in (MAINLINE, NEW, OLD)}


@pytest.mark.parametrize(
    ("default", "release", "cause"),
    [
        ("0", MAINLINE, "order"),
        ("1>2", NEW, "default"),
        ("1 > 2", NEW, "default"),
        (by_id(NEW), NEW, "default"),
        (by_title(OLD), OLD, "default"),
        # Recovery mode waits at the console: no kernel is started as intended.
        (f"{by_title(OLD)} (recovery mode)", None, "default"),
        ("1>1", None, "default"),
        (f"gnulinux-simple-{UUID}", MAINLINE, "default"),
        # A submenu starts its first entry.
        ("1", MAINLINE, "default"),
        (ADVANCED, MAINLINE, "default"),
        # GRUB reads a number as C does, also one that other text follows.
        ("0x1", MAINLINE, "default"),
        ("1>0x2", NEW, "default"),
        ("1>4 kernels", OLD, "default"),
        ("010", MAINLINE, "order"),
        # What does not exist counts as the first entry.
        ("9", MAINLINE, "order"),
        ("Ubuntu, with Linux 1", MAINLINE, "order"),
        ("", MAINLINE, "order"),
    ],
)
def test_references_of_entries(default: str, release: str | None, cause: str) -> None:
    choice = choose_entry(grub_configuration([MAINLINE, NEW, OLD], default=default), "saved_entry=7\n")
    assert (choice.release, choice.cause) == (release, cause)


@pytest.mark.parametrize(
    ("environment", "release", "cause"),
    [
        ("", MAINLINE, "order"),
        (f"saved_entry={by_id(NEW)}\n", NEW, "saved_entry"),
        (f"# GRUB Environment Block\nsaved_entry={by_title(OLD)}\n#####", OLD, "saved_entry"),
        (f"saved_entry={by_id(NEW)}\nnext_entry={by_id(OLD)}\n", OLD, "next_entry"),
        ("saved_entry=0\nnext_entry=\n", MAINLINE, "order"),
    ],
)
def test_the_environment_selects_an_entry(environment: str, release: str, cause: str) -> None:
    choice = choose_entry(grub_configuration([MAINLINE, NEW, OLD], default="${saved_entry}"), environment)
    assert (choice.release, choice.cause) == (release, cause)


@pytest.mark.parametrize(
    "block",
    [
        f"GRUB Environment Block\nsaved_entry={by_id(OLD)}\nnext_entry={by_id(OLD)}\n" + "#" * 800,
        f"\0\0# GRUB Environment Block\nsaved_entry={by_id(OLD)}\n" + "#" * 800,
        f"# GRUB Environment BlocK\nsaved_entry={by_id(OLD)}\n" + "#" * 800,
        "\0" * 1024,
        "#" * 1024,
        "",
    ],
)
def test_a_damaged_environment_selects_nothing(block: str) -> None:
    """GRUB refuses a block without its head, and starts the first entry."""
    choice = choose_entry(grub_configuration([MAINLINE, NEW, OLD], default="${saved_entry}"), block)
    assert (choice.release, choice.cause) == (MAINLINE, "order")


def test_the_next_entry_counts_before_a_fixed_default() -> None:
    config = grub_configuration([MAINLINE, NEW, OLD], default=by_id(NEW))
    assert choose_entry(config, f"next_entry={by_title(OLD)}\n").release == OLD


def test_a_later_assignment_replaces_the_header() -> None:
    config = grub_configuration([MAINLINE, NEW, OLD]) + f'set default="{by_title(NEW)}"\n'
    assert choose_entry(config, "next_entry=0\n").release == NEW


def test_older_and_other_configurations() -> None:
    """No submenu, no identifiers, a signed image, /boot on its own file system, Xen, quotes in titles."""
    config = (
        "set default=\"2\"\nmenuentry 'Joe'\\''s \"own\" > entry' --class ubuntu {\n"
        "\tlinux\t/vmlinuz-4.4.0-9-generic ro\n}\n"
        "menuentry 'Memory test' {\n\tlinux16\t/memtest86+.bin\n}\n"
        'menuentry "Xen" --id xen {\n\tmultiboot\t/xen.gz\n\tmodule\t/vmlinuz-4.4.0-8-generic placeholder\n}\n'
        "menuentry 'EFI' --id=efi {\n\tlinuxefi\t/@/boot/vmlinuz-4.4.0-7-generic.efi.signed root=/dev/sda1\n}\n"
    )
    assert choose_entry(config, "").release == "4.4.0-8-generic"
    menu = choose_entry(config, "").menu
    assert menu == {
        "4.4.0-9-generic": 'Joe\'s "own" >> entry',
        "4.4.0-8-generic": "xen",
        "4.4.0-7-generic": "efi",
    }
    for release, reference in menu.items():
        assert choose_entry(config.replace('default="2"', f"default={shlex.quote(reference)}"), "").release == release
    memory_test = choose_entry(config.replace('"2"', "1"), "")
    assert (memory_test.release, memory_test.entry, memory_test.cause) == (None, "Memory test", "default")


def test_the_image_can_be_a_link() -> None:
    config = "menuentry 'Ubuntu' {\n linux /boot/vmlinuz root=/dev/vda1\n}\n"
    assert choose_entry(config, "", NEW).release == NEW


def test_cloud_images_choose_an_initial_ramdisk() -> None:
    config = (
        'menuentry "Ubuntu" {\n\tif [ "${initrdfail}" = 1 ]; then\n\t  linux\t/boot/vmlinuz-5.4.0-1009-aws ro\n\telse\n'
        "\t  linux\t/boot/vmlinuz-5.4.0-1009-aws ro panic=-1\n\tfi\n}\n"
    )
    assert choose_entry(config, "").release == "5.4.0-1009-aws"


@pytest.mark.parametrize(
    "config",
    [
        "",
        "# only a comment\n",
        grub_configuration([NEW]) + 'if [ "${x}" ]; then\n  set default="1>2"\nfi\n',
        grub_configuration([NEW]) + 'if [ "${x}" ]; then set default=1; fi\n',
        grub_configuration([NEW], default="${my_variable}"),
        "\n" * 20_001 + grub_configuration([NEW]),
    ],
)
def test_a_choice_that_is_not_known(config: str) -> None:
    choice = choose_entry(config, "")
    assert (choice.release, choice.cause) == (None, None)
    assert choice.problem


# --- the sections of a host


def test_the_configuration_counts_before_the_link() -> None:
    places = ok("boot_loader", f"ok /boot/grub/grub.cfg\nlink /vmlinuz boot/vmlinuz-{OLD}\n")
    config = ok("grub_cfg", grub_configuration([NEW, OLD], default="${saved_entry}"))
    env = ok("grub_env", f"saved_entry={by_id(OLD)}\n")
    assert read_boot_choice(answer(places, config)).release == NEW
    assert read_boot_choice(answer(places, config, env)).release == OLD


def test_without_grub_the_link_counts() -> None:
    places = ok("boot_loader", f"absent /boot/grub/grub.cfg\nlink /vmlinuz boot/vmlinuz-{OLD}\n")
    assert read_boot_choice(answer(places, ok("grub_cfg", "", 2))) == BootChoice(OLD, cause="link")


@pytest.mark.parametrize(
    "sections",
    [
        [],
        [ok("boot_loader", "absent /boot/grub/grub.cfg\n")],
        [ok("boot_loader", f"denied /boot/grub/grub.cfg\nlink /vmlinuz boot/vmlinuz-{OLD}\n")],
        [ok("boot_loader", "ok /boot/grub/grub.cfg\n"), Section("grub_cfg", "lost", grub_configuration([NEW]))],
        [ok("boot_loader", "ok /boot/grub/grub.cfg\n"), Section("grub_cfg", "ok", grub_configuration([NEW]), cut=True)],
        [ok("boot_loader", "link /vmlinuz /etc/passwd\n")],
    ],
)
def test_answers_without_a_known_choice(sections: list[Section]) -> None:
    choice = read_boot_choice(answer(*sections))
    assert (choice.release, choice.cause) == (None, None)
    assert choice.problem


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "submenu 'a' {",
                    "menuentry 'b' {",
                    "}",
                    "if x; then",
                    "fi",
                    "set default=1>0",
                    "linux /vmlinuz-1-1-x",
                    "{",
                ]
            ),
            st.text(max_size=30),
        ),
        max_size=60,
    ),
    st.text(max_size=80),
)
def test_no_configuration_raises(lines: list[str], environment: str) -> None:
    choose_entry("\n".join(lines), environment)


@pytest.mark.parametrize(
    "config", ["submenu 'a' {\n" * 19_000, "menuentry '" * 20_000, "menuentry 'a' {\n linux " + "/" * 200_000 + "\n}"]
)
def test_hostile_configurations_end(config: str) -> None:
    choose_entry(config, "next_entry=" + ">" * 10_000)


@pytest.mark.parametrize(
    ("line", "release"),
    [("loader systemd-boot 255.4-1ubuntu8", None), ("loader GRUB 2.12", NEW), ("loader", NEW), ("loader  ", NEW)],
)
def test_files_of_grub_do_not_count_for_systemd_boot(line: str, release: str | None) -> None:
    places = ok("boot_loader", f"ok /boot/grub/grub.cfg\n{line}\nlink /vmlinuz boot/vmlinuz-{NEW}\n")
    choice = read_boot_choice(answer(places, ok("grub_cfg", grub_configuration([NEW, OLD]))))
    assert choice.release == release
    assert (choice.problem is None) is (release is not None)


def test_a_kernel_that_is_loaded_for_kexec_counts_first() -> None:
    places = ok("boot_loader", "ok /boot/grub/grub.cfg\nkexec loaded\n")
    choice = read_boot_choice(answer(places, ok("grub_cfg", grub_configuration([NEW, OLD]))))
    assert choice == BootChoice(None, cause="kexec")


@pytest.mark.parametrize("lines", [5, 7, 14])
def test_a_configuration_that_was_cut_is_broken(lines: int) -> None:
    """The disk was full when it was written."""
    whole = grub_configuration([NEW, OLD])
    begin = whole.index("menuentry 'Ubuntu'")
    cut = whole[:begin] + "\n".join(whole[begin:].split("\n")[:lines])
    assert not choose_entry(whole, "").broken
    choice = choose_entry(cut, "")
    assert (choice.release, choice.broken) == (None, True)
