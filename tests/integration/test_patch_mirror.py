# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `patch_mirror`, and a server that fails in every way."""

from __future__ import annotations

import hashlib
import json
import os
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import Ansible, Run, Started
from tests.integration.module_runner import ModuleRunner
from tests.lab import Fleet
from tests.lab.live_patches import signing

MODULE = "kernelops.livepatch.patch_mirror"
VENDOR = signing.make_signer("Vendor")
STRANGER = signing.make_signer("Stranger")
KERNELS = ("4.4.0-168.197-generic", "4.4.0-169.198-generic", "4.4.0-168.197-lowlatency", "5.15.0-107.117-generic")
SIZE = 200_000
PATCHES = dict(signing.patch_for(kernel, "65.1", VENDOR, size=SIZE) for kernel in KERNELS)
NAMES = sorted(PATCHES)
FIRST = NAMES[0]
RETURNED = {"changed", "fetched", "kept", "pruned", "quarantined", "failed_patches", "index"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Fleet]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), only=["xenial-generic"]) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleRunner]:
    runner = ModuleRunner("patch_mirror")
    yield runner
    runner.close()


class Mirror:
    """A mirror in a folder, its server, and runs of the module."""

    def __init__(self, ansible: Ansible, lab: Fleet, module: ModuleRunner) -> None:
        self.ansible = ansible
        self.lab = lab
        self.module = module
        self.dest = ansible.folder / "mirror"
        self.list = ansible.folder / "patches.yaml"
        (ansible.folder / "vendor.pem").write_bytes(VENDOR.pem)
        self._requests_before = len(lab.requests())
        self.publish(PATCHES)

    def publish(self, archives: dict[str, bytes], **listed: str) -> None:
        """Serve these archives, and list them with their hashes or with the given ones."""
        self.lab.state.remove_patches()
        for name, content in archives.items():
            self.lab.add_patch(name, content)
        self.write_list({name: listed.get(name, sha256(content)) for name, content in archives.items()})

    def write_list(self, hashes: dict[str, str], **more: str) -> None:
        entries = [{"filename": name, "hash": value, **more} for name, value in hashes.items()]
        self.list.write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")

    @property
    def options(self) -> dict[str, t.Any]:
        return {
            "dest": str(self.dest),
            "server": self.lab.server.replace("livepatch.lab.test", "localhost"),
            "list": str(self.list),
            "ca_path": str(self.lab.certificate),
            "trusted_certificates": [str(self.ansible.folder / "vendor.pem")],
            "retries": 2,
        }

    def play(self, *words: str, **options: t.Any) -> Run:
        """Run the module with Ansible. An option that is None is left out."""
        return self.ansible.task(MODULE, "localhost", *words, **self._merged(options))

    def run(self, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run the module without Ansible's controller."""
        return self.module.run(self.ansible, self._merged(options), check=check)

    def start(self, **options: t.Any) -> Started:
        """Start the module like `run`, without waiting for its end."""
        return self.module.start(self.ansible, self._merged(options))

    def _merged(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        return {name: value for name, value in {**self.options, **options}.items() if value is not None}

    def served(self) -> dict[str, bytes]:
        """Return the files of the folder that have the name of an archive."""
        return {path.name: path.read_bytes() for path in sorted(self.dest.glob("livepatch-*"))}

    def index(self) -> dict[str, dict[str, t.Any]]:
        document = json.loads((self.dest / "index.json").read_text(encoding="utf-8"))
        assert set(document) == {"schema", "patches"}
        return {entry["filename"]: entry for entry in document["patches"]}

    def reasons(self) -> dict[str, str]:
        found = sorted((self.dest / ".quarantine").glob("*.reason.json"))
        return {(said := json.loads(path.read_text(encoding="utf-8")))["filename"]: said["verdict"] for path in found}

    def asked(self) -> list[dict[str, t.Any]]:
        asked = self.lab.requests()[self._requests_before :]
        return [request for request in asked if request["path"].startswith("/v1/patches/")]


@pytest.fixture
def mirror(tmp_path: Path, lab: Fleet, module: ModuleRunner) -> Iterator[Mirror]:
    yield Mirror(Ansible(tmp_path, lab.variables), lab, module)
    lab.set_faults()
    lab.set_proxy()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def assert_complete(mirror: Mirror, archives: dict[str, bytes]) -> None:
    """Assert that the mirror serves these archives and no others, and that its index lists them."""
    assert mirror.served() == archives
    assert {name: entry["sha256"] for name, entry in mirror.index().items()} == {
        name: sha256(content) for name, content in archives.items()
    }
    assert {path.name for path in mirror.dest.iterdir()} <= {
        *archives,
        "index.json",
        ".lock",
        ".verified.json",
        ".quarantine",
    }


# --- from a server


@pytest.mark.matrix
def test_check_mode_predicts_a_mirror(mirror: Mirror) -> None:
    (mirror.ansible.folder / "mirror").mkdir()
    predicted = mirror.play("--check", "--diff").result("localhost")
    assert list(mirror.dest.iterdir()) == []
    assert mirror.asked() == []
    done = mirror.play("--diff").result("localhost")
    assert set(done) >= RETURNED
    assert {key: done[key] for key in RETURNED} == {
        "changed": True,
        "fetched": NAMES,
        "kept": [],
        "pruned": [],
        "quarantined": [],
        "failed_patches": [],
        "index": str(mirror.dest / "index.json"),
    }
    assert {key: predicted[key] for key in (*RETURNED, "diff")} == {key: done[key] for key in (*RETURNED, "diff")}
    assert done["diff"]["after"] == "".join(f"{name} {sha256(PATCHES[name])}\n" for name in NAMES)
    assert_complete(mirror, PATCHES)
    asked = len(mirror.asked())
    index = (mirror.dest / "index.json").read_bytes()
    for check in (False, True):
        again = mirror.run(check=check)
        assert (again["changed"], again["fetched"], again["kept"]) == (False, [], NAMES)
    assert (mirror.dest / "index.json").read_bytes() == index
    assert len(mirror.asked()) == asked == len(NAMES)


def test_the_index_lists_verified_patches(mirror: Mirror) -> None:
    mirror.write_list({FIRST: sha256(PATCHES[FIRST])}, tier="stable")
    mirror.run()
    entry = mirror.index()[FIRST]
    assert entry.pop("fetched_at").endswith("Z")
    assert entry == {
        "filename": FIRST,
        "kernel": "4.4.0-168.197-generic",
        "version": "65.1",
        "architecture": "amd64",
        "tier": "stable",
        "sha256": sha256(PATCHES[FIRST]),
        "size": len(PATCHES[FIRST]),
        "build_id": hashlib.sha1(b"4.4.0-168.197-generic 65.1 amd64", usedforsecurity=False).hexdigest(),
        "srcversion": "0C7D2E3B0F6F2A1D9B8E4C5",
        "signer": "Vendor",
        "key_id": VENDOR.key_id.hex(),
    }


@pytest.mark.parametrize(
    ("options", "kernels"),
    [
        ({"kernels": ["4.4.0-168-*"]}, {KERNELS[0], KERNELS[2]}),
        ({"kernels": ["4.4.0-169.198-generic", "5.15.0-107-generic"]}, {KERNELS[1], KERNELS[3]}),
        ({"flavours": ["lowlatency"]}, {KERNELS[2]}),
        ({"architectures": ["arm64"]}, set()),
        ({"tiers": ["stable"]}, set(KERNELS)),
        ({"tiers": ["updates"]}, set()),
        ({"kernels": ["4.4.0-*"], "flavours": ["generic"], "architectures": ["amd64"]}, {KERNELS[0], KERNELS[1]}),
    ],
    # The order of a set differs in each process that collects the tests.
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_only_selected_patches_are_downloaded(mirror: Mirror, options: dict[str, t.Any], kernels: set[str]) -> None:
    mirror.write_list({name: sha256(content) for name, content in PATCHES.items()}, tier="stable")
    assert {
        name.removeprefix("livepatch-")[: -len("-65.1-amd64.tar.bz2")]
        for name in mirror.run(check=True, **options)["fetched"]
    } == kernels


# --- from other sources


def test_a_mirror_can_copy_another_mirror(mirror: Mirror, tmp_path: Path) -> None:
    mirror.run()
    beyond = str(tmp_path / "beyond")
    carried = mirror.run(server=None, list=None, folder=str(mirror.dest), dest=beyond)
    assert (carried["fetched"], carried["changed"]) == (NAMES, True)
    again = mirror.run(server=None, list=str(mirror.dest / "index.json"), dest=beyond)
    assert (again["kept"], again["changed"]) == (NAMES, False)
    for name, content in {**PATCHES, "index.json": (mirror.dest / "index.json").read_bytes()}.items():
        mirror.lab.state.put_file(name, content)
    address = f"{mirror.lab.on_premises.replace('livepatch.lab.test', 'localhost')}/files/index.json"
    by_http = mirror.run(server=None, list=address, dest=str(tmp_path / "third"))
    assert (by_http["fetched"], by_http["changed"]) == (NAMES, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- filename: a\n  hash: b\n", "entry 0: 'a' is not the name of an archive"),
        (f"- filename: ../../{FIRST}\n  hash: {'0' * 64}\n", "is not the name of an archive"),
        (f"- filename: {FIRST}\n  hash: abc\n", "has no SHA-256"),
        (f"- filename: {FIRST}\n", "has no SHA-256"),
        (f"- filename: {FIRST}\n  hash: {'0' * 64}\n- filename: {FIRST}\n  hash: {'1' * 64}\n", "listed above"),
        ("just text", "this is not a list of patches"),
        ("[", "this is not a list of patches"),
        ("- !!python/object/apply:os.getcwd []", "entry 0: expected filename and hash"),
        ("&a [*a]", "this is not a list of patches"),
    ],
)
def test_a_malformed_list_is_refused(mirror: Mirror, text: str, message: str) -> None:
    mirror.list.write_text(text, encoding="utf-8")
    result = mirror.run()
    assert (result["kind"], result["error_id"]) == ("failed", "bad_list")
    assert message in result["msg"]
    assert mirror.served() == {}


@pytest.mark.parametrize(
    ("options", "error_id", "message"),
    [
        ({"list": "/nonexistent/list"}, "files", "/nonexistent/list"),
        ({"list": None, "server": None}, None, "one of the following is required: list, folder"),
        ({"list": None}, None, "one of the following is required: list, folder"),
        ({"folder": "."}, None, "mutually exclusive"),
        ({"parallel": 0}, "bad_option", "parallel is 0"),
        ({"keep_versions": 0}, "bad_option", "keep_versions is 0"),
        ({"max_list_age": 0}, "bad_option", "max_list_age is 0"),
        ({"max_list_age": 1, "list": None, "server": None, "folder": "."}, "bad_option", "requires the option list"),
        ({"server": "livepatch.example.com"}, "bad_option", "server must begin with"),
        ({"trusted_certificates": ["/nonexistent/pem"]}, "files", "/nonexistent/pem"),
        ({"trusted_spki_sha256": ["12"]}, "bad_option", "is not the SHA-256 of a public key"),
    ],
)
def test_wrong_options_are_refused(
    mirror: Mirror, options: dict[str, t.Any], error_id: str | None, message: str
) -> None:
    result = mirror.run(**options)
    assert (result["kind"], result.get("error_id")) == ("failed", error_id)
    assert message in result["msg"]


# --- wrong patches


UNSIGNED = signing.archive({"meta": b"", "livepatch.ko": signing.module()})
LINK = signing.tarfile.TarInfo("livepatch.ko")
LINK.type, LINK.linkname = signing.tarfile.SYMTYPE, "/etc/passwd"
WRONG = {
    "unsigned": UNSIGNED,
    "wrong_signer": signing.patch_for(KERNELS[0], "65.1", STRANGER)[1],
    "not_for_this_kernel": PATCHES[NAMES[1]],
    "malformed": signing.archive({"meta": b""}, extra=(LINK,)),
    "truncated": PATCHES[FIRST][:-1000],
}


@pytest.mark.parametrize("verdict", WRONG)
def test_wrong_patches_are_quarantined_with_their_reason(mirror: Mirror, verdict: str) -> None:
    archives = {**PATCHES, FIRST: WRONG[verdict]}
    mirror.publish(archives)
    result = mirror.run()
    assert (result["kind"], result["error_id"], result["changed"]) == ("failed", "incomplete", True)
    assert [(fault["filename"], fault["verdict"]) for fault in result["quarantined"]] == [(FIRST, verdict)]
    assert FIRST in result["msg"]
    good = {name: content for name, content in PATCHES.items() if name != FIRST}
    assert_complete(mirror, good)
    assert mirror.reasons() == {FIRST: verdict}
    assert (mirror.dest / ".quarantine" / FIRST).read_bytes() == WRONG[verdict]
    assert (mirror.dest / ".quarantine").stat().st_mode & 0o077 == 0
    asked = len(mirror.asked())
    again = mirror.run()
    assert (again["kind"], again["changed"], again["fetched"]) == ("failed", False, [])
    assert len(mirror.asked()) == asked, "a wrong patch is not downloaded again"
    mirror.publish(PATCHES)
    assert mirror.run()["fetched"] == [FIRST]
    assert_complete(mirror, PATCHES)
    assert mirror.reasons() == {}


def test_a_newly_trusted_key_ends_the_quarantine(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish({FIRST: WRONG["wrong_signer"]})
    assert mirror.run()["kind"] == "failed"
    asked = len(mirror.asked())
    (tmp_path / "stranger.pem").write_bytes(STRANGER.pem)
    assert mirror.run(trusted_certificates=[str(tmp_path / "stranger.pem")])["fetched"] == [FIRST]
    assert len(mirror.asked()) == asked
    assert_complete(mirror, {FIRST: WRONG["wrong_signer"]})


def test_a_wrong_hash_is_never_served(mirror: Mirror) -> None:
    mirror.publish(PATCHES, **{FIRST: "0" * 64})
    result = mirror.run()
    assert (result["kind"], mirror.reasons()) == ("failed", {FIRST: "wrong_hash"})
    assert FIRST not in mirror.served()
    mirror.publish(PATCHES)
    asked = len(mirror.asked())
    assert mirror.run()["fetched"] == [FIRST]
    assert len(mirror.asked()) == asked, "the list was wrong, and the archive is present"
    assert_complete(mirror, PATCHES)


def test_a_download_with_errors_is_never_served(mirror: Mirror) -> None:
    mirror.lab.set_faults(path=f"/v1/patches/{FIRST}", spoil=True)
    spoilt = mirror.run()
    assert (spoilt["kind"], [fault["verdict"] for fault in spoilt["quarantined"]]) == ("failed", ["wrong_hash"])
    assert FIRST not in mirror.served()
    mirror.lab.set_faults(path=f"/v1/patches/{FIRST}", spoil=True, count=1)
    assert mirror.run()["fetched"] == [FIRST], "a temporary fault is retried"
    assert_complete(mirror, PATCHES)


def test_changed_and_added_files_are_removed(mirror: Mirror) -> None:
    mirror.run()
    (mirror.dest / FIRST).write_bytes(UNSIGNED)
    stray = "livepatch-4.4.0-1.1-generic-99.1-amd64.tar.bz2"
    (mirror.dest / stray).write_bytes(UNSIGNED)
    (mirror.dest / "README").write_text("left alone", encoding="utf-8")
    assert mirror.run(check=True)["changed"] is True
    assert stray in mirror.served()
    result = mirror.run()
    assert (result["kind"], result["fetched"]) == ("failed", [FIRST])
    faults = {fault["filename"]: fault["verdict"] for fault in result["quarantined"]}
    assert faults == mirror.reasons() == {stray: "unknown", f"{FIRST}.changed": "changed"}
    assert (mirror.dest / ".quarantine" / f"{FIRST}.changed").read_bytes() == UNSIGNED
    (mirror.dest / "README").unlink()
    assert_complete(mirror, PATCHES)
    assert mirror.run()["changed"] is False


def test_a_failed_replacement_keeps_the_good_patch(mirror: Mirror) -> None:
    mirror.run()
    mirror.publish({**PATCHES, FIRST: UNSIGNED})
    assert mirror.run()["kind"] == "failed"
    assert_complete(mirror, PATCHES)


# --- versions


def test_a_downgrade_needs_permission(mirror: Mirror) -> None:
    newer, content = signing.patch_for(KERNELS[0], "66.1", VENDOR)
    mirror.publish({**PATCHES, newer: content})
    mirror.run()
    mirror.publish(PATCHES)
    for check in (False, True):
        refused = mirror.run(check=check)
        assert (refused["kind"], refused["error_id"]) == ("failed", "downgrade_refused")
        assert "65.1 at the source and 66.1 in the mirror, for 4.4.0-168.197-generic amd64" in refused["msg"]
    assert_complete(mirror, {**PATCHES, newer: content})
    allowed = mirror.run(allow_downgrade=True)
    assert (allowed["pruned"], allowed["fetched"]) == ([newer], [])
    assert_complete(mirror, PATCHES)


def test_old_versions_are_removed_after_new_ones_arrived(mirror: Mirror) -> None:
    versions = {version: signing.patch_for(KERNELS[0], version, VENDOR) for version in ("9.1", "65.1", "66.1", "67.1")}
    old = dict([versions["9.1"], versions["65.1"]])
    mirror.publish(old)
    mirror.run()
    mirror.publish(dict(versions.values()))
    mirror.lab.set_faults(path="/v1/patches/", status=404)
    failed = mirror.run(keep_versions=2)
    assert (failed["kind"], failed["pruned"]) == ("failed", [])
    assert_complete(mirror, old)
    mirror.lab.set_faults()
    predicted = mirror.run(check=True, keep_versions=2)
    result = mirror.run(keep_versions=2)
    assert result["pruned"] == predicted["pruned"] == sorted(old)
    assert_complete(mirror, dict([versions["66.1"], versions["67.1"]]))
    assert mirror.run(keep_versions=2)["changed"] is False


def test_an_old_list_is_refused(mirror: Mirror) -> None:
    assert 0 <= mirror.run(max_list_age=1)["list_age_hours"] < 1
    hours_ago = time.time() - 50 * 3600
    os.utime(mirror.list, (hours_ago, hours_ago))
    for check in (False, True):
        refused = mirror.run(check=check, max_list_age=48)
        assert (refused["kind"], refused["error_id"]) == ("failed", "list_too_old")
        assert "50.0 hours old" in refused["msg"]
    assert mirror.run(max_list_age=51)["list_age_hours"] == 50.0
    assert mirror.run()["list_age_hours"] == 50.0


def test_a_revoked_key_empties_the_mirror(mirror: Mirror, tmp_path: Path) -> None:
    mirror.run()
    (tmp_path / "stranger.pem").write_bytes(STRANGER.pem)
    result = mirror.run(trusted_certificates=[str(tmp_path / "stranger.pem")])
    assert (result["kind"], result["error_id"], mirror.served()) == ("failed", "incomplete", {})
    assert {fault["verdict"] for fault in result["quarantined"]} == {"wrong_signer"}
    assert mirror.run()["fetched"] == NAMES
    assert_complete(mirror, PATCHES)


def test_removed_patches_are_kept_for_their_age(mirror: Mirror) -> None:
    mirror.run()
    left = {name: PATCHES[name] for name in NAMES[1:]}
    mirror.publish(left)
    assert (mirror.run(keep_days=1)["changed"], len(mirror.served())) == (False, len(NAMES))
    index = mirror.dest / "index.json"
    index.write_text(
        index.read_text(encoding="utf-8").replace('"fetched_at": "2', '"fetched_at": "1'), encoding="utf-8"
    )
    assert mirror.run(keep_days=1)["pruned"] == [FIRST]
    assert_complete(mirror, left)


@pytest.mark.parametrize("text", ["{", '{"schema": "kernelops.livepatch/mirror/2"}', '{"schema": 1}', "[]"])
def test_an_unreadable_index_stops_the_run(mirror: Mirror, text: str) -> None:
    mirror.run()
    (mirror.dest / "index.json").write_text(text, encoding="utf-8")
    result = mirror.run()
    assert (result["kind"], result["error_id"]) == ("failed", "bad_index")
    (mirror.dest / "index.json").unlink()
    asked = len(mirror.asked())
    assert mirror.run()["fetched"] == NAMES
    assert len(mirror.asked()) == asked, "present archives are verified in place"
    assert_complete(mirror, PATCHES)


# --- server faults


def test_temporary_server_errors_are_retried(mirror: Mirror) -> None:
    mirror.lab.set_faults(
        {"path": "/v1/patches/", "status": 503, "count": 2}, {"path": "/v1/patches/", "delay_ms": 100}
    )
    assert mirror.run(parallel=1)["fetched"] == NAMES
    assert_complete(mirror, PATCHES)


def test_an_interrupted_download_is_resumed(mirror: Mirror) -> None:
    mirror.publish({FIRST: PATCHES[FIRST]})
    mirror.lab.set_faults(path="/v1/patches/", cut=80_000)
    assert mirror.run(retries=0)["fetched"] == [FIRST]
    ranges = [request.get("range") for request in mirror.asked()[-3:]]
    assert ranges == [None, "bytes=80000-", "bytes=160000-"]
    assert_complete(mirror, {FIRST: PATCHES[FIRST]})


def test_the_next_run_resumes_a_download(mirror: Mirror) -> None:
    mirror.publish({FIRST: PATCHES[FIRST]})
    mirror.lab.set_faults(path="/v1/patches/", cut=30_000)
    failed = mirror.run(retries=0)
    assert [fault["verdict"] for fault in failed["failed_patches"]] == ["not_fetched"]
    assert mirror.served() == {}
    mirror.lab.set_faults()
    assert mirror.run()["fetched"] == [FIRST]
    assert mirror.asked()[-1]["range"] == "bytes=30000-"
    assert_complete(mirror, {FIRST: PATCHES[FIRST]})


def test_partial_downloads_of_other_files_are_ignored(mirror: Mirror) -> None:
    (mirror.dest / ".unfinished").mkdir(parents=True)
    (mirror.dest / ".unfinished" / sha256(PATCHES[FIRST])).write_bytes(b"something else")
    (mirror.dest / ".unfinished" / sha256(b"nothing")).write_bytes(b"not listed")
    assert mirror.run()["fetched"] == NAMES
    assert_complete(mirror, PATCHES)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 403}, "the server answered 403"),
        ({"status": 503}, "the server answered 503"),
        ({"reset": True}, "cannot download"),
        ({"refuse": True}, "cannot download"),
        ({"certificate": "stranger"}, "is not trusted"),
        ({"certificate": "misnamed"}, "is not trusted"),
        ({"certificate": "expired"}, "is not trusted"),
        ({"slow": 100}, "the server sent"),
    ],
    ids=str,
)
def test_server_faults_are_named_within_their_time(mirror: Mirror, fault: dict[str, t.Any], message: str) -> None:
    mirror.lab.set_faults(**fault)
    started = time.monotonic()
    result = mirror.run(retries=1, timeout=2)
    assert time.monotonic() - started < 120
    assert (result["kind"], result["error_id"]) == ("failed", "incomplete")
    assert len(result["failed_patches"]) == len(NAMES)
    assert any(message in failed["reason"] for failed in result["failed_patches"]), result["failed_patches"]
    assert mirror.served() == {}
    mirror.lab.set_faults()
    assert mirror.run()["kind"] == "ok"
    assert_complete(mirror, PATCHES)


