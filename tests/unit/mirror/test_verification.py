# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the trust in archives of a mirror: entries of the index prove nothing, and keys can be revoked."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror import sync, verification
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.folder import open_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import Index, write_index
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.plan import Retention
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from tests.lab.live_patches import signing
from tests.samples.mirror import KERNEL, mirrored, name_of

from .test_sync import ANCHORS, VENDOR, archives, fill, read_index, served, task

STRANGER = signing.make_signer("Stranger")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files of another user")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fill(tmp_path / "source", archives("64.1", "65.1"))


@pytest.fixture
def mirror(tmp_path: Path, source: Path) -> Path:
    sync.run_mirror(task(tmp_path / "mirror", source))
    return tmp_path / "mirror"


def plant(mirror: Path, version: str, content: bytes) -> str:
    """Add an archive and its line of the index, as someone who can write to the folder."""
    name = name_of(version)
    (mirror / name).write_bytes(content)
    index = read_index(mirror)
    entry = dataclasses.replace(mirrored(version), sha256=sync._sha256(content), size=len(content))
    with open_folder(mirror) as folder:
        write_index(folder, Index({**index.patches, name: entry}))
    return name


def faults(outcome: sync.Outcome) -> dict[str, str]:
    return {fault.filename: fault.verdict for fault in outcome.quarantined}


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the archives whose signature is verified."""
    names: list[str] = []
    for module in (sync, verification):
        examine = module.examine

        def count(data: bytes, name: str, *rest: t.Any, examine: t.Any = examine, **options: t.Any) -> t.Any:
            names.append(name)
            return examine(data, name, *rest, **options)

        monkeypatch.setattr(module, "examine", count)
    return names


# --- an entry of the index proves nothing


@pytest.mark.parametrize("version", ["64.2", "99.1", "4000000000.1"])
def test_a_planted_archive_is_taken_out(mirror: Path, source: Path, version: str) -> None:
    name = plant(mirror, version, signing.patch_for(KERNEL, version, STRANGER)[1])
    predicted = sync.predict_mirror(task(mirror, source))
    assert faults(predicted) == {name: "wrong_signer"}
    outcome = sync.run_mirror(task(mirror, source))
    assert faults(outcome) == {name: "wrong_signer"}
    assert served(mirror) == archives("64.1", "65.1")
    assert name not in read_index(mirror).patches
    assert (mirror / ".quarantine" / name).exists()
    assert not sync.run_mirror(task(mirror, source)).quarantined


def test_a_line_without_an_archive_blocks_nothing(mirror: Path, source: Path) -> None:
    (mirror / plant(mirror, "99.1", b"")).unlink()
    outcome = sync.run_mirror(task(mirror, source))
    assert [(fault.filename, fault.verdict) for fault in outcome.failed] == [(name_of("99.1"), "missing")]
    assert not sync.run_mirror(task(mirror, source)).failed


def test_facts_of_the_index_are_those_of_the_archive(mirror: Path, source: Path) -> None:
    index = mirror / "index.json"
    good = index.read_text()
    index.write_text(good.replace('"signer": "Vendor"', '"signer": "Stranger"'))
    assert sync.run_mirror(task(mirror, source)).changed
    assert index.read_text() == good


def test_archives_are_verified_once_for_the_same_trust(mirror: Path, source: Path, examined: list[str]) -> None:
    assert not sync.run_mirror(task(mirror, source)).changed
    assert not sync.predict_mirror(task(mirror, source)).changed
    assert examined == []
    (mirror / name_of("65.1")).touch()
    sync.run_mirror(task(mirror, source))
    assert examined == [name_of("65.1")]


def test_an_index_without_a_cache_is_verified_again(mirror: Path, source: Path, examined: list[str]) -> None:
    """Mirrors of release 1.0 have no cache."""
    (mirror / verification.VERIFIED).unlink()
    assert not sync.run_mirror(task(mirror, source)).changed
    assert sorted(examined) == sorted(archives("64.1", "65.1"))
    examined.clear()
    sync.run_mirror(task(mirror, source))
    assert examined == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', "[" * 100_000])
def test_a_damaged_cache_is_ignored(mirror: Path, source: Path, content: str, examined: list[str]) -> None:
    (mirror / verification.VERIFIED).write_text(content)
    assert not sync.run_mirror(task(mirror, source)).changed
    assert len(examined) == 2


def test_a_cache_that_others_can_read_is_ignored(mirror: Path, source: Path, examined: list[str]) -> None:
    (mirror / verification.VERIFIED).chmod(0o644)
    sync.run_mirror(task(mirror, source))
    assert len(examined) == 2


@as_root
def test_a_cache_of_another_user_is_ignored(mirror: Path, source: Path, examined: list[str]) -> None:
    os.chown(mirror / verification.VERIFIED, 65534, 65534)
    sync.run_mirror(task(mirror, source))
    assert len(examined) == 2


def test_a_copied_cache_proves_nothing(mirror: Path, source: Path) -> None:
    name = name_of("65.1")
    forged = signing.patch_for(KERNEL, "65.1", STRANGER)[1]
    fill(source, {})
    cache = json.loads((mirror / verification.VERIFIED).read_text())
    assert set(cache["verified"]) == set(archives("64.1", "65.1"))
    plant(mirror, "65.1", forged)
    assert faults(sync.run_mirror(task(mirror, source))) == {name: "wrong_signer"}


# --- the trust changes


def test_a_revoked_key_takes_its_archives_out(mirror: Path, source: Path) -> None:
    other = signing.patch_for(KERNEL, "66.1", STRANGER)
    fill(source, dict([other]))
    strangers = trust.TrustAnchors([trust.read_certificate(STRANGER.der)])
    both = trust.TrustAnchors([trust.read_certificate(each.der) for each in (VENDOR, STRANGER)])
    assert sync.run_mirror(dataclasses.replace(task(mirror, source), anchors=both)).fetched == [other[0]]
    outcome = sync.run_mirror(dataclasses.replace(task(mirror, source), anchors=strangers))
    assert faults(outcome) == {name_of("65.1"): "wrong_signer"}
    assert served(mirror) == dict([other])
    assert outcome.kept == [other[0]]


def test_trust_has_the_same_digest_in_any_order() -> None:
    certificates = [trust.read_certificate(each.der) for each in (VENDOR, STRANGER)]
    digests = {trust.TrustAnchors(certificates).digest, trust.TrustAnchors(certificates[::-1]).digest}
    assert len(digests) == 1
    assert ANCHORS.digest not in digests
    assert ANCHORS.digest != trust.TrustAnchors([certificates[0]], pins=["0" * 64]).digest


# --- minor versions are not signed


def build(build_id: int) -> bytes:
    """Return an archive of patch 65, whose minor version is unknown."""
    module = signing.module(build_id=build_id.to_bytes(20, "big"))
    return signing.patch_archive(signing.sign(module, VENDOR))


def test_an_old_patch_under_a_new_name_prunes_nothing(tmp_path: Path) -> None:
    mirror, real = tmp_path / "mirror", {name_of("65.1"): build(1), name_of("65.2"): build(2)}
    once = dataclasses.replace(task(mirror, tmp_path / "source"), retention=Retention(versions=1))
    fill(tmp_path / "source", real)
    assert sync.run_mirror(once).pruned == []
    fill(tmp_path / "source", {name_of("65.9"): real[name_of("65.1")]})
    outcome = sync.run_mirror(once)
    assert (outcome.pruned, faults(outcome)) == ([], {name_of("65.9"): "other_build"})
    assert served(mirror) == real
    fill(tmp_path / "source", real)
    assert not sync.run_mirror(once).changed


def test_an_original_replaces_its_renamed_copy(tmp_path: Path) -> None:
    mirror, source = tmp_path / "mirror", fill(tmp_path / "source", {name_of("65.9"): build(1)})
    sync.run_mirror(task(mirror, source))
    fill(source, {name_of("65.1"): build(1), name_of("65.9"): build(1)})
    assert faults(sync.run_mirror(task(mirror, source))) == {name_of("65.9"): "other_build"}
    assert set(served(mirror)) == {name_of("65.1")}


def test_another_build_never_replaces_one_of_its_name(tmp_path: Path) -> None:
    mirror, name = tmp_path / "mirror", name_of("65.2")
    source = fill(tmp_path / "source", {name: build(2)})
    sync.run_mirror(task(mirror, source))
    fill(source, {name: build(1)})
    outcome = sync.run_mirror(task(mirror, source))
    assert faults(outcome) == {name: "other_build"}
    assert served(mirror) == {name: build(2)}
    assert set(read_index(mirror).patches) == {name}
    allowed = dataclasses.replace(task(mirror, source), allow_downgrade=True)
    assert sync.run_mirror(allowed).fetched == [name]
    assert served(mirror) == {name: build(1)}


def test_the_same_build_can_be_packed_again(tmp_path: Path) -> None:
    mirror, name = tmp_path / "mirror", name_of("65.2")
    source = fill(tmp_path / "source", {name: build(2)})
    sync.run_mirror(task(mirror, source))
    module = signing.sign(signing.module(build_id=(2).to_bytes(20, "big")), VENDOR)
    again = signing.archive({"meta": b"again", "livepatch.ko": module})
    fill(source, {name: again})
    assert sync.run_mirror(task(mirror, source)).fetched == [name]
    assert served(mirror) == {name: again}
