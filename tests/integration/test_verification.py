# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The verification levels `digest` and `file`: files on a host, and the result of patch_info."""

from __future__ import annotations

import hashlib
import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet, running_fleet
from tests.lab.live_patches import module_files, signing

from .conftest import Ansible, Run

STRANGER = signing.make_signer("Stranger")
# Late kernels, which carry Canonical's key, and one that does not.
HOSTS = {
    "signed": "xenial-generic",
    "signed-old": "client-9.5",
    "changed": "xenial-lowlatency",
    "stranger": "desktop",
    "unsigned": "container-host",
    "rebuilt": "client-10",
    "missing": "no-curl-no-wget",
    "denied": "not-root",
    "unsupported": "bash-only",
    "two-signers": "secure-boot",
    "forged-keys": "other-kernel-first",
}


def imitate_keys(listing: Path) -> None:
    """Move the keys of the kernel into the description of a key of a local user, as the kernel would print it."""
    lines = listing.read_text("ascii").splitlines()
    imitated = [line for line in lines if " asymmetri " in line]
    genuine = [line for line in lines if " asymmetri " not in line]
    first = "2f6c1b6a I------     1 perm 3f010001  1000  1000 user      x"
    listing.write_text("\n".join([*genuine, first, *imitated, "x: 1", ""]), encoding="ascii")


def two_signers(loaded: module_files.Loaded) -> bytes:
    """Return the file of a module that a stranger and the vendor signed, as during a change of keys."""
    content = loaded.unsigned()
    infos = [signing.signer_info(content, signer) for signer in (STRANGER, module_files.vendor())]
    return signing.append(content, signing.signed_data(*infos))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("lab"), only=[*HOSTS.values(), "not-enabled"]) as fleet:
        for role, host in HOSTS.items():
            loaded = module_files.loaded(fleet, host)
            good = loaded.file()
            files = {
                "changed": good[:150] + bytes([good[150] ^ 4]) + good[151:],
                "stranger": loaded.file(STRANGER),
                "unsigned": loaded.unsigned(),
                "rebuilt": loaded.file(build_id="cd" * 20),
                "unsupported": signing.sign(loaded.unsigned(), module_files.vendor(), "sha1"),
                "two-signers": two_signers(loaded),
            }
            if role not in ("missing", "forged-keys"):
                module_files.put(fleet, host, files.get(role, good))
        # A kernel without the keys marks every live patch; with them, the mark would be proof of tampering.
        imitate_keys(fleet.root(HOSTS["forged-keys"]) / "proc/keys")
        module = module_files.loaded(fleet, HOSTS["forged-keys"]).module
        (fleet.root(HOSTS["forged-keys"]) / f"sys/module/{module}/taint").write_text("OEK\n", encoding="ascii")
        yield fleet


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    path.write_bytes(module_files.vendor().pem)
    return str(path)


@pytest.fixture(scope="module", params=["auto", "file"])
def level(request: pytest.FixtureRequest) -> str:
    """The verification level of a file that is present."""
    return {"auto": "digest", "file": "file"}[request.param]


@pytest.fixture(scope="module")
def seen(level: str, fleet: Fleet, certificate: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    ansible = Ansible(tmp_path_factory.mktemp(level), fleet.variables)
    verify = "auto" if level == "digest" else "file"
    options = {"network": False, "verify": verify, "trusted_certificates": [certificate]}
    return ansible.task("kernelops.livepatch.patch_info", "all", "-vvv", **options)


def record(seen: Run, role: str) -> dict[str, t.Any]:
    result = seen.result(HOSTS.get(role, role))
    assert result["kind"] == "ok", result
    kept: dict[str, t.Any] = result["record"]
    return kept


def verification(seen: Run, role: str) -> tuple[str, str]:
    (patch,) = record(seen, role)["kernel_patches"]
    return patch["verification"]["level"], patch["verification"]["result"]


@pytest.mark.parametrize("role", ["signed", "signed-old", "two-signers"])
def test_a_signed_patch_is_verified_on_the_controller(role: str, seen: Run, level: str, fleet: Fleet) -> None:
    assert record(seen, role)["assessment"]["state"] == "protected"
    (patch,) = record(seen, role)["kernel_patches"]
    loaded = module_files.loaded(fleet, HOSTS[role])
    unsigned = loaded.unsigned()
    assert patch["build_id"] == loaded.build_id
    assert patch["verification"] == {
        "level": level,
        "result": "verified",
        "signer": "The Lab's Live Patch Signing",
        "key_id": module_files.vendor().key_id.hex(),
        "sha512": hashlib.sha512(unsigned).hexdigest(),
    }


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("changed", "signature_failed"),
        ("unsigned", "signature_failed"),
        ("stranger", "wrong_signer"),
        ("rebuilt", "build_id_differs"),
    ],
)
def test_a_failed_signature_is_tampering(role: str, reason: str, seen: Run, level: str) -> None:
    assert verification(seen, role) == (level, "failed")
    assessment = record(seen, role)["assessment"]
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("tampered", reason)
    assert assessment["reboot_needed"] is True
    assert "isolate the host" in assessment["reasons"][0]["remedy"]


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("missing", ("kernel", "verified")),
        ("unsupported", ("client", "not_checked")),
        ("forged-keys", ("client", "not_checked")),
        ("denied", ("client", "not_checked")),
    ],
)
def test_an_unverifiable_signature_keeps_the_level(role: str, expected: tuple[str, str], seen: Run) -> None:
    assert verification(seen, role) == expected
    assert record(seen, role)["assessment"]["state"] == "protected"