def test_a_wrong_content_length_is_corrected(mirror: Mirror) -> None:
    mirror.lab.set_faults(
        {"path": "/v1/patches/", "length": 5}, {"path": f"/v1/patches/{FIRST}", "length": -5, "count": 1}
    )
    assert mirror.run()["fetched"] == NAMES
    assert_complete(mirror, PATCHES)


def test_a_slow_server_works(mirror: Mirror) -> None:
    mirror.lab.set_faults(path="/v1/patches/", slow=400_000)
    assert mirror.run(timeout=10)["fetched"] == NAMES


def test_without_ranges_a_download_starts_again(mirror: Mirror) -> None:
    mirror.publish({FIRST: PATCHES[FIRST]})
    mirror.lab.set_faults(
        {"path": "/v1/patches/", "ranges": False}, {"path": "/v1/patches/", "cut": 80_000, "count": 2}
    )
    assert mirror.run()["fetched"] == [FIRST]
    assert_complete(mirror, {FIRST: PATCHES[FIRST]})


# --- proxies and authorities


def test_the_password_of_a_proxy_stays_secret(mirror: Mirror) -> None:
    mirror.lab.set_proxy("user", "made-up-3f9c")
    proxy = mirror.lab.proxy.replace("livepatch.lab.test", "user:made-up-3f9c@localhost")
    before = len(mirror.lab.proxied())
    good = {**mirror.options, "server": mirror.lab.behind_proxy, "proxy": proxy}
    wrong = {**good, "dest": str(mirror.ansible.folder / "other"), "proxy": proxy.replace("3f9c", "wrong")}
    run = mirror.ansible.each_run(MODULE, "localhost", [good, wrong], "-vvv")
    downloaded, refused = (line["result"] for line in run.results)
    assert downloaded["fetched"] == NAMES
    assert "requires a user and a password" in refused["msg"]
    used = [(each["method"], each["authorized"]) for each in mirror.lab.proxied()[before:]]
    assert set(used) == {("CONNECT", True), ("CONNECT", False)}
    assert used == sorted(used, reverse=True), "only the second run is refused"
    assert "made-up" not in run.output
    assert "made-up" not in json.dumps(run.results)


