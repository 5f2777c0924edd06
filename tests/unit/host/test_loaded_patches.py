# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Live patches as sysfs shows them, and the keys of /proc/keys."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.loaded_patches import (
    LIVE_PATCH_KEY_ID,
    CarriedKey,
    ModuleReport,
    SysfsPatch,
    carried_keys,
    carries_key,
    parse_patches,
)

MODULE = "lkp_Ubuntu_4_4_0_47_68_generic_15"
BUILD_ID = "5d" * 20


def note(descriptor: bytes = bytes.fromhex(BUILD_ID), name: bytes = b"GNU\0", kind: int = 3, order: str = "<") -> bytes:
    padding = b"\0" * (-len(name) % 4), b"\0" * (-len(descriptor) % 4)
    header = struct.pack(f"{order}3I", len(name), len(descriptor), kind)
    return header + name + padding[0] + descriptor + padding[1]


def sysfs(module: str = MODULE, **contents: str) -> dict[str, str]:
    """Paths of one patch: `enabled` and `transition` below livepatch/, the others below module/."""
    below = {"enabled": "/sys/kernel/livepatch", "transition": "/sys/kernel/livepatch"}
    return {f"{below.get(name, '/sys/module')}/{module}/{name}": text for name, text in contents.items()}


def only(files: dict[str, str], notes: dict[str, str] | None = None) -> SysfsPatch:
    (patch,) = parse_patches(files, reports(notes or {}))
    return patch


def reports(notes: dict[str, str]) -> dict[str, ModuleReport]:
    return {module: ModuleReport(dump) for module, dump in notes.items()}


def test_every_field_of_a_patch() -> None:
    files = sysfs(enabled="1\n", transition="0\n", srcversion="1C0FFEE5A1AD0B5E55ED001\n", taint="OEK\n")
    assert only(files, {MODULE: note().hex()}) == SysfsPatch(
        module=MODULE,
        enabled=True,
        transition=False,
        build_id=BUILD_ID,
        srcversion="1C0FFEE5A1AD0B5E55ED001",
        taint="OEK",
    )


def test_kernel_without_transition_file() -> None:
    patch = only(sysfs(enabled="1\n"))
    assert patch == SysfsPatch(MODULE, True, None, None, None, None)


def test_patch_whose_files_could_not_be_read_is_still_listed() -> None:
    assert only({f"/sys/kernel/livepatch/{MODULE}": ""}) == SysfsPatch(MODULE, None, None, None, None, None)


def test_patches_are_ordered_and_modules_that_patch_nothing_left_out() -> None:
    files = sysfs("b_patch", enabled="0") | sysfs("a_patch", enabled="1", transition="1") | sysfs("nf_tables", taint="")
    patches = parse_patches(files, reports({"b_patch": note(b"\x02" * 20).hex(), "xfs": note().hex()}))
    assert [(p.module, p.enabled, p.transition, p.build_id) for p in patches] == [
        ("a_patch", True, True, None),
        ("b_patch", False, None, "02" * 20),
    ]


def test_module_without_taint_is_known_to_have_none() -> None:
    assert only(sysfs(enabled="1", taint="\n")).taint == ""


@pytest.mark.parametrize("content", ["", "2", "yes", "1 1", "\x00", "1" * 5000])
def test_malformed_flags_are_not_known(content: str) -> None:
    patch = only(sysfs(enabled=content, transition=content))
    assert (patch.enabled, patch.transition) == (None, None)


@pytest.mark.parametrize("content", ["O E", "oek", "<b>", "O" * 33, "OEK\nOEK"])
def test_malformed_taint_is_not_known(content: str) -> None:
    assert only(sysfs(enabled="1", taint=content)).taint is None


@pytest.mark.parametrize("content", ["", "A B", "{{ 7 }}", "A" * 65])
def test_malformed_srcversion_is_not_known(content: str) -> None:
    assert only(sysfs(enabled="1", srcversion=content)).srcversion is None


@pytest.mark.parametrize("module", ["", "..", "a b", "-x", "x" * 65, "<script>", "p\x1b[2J"])
def test_what_cannot_be_a_module_is_left_out(module: str) -> None:
    assert parse_patches({f"/sys/kernel/livepatch/{module}/enabled": "1"}, {}) == ()


def test_paths_elsewhere_name_no_patch() -> None:
    assert parse_patches({"a_patch/enabled": "1", "/sys/kernel/debug/b_patch/enabled": "1"}, {}) == ()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [16, 20, 32])
def test_build_id_in_both_byte_orders(order: str, size: int) -> None:
    dump = note(bytes(range(size)), order=order).hex(" ", 1)
    assert only(sysfs(enabled="1"), {MODULE: f" {dump[:30]}\n {dump[30:]}\n"}).build_id == bytes(range(size)).hex()


def test_build_id_behind_other_notes() -> None:
    section = note(b"abcde", b"Linux\0", 0x100) + note(kind=1) + note(name=b"GO\0\0") + note(b"\x07" * 20)
    assert only(sysfs(enabled="1"), {MODULE: section.hex().upper()}).build_id == "07" * 20