def test_verification_needs_no_other_round_trip(seen: Run) -> None:
    for host in HOSTS.values():
        assert seen.output.count(f"<{host}> EXEC ") == 1


def test_without_a_patch_nothing_is_read(seen: Run) -> None:
    assert record(seen, "not-enabled")["kernel_patches"] == []


def test_off_trusts_the_kernel(fleet: Fleet, ansible: Ansible) -> None:
    hosts = f"{HOSTS['signed']}:{HOSTS['changed']}"
    run = ansible.task("kernelops.livepatch.patch_info", hosts, network=False, verify="off")
    for host in hosts.split(":"):
        (patch,) = run.result(host)["record"]["kernel_patches"]
        assert (patch["verification"]["level"], patch["verification"]["result"]) == ("kernel", "verified")


def test_only_the_canonical_key_is_trusted_by_default(fleet: Fleet, ansible: Ansible) -> None:
    run = ansible.task("kernelops.livepatch.patch_info", HOSTS["signed"], network=False)
    assessment = run.result(HOSTS["signed"])["record"]["assessment"]
    assert (assessment["state"], assessment["reasons"][0]["id"]) == ("tampered", "wrong_signer")


def test_a_snap_certificate_can_be_pinned(fleet: Fleet, ansible: Ansible) -> None:
    host = HOSTS["signed"]
    snap = fleet.root(host) / "snap/canonical-livepatch"
    keys = snap / (snap / "current").readlink() / "keys"
    keys.mkdir()
    (keys / "livepatch-kmod.x509").write_bytes(module_files.vendor().der)

    def level_of(pin: str) -> str:
        run = ansible.task("kernelops.livepatch.patch_info", host, network=False, trusted_spki_sha256=[pin])
        (patch,) = run.result(host)["record"]["kernel_patches"]
        return str(patch["verification"]["level"])

    assert level_of(module_files.vendor().spki_sha256) == "digest"
    # A certificate that is not pinned proves nothing, and an unverifiable signature is not tampering.
    assert level_of("0" * 64) == "client"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trusted_certificates": ["nowhere.pem"]}, "nowhere.pem cannot be read: No such file"),
        ({"trusted_spki_sha256": ["abc"]}, "64 hexadecimal digits"),
    ],
)
def test_unusable_trust_options_are_errors(
    options: dict[str, t.Any], words: str, fleet: Fleet, ansible: Ansible
) -> None:
    failure = ansible.task("kernelops.livepatch.patch_info", HOSTS["signed"], **options).result(HOSTS["signed"])
    assert (failure["kind"], failure["error_id"]) == ("failed", "trust_unusable")
    assert words in failure["msg"]


@pytest.mark.matrix
def test_the_playbook_check_passes_trust_options(fleet: Fleet, ansible: Ansible, certificate: str) -> None:
    run = ansible.playbook(
        "kernelops.livepatch.check",
        "--limit",
        f"{HOSTS['signed']}:{HOSTS['stranger']}",
        livepatch_verify="file",
        livepatch_trusted_certificates=[certificate],
        livepatch_fail_on=[],
    )
    assert run.code == 0, run.output
    records = Path(ansible.folder, "livepatch-records")
    states = {
        host: json.loads((records / f"{HOSTS[host]}.json").read_text("utf-8"))["assessment"]["state"]
        for host in ("signed", "stranger")
    }
    assert states == {"signed": "protected", "stranger": "tampered"}