def test_the_password_of_a_list_stays_secret(mirror: Mirror) -> None:
    place = "http://reader:made-up-77@127.0.0.1:9/list.json"
    run = mirror.play("-vvv", list=place, server=None, retries=0)
    assert "***@127.0.0.1:9/list.json" in run.result("localhost")["msg"]
    assert "made-up-77" not in run.output
    assert "made-up-77" not in json.dumps(run.results)


def test_a_server_with_an_unknown_authority_is_refused(mirror: Mirror) -> None:
    result = mirror.run(ca_path=None)
    assert "is not trusted" in result["failed_patches"][0]["reason"]
    assert mirror.asked() == []


# --- interrupted


def test_a_second_run_finds_the_mirror_busy(mirror: Mirror) -> None:
    mirror.lab.set_faults(path="/v1/patches/", delay_ms=1000)
    with mirror.start(parallel=2) as run:
        assert run.reaches(lambda: mirror.asked() != [])
        result = mirror.run()
        assert (result["kind"], result["error_id"]) == ("failed", "busy")
        assert run.process.wait(timeout=120) == 0
    assert_complete(mirror, PATCHES)


def test_a_run_completes_what_killed_runs_began(mirror: Mirror) -> None:
    """Ten runs are killed, from before the first byte to after the last archive."""
    versions = ("64.1", "65.1", "66.1")
    archives = dict(
        signing.patch_for(kernel, version, VENDOR, size=100_000) for kernel in KERNELS for version in versions
    )
    total = sum(map(len, archives.values()))
    mirror.publish(archives)
    mirror.lab.set_faults(path="/v1/patches/", slow=400_000)

    def received() -> int:
        names = [*mirror.dest.glob("livepatch-*"), *mirror.dest.glob(".unfinished/*")]
        return sum(path.stat().st_size for path in names if path.exists())

    for point in range(10):
        with mirror.start(parallel=2) as run:
            assert run.reaches(lambda point=point: received() >= total * point // 10)
        for name, content in mirror.served().items():
            assert content == archives[name], "a partial download never has the name of an archive"
    mirror.lab.set_faults()
    assert mirror.run()["kind"] == "ok"
    assert_complete(mirror, archives)
    asked: dict[str, int] = {}
    for request in mirror.asked():
        asked[request["path"]] = asked.get(request["path"], 0) + ("range" not in request)
    assert sum(asked.values()) < 2 * len(archives), "received parts were not downloaded again"


# --- the role


def test_the_role_maintains_a_mirror(mirror: Mirror) -> None:
    variables = {f"mirror_{name}": value for name, value in mirror.options.items()}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "roles": [{"role": "kernelops.livepatch.mirror", "vars": variables}],
    }
    playbook = mirror.ansible.folder / "role.yml"
    playbook.write_text(yaml.safe_dump([play, play]), encoding="utf-8")
    run = mirror.ansible.command("playbook", str(playbook))
    assert run.code == 0, run.output
    assert_complete(mirror, PATCHES)
    assert [line["result"]["changed"] for line in run.results if "fetched" in line["result"]] == [True, False]