@pytest.mark.parametrize(
    "dump",
    [
        "",
        "zz",
        "040",
        note()[:-1].hex(),
        note()[:10].hex(),
        note(b"").hex(),
        note(b"1234567").hex(),
        note(b"1" * 65).hex(),
        note(kind=4).hex(),
        note(name=b"GNV\0").hex(),
        struct.pack("<3I", 2**32 - 1, 20, 3).hex() + "00" * 64,
        struct.pack("<3I", 4, 2**32 - 1, 3).hex() + "474e5500" + "00" * 64,
        note().hex() + " " * 9000,
        "\N{ARABIC-INDIC DIGIT FOUR}" * 72,
    ],
)
def test_malformed_note_gives_no_build_id(dump: str) -> None:
    assert only(sysfs(enabled="1"), {MODULE: dump}).build_id is None


def key_line(
    description: str = f"Canonical Ltd. Live Patch Signing: {LIVE_PATCH_KEY_ID}: X509.rsa {LIVE_PATCH_KEY_ID[-8:]} []",
    flags: str = "I------",
    expiry: str = "perm",
    owner: str = "0",
    kind: str = "asymmetri",
) -> str:
    return f"2c5e01d7 {flags}     1 {expiry} 1f030000 {owner:>5}     0 {kind:<9.9} {description}\n"


PROC_KEYS = (
    key_line("_uid.0: empty", kind="keyring")
    + key_line(f"Build time autogenerated kernel key: {'0a' * 20}: X509.rsa 0a0a0a0a []")
    + key_line()
    + key_line(f"O: Acme, CN: a: b: {'0b' * 20}: X509.RSA 0b0b0b0b []")
)


def test_carried_keys_are_the_public_ones() -> None:
    assert carried_keys(PROC_KEYS) == (
        CarriedKey("Build time autogenerated kernel key", "0a" * 20, "X509.rsa"),
        CarriedKey("Canonical Ltd. Live Patch Signing", LIVE_PATCH_KEY_ID, "X509.rsa"),
        CarriedKey("O: Acme, CN: a: b", "0b" * 20, "X509.RSA"),
    )


def test_carries_key_by_identifier() -> None:
    assert carries_key(PROC_KEYS, LIVE_PATCH_KEY_ID)
    assert carries_key(PROC_KEYS, LIVE_PATCH_KEY_ID.upper())
    assert not carries_key(PROC_KEYS, "0c" * 20)
    assert not carries_key(PROC_KEYS, LIVE_PATCH_KEY_ID[-8:])
    assert not carries_key(PROC_KEYS, "")
    assert not carries_key("", LIVE_PATCH_KEY_ID)


@pytest.mark.parametrize(
    "line",
    [
        key_line(flags="-------"),
        key_line(flags="IR-----"),
        key_line(flags="I-D----"),
        key_line(flags="I----N-"),
        key_line(flags="I-----i"),
        key_line(expiry="expd"),
        key_line(owner="1000"),
        key_line(kind="user"),
        key_line(kind="user", description="asymmetri " + key_line().partition("asymmetri ")[2]),
        key_line(f"Canonical Ltd. Live Patch Signing {LIVE_PATCH_KEY_ID}"),
        key_line(f"{LIVE_PATCH_KEY_ID}: not a key identifier: X509.rsa []"),
        key_line("x" * 1024 + f": {LIVE_PATCH_KEY_ID}: X509.rsa []"),
    ],
)
def test_key_that_does_not_count(line: str) -> None:
    assert carried_keys(line) == ()
    assert not carries_key(line, LIVE_PATCH_KEY_ID)


def test_line_separators_inside_a_description_start_no_line() -> None:
    forged = key_line(f"x\N{LINE SEPARATOR}{key_line().strip()}", kind="user")
    assert carried_keys(forged) == ()


HEX_LIKE = st.text(alphabet="0123456789abcdefGNU \n", max_size=200) | st.binary(max_size=80).map(bytes.hex)
PATHS = st.text() | st.builds("/sys/kernel/livepatch/{}/{}".format, st.text(max_size=9), st.text(max_size=9))


@settings(deadline=None)
@given(st.dictionaries(PATHS, st.text()), st.dictionaries(st.text(), st.text()))
def test_any_files_give_patches(files: dict[str, str], notes: dict[str, str]) -> None:
    patches = parse_patches(files, reports(notes))
    assert [p.module for p in patches] == sorted({p.module for p in patches})


@settings(deadline=None)
@given(HEX_LIKE | st.text())
def test_any_note_gives_a_build_id_or_none(dump: str) -> None:
    build_id = only(sysfs(enabled="1"), {MODULE: dump}).build_id
    assert build_id is None or build_id in "".join(dump.split()).lower()


@settings(deadline=None)
@given(st.text() | st.lists(st.text(max_size=20), min_size=8, max_size=12).map(" ".join) | st.text().map(key_line))
def test_any_text_gives_keys(proc_keys: str) -> None:
    for key in carried_keys(proc_keys):
        assert carries_key(proc_keys, key.key_id)


@pytest.mark.parametrize("unit", [" ", "\n", "a ", "a\n", ": ", f"{'0a' * 20}: ", "04000000", key_line()])
def test_a_megabyte_takes_no_time(unit: str) -> None:
    noise = unit * (2**20 // len(unit))
    start = time.process_time()
    carries_key(noise, LIVE_PATCH_KEY_ID)
    parse_patches(sysfs(enabled=noise, srcversion=noise, taint=noise), reports({MODULE: noise}))
    assert time.process_time() - start < 3
