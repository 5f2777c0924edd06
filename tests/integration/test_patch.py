# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `patch`, its role and its playbook on hosts: patches, failures, waves."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible
from tests.integration.module_cases import EachHost, Results, run_cases, use_shell
from tests.integration.shells import SHELLS
from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Client, Description
from tests.lab.hosts.file_tree import COMMON, machine_id
from tests.lab.live_patches import module_files, signing

MODULE = "kernelops.livepatch.patch"
STRANGER = signing.make_signer("Stranger")
OLD, NEW = ("CVE-2020-0001",), ("CVE-2020-0001", "CVE-2021-0002", "CVE-2021-0003")
# A kernel without transition state and key, one without transition state, and one with both.
WITHOUT_KEY, WITHOUT_TRANSITION, WITH_TRANSITION = "client-9.5", "xenial-generic", "client-11"
GENERATIONS = ("client-2016", "client-6", "client-9.5", "client-10", "client-11")
READING = re.compile(
    r"canonical-livepatch (status( --format json)?|config)|snap (version|wait system seed\.loaded)|uname -[rvm]"
    r"|dpkg --print-architecture|systemd-detect-virt ?|mokutil --sb-state|journalctl .*"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    path.write_bytes(module_files.vendor().pem)
    return str(path)


@dataclasses.dataclass(frozen=True)
class Operator:
    """A user who runs the module on hosts of a fleet, and trusts the lab's signer."""

    ansible: Ansible
    fleet: Fleet
    certificate: str

    def run(self, hosts: Iterable[str], *cases: Mapping[str, t.Any]) -> list[Results]:
        """Run the module once for each case, in one play. Return the results of each case by host."""
        usual = {"policy": "current", "network": False, "trusted_certificates": [self.certificate]}
        complete: list[Mapping[str, t.Any]] = []
        for case in cases:
            if isinstance(case, EachHost):
                complete.append(EachHost({host: {**usual, **options} for host, options in case.items()}))
            else:
                complete.append({**usual, **case})
        return run_cases(self.ansible, MODULE, hosts, *complete)

    def publish(self, host: str, version: str, fixes: tuple[str, ...], signer: signing.Signer | None = None) -> str:
        """Publish a patch for the kernel of a host, and return the name of its file."""
        full = self.fleet.current(host).describe().kernel.full
        assert full is not None
        name, archive = signing.patch_for(full, version, signer or module_files.vendor())
        self.fleet.add_patch(name, archive, fixes=fixes)
        return name

    def change_client(self, host: str, **changes: t.Any) -> None:
        def change(description: Description) -> Description:
            client = description.client or Client()
            return dataclasses.replace(description, client=dataclasses.replace(client, **changes))

        self.fleet.change(host, change)

    def remove_patch(self, host: str) -> None:
        """Put a host into the state before its first patch."""

        def change(description: Description) -> Description:
            client = description.client or Client()
            client = dataclasses.replace(client, patch_state="nothing-to-apply", patch_version="", fixes=())
            return dataclasses.replace(description, client=client, module=None)

        self.fleet.change(host, change)

    def modules(self, host: str) -> list[str]:
        return sorted(path.name for path in (self.fleet.root(host) / "sys/kernel/livepatch").iterdir())


class Start(t.Protocol):
    """Start hosts for a test, on a server without patches: described ones, or copies of a host."""

    def __call__(self, *hosts: str, copies: int | None = None) -> Operator:
        """Return the operator of the hosts."""


@pytest.fixture
def start(tmp_path: Path, certificate: str, lab_processes: Fleet) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start_hosts(*hosts: str, copies: int | None = None) -> Operator:
            only = None if copies else hosts
            fleet = lab_processes.with_hosts(tmp_path / "lab", copies, WITH_TRANSITION, only=only)
            lab = stack.enter_context(fleet)
            return Operator(Ansible(tmp_path, lab.variables), lab, certificate)

        yield start_hosts


# --- applied patches ---


def test_every_generation_applies_its_newest_patch(start: Start) -> None:
    operator = start(*GENERATIONS)
    for host in GENERATIONS:
        operator.remove_patch(host)
        operator.publish(host, "901.1", OLD)
    first, again = operator.run(GENERATIONS, {}, {})
    for host, result in first.items():
        assert (result["kind"], result["changed"], result["round_trips"]) == ("ok", True, 2), result
        assert (result["previous_version"], result["version"], result["patch_state"]) == (None, "901.1", "applied")
        assert result["closed_cves"] == ([] if host == "client-2016" else list(OLD))
        (patch,) = result["record"]["kernel_patches"]
        assert (patch["module"], patch["verification"]["level"]) == (operator.modules(host)[0], "file")
        assert patch["verification"]["result"] == "verified"
        # The first generations report no support status, and their kernels here are many years old.
        expected = "protected" if host in ("client-10", "client-11") else "end_of_life"
        assert result["record"]["assessment"]["state"] == expected, result["record"]["assessment"]
    for result in again.values():
        assert (result["changed"], result["previous_version"], result["version"]) == (False, "901.1", "901.1")
    for host in GENERATIONS:
        operator.publish(host, "902.1", NEW)
    (newer,) = operator.run(GENERATIONS, {"diff": True})
    for host, result in newer.items():
        assert (result["changed"], result["previous_version"], result["version"]) == (True, "901.1", "902.1")
        assert result["closed_cves"] == ([] if host == "client-2016" else ["CVE-2021-0002", "CVE-2021-0003"])
        assert result["diff"] == {"before": {"version": "901.1"}, "after": {"version": "902.1"}}
        assert [name.rpartition("_")[2] for name in operator.modules(host)] == ["902"]


def test_a_host_without_a_patch_succeeds(start: Start) -> None:
    operator = start("nothing-to-apply", WITH_TRANSITION)
    full = operator.fleet.hosts[WITH_TRANSITION].kernel.full or ""
    operator.remove_patch(WITH_TRANSITION)
    operator.fleet.state.set_support({full: "kernel-upgrade-required"})
    (results,) = operator.run(("nothing-to-apply", WITH_TRANSITION), {})
    states = {"nothing-to-apply": "nothing-to-apply", WITH_TRANSITION: "kernel-upgrade-required"}
    for host, state in states.items():
        result = results[host]
        assert (result["kind"], result["changed"], result["version"]) == ("ok", False, None), result
        assert (result["patch_state"], result["round_trips"]) == (state, 2)
    upgrade = results[WITH_TRANSITION]
    assert "only a newer kernel fixes" in upgrade["msg"]
    assert upgrade["record"]["assessment"]["state"] == "upgrade_required"


def test_a_slow_patch_is_awaited(start: Start) -> None:
    hosts = (WITHOUT_KEY, WITH_TRANSITION)
    operator = start(*hosts)
    for host in hosts:
        operator.remove_patch(host)
        operator.change_client(host, apply_takes="1s")
        operator.publish(host, "901.1", OLD)
    (results,) = operator.run(hosts, {})
    for result in results.values():
        assert (result["kind"], result["version"], result["patch_state"]) == ("ok", "901.1", "applied"), result
        assert result["round_trips"] > 2
        (patch,) = result["record"]["kernel_patches"]
        assert (bool(patch["transition"]), patch["verification"]["level"]) == (False, "file")


def test_a_blocked_transition_names_its_tasks(start: Start) -> None:
    operator = start(copies=2)
    started, blocked = hosts = tuple(operator.fleet.hosts)
    operator.publish(started, "901.1", OLD)
    for host in hosts:
        operator.remove_patch(host)
        operator.change_client(host, held_by="backupd {{ 1/0 }}")
    (results,) = operator.run(hosts, EachHost({started: {"wait": False}, blocked: {"timeout": 5}}))
    result = results[started]
    assert (result["kind"], result["changed"], result["patch_state"]) == ("ok", True, "applying")
    assert result["record"]["assessment"]["state"] == "applying"
    result = results[blocked]
    assert (result["kind"], result["error_id"]) == ("ignored", "transition_stalled")
    assert "backupd {{ 1/0 }} (4711)" in result["msg"]
    assert [(task["pid"], task["name"]) for task in result["tasks"]] == [(4711, "backupd {{ 1/0 }}")]
    for host in hosts:
        operator.fleet.finish_apply(host)
    (done,) = operator.run(hosts, {"timeout": 30})
    for result in done.values():
        assert (result["kind"], result["version"], result["tasks"]) == ("ok", "901.1", [])


def test_check_mode_only_reads(start: Start) -> None:
    hosts = (WITHOUT_TRANSITION, "needs-check")
    operator = start(*hosts)
    operator.publish(WITHOUT_TRANSITION, "901.1", NEW)
    operator.change_client("needs-check", patch_version="107.1")
    (results,) = operator.run(hosts, {"check_mode": True, "diff": True})
    known, waiting = results[WITHOUT_TRANSITION], results["needs-check"]
    assert (known["changed"], known["version"], known["previous_version"]) == (False, "107.1", "107.1")
    assert "Only a refresh shows" in known["msg"]
    assert (waiting["changed"], waiting["version"], waiting["previous_version"]) == (True, "107.1", None)
    assert waiting["diff"] == {"before": {"version": None}, "after": {"version": "107.1"}}
    asked = [line for host in hosts for line in operator.fleet.commands(host)]
    assert asked
    assert [line for line in asked if not READING.fullmatch(line)] == []


# --- failures ---

OBSTACLES = {
    "not-enabled": "not_enabled",
    "not-installed": "not_installed",
    "client-down": "daemon_down",
    "not-root": "not_root",
    "client-2018-refuses": "not_eligible_kernel",
}


def test_a_host_with_an_obstacle_is_not_refreshed(start: Start) -> None:
    operator = start(*OBSTACLES)
    (results,) = operator.run(OBSTACLES, {})
    assert {host: result["error_id"] for host, result in results.items()} == OBSTACLES
    for host, result in results.items():
        assert (result["kind"], result["changed"], result["round_trips"]) == ("ignored", False, 1)
        assert result["remedy"][1:] in result["msg"]
        assert not any("refresh" in line for line in operator.fleet.commands(host))


FAILURES = {
    "xenial-generic": ("apply_failed", "checksum"),
    "xenial-lowlatency": ("apply_failed", "cannot apply"),
    "client-11": ("check_failed", "503"),
    "client-6": ("apply_failed", "could not insert module"),
}


def test_a_failed_patch_is_explained_and_retried(start: Start) -> None:
    operator = start(*FAILURES)
    names = {host: operator.publish(host, "901.1", NEW) for host in FAILURES}
    before = {host: operator.modules(host) for host in FAILURES}
    operator.change_client("client-6", apply_fails=True)
    operator.fleet.set_faults(
        {"path": f"/v1/client/{machine_id('xenial-generic')}", "hash": True},
        {"path": f"/v1/patches/{names['xenial-lowlatency']}", "cut": 300},
        {"path": f"/v1/client/{machine_id('client-11')}", "status": 503},
    )
    (failed,) = operator.run(FAILURES, {})
    for host, (cause, text) in FAILURES.items():
        result = failed[host]
        assert (result["kind"], result["error_id"], result["changed"]) == ("ignored", cause, False), result
        assert text in result["msg"]
        assert operator.modules(host) == before[host]
        assert result["record"]["assessment"]["state"] == "failed"
    assert any("failed to enable patch" in line for line in failed["client-6"]["kernel_log"])
    operator.fleet.set_faults()
    operator.change_client("client-6", apply_fails=False)
    (done,) = operator.run(FAILURES, {})
    assert {result["version"] for result in done.values()} == {"901.1"}


def test_a_hanging_refresh_ends_at_the_deadline(start: Start) -> None:
    operator, host = start(WITH_TRANSITION), WITH_TRANSITION
    with operator.fleet.hold(host, "canonical-livepatch refresh"):
        (results,) = operator.run((host,), {"timeout": 1})
    assert (results[host]["error_id"], results[host]["changed"]) == ("refresh_timed_out", False)


def test_a_patch_of_another_signer_is_tampering(start: Start) -> None:
    hosts = (WITHOUT_TRANSITION, WITHOUT_KEY)
    operator = start(*hosts)
    for host in hosts:
        operator.publish(host, "901.1", NEW, STRANGER)
    tampered, off = operator.run(hosts, {"verify": "best_effort"}, {"verify": "off"})
    for host in hosts:
        assert (tampered[host]["error_id"], tampered[host]["changed"]) == ("tampered", True)
        assert tampered[host]["record"]["assessment"]["state"] == "tampered"
        assert off[host]["kind"] == "ok"


def test_an_unverified_patch_needs_best_effort(start: Start) -> None:
    hosts = (WITHOUT_KEY, WITHOUT_TRANSITION)
    required, best_effort = start(*hosts).run(
        hosts, {"trusted_certificates": []}, {"trusted_certificates": [], "verify": "best_effort"}
    )
    assert required[WITHOUT_KEY]["error_id"] == "not_verified"
    assert required[WITHOUT_TRANSITION]["kind"] == "ok", required
    (patch,) = required[WITHOUT_TRANSITION]["record"]["kernel_patches"]
    assert patch["verification"]["level"] == "kernel"
    assert {result["kind"] for result in best_effort.values()} == {"ok"}


def test_a_crash_lock_is_removed_on_request(start: Start) -> None:
    operator, host = start("crash-lock"), "crash-lock"
    operator.publish(host, "65.1", OLD)
    locks = operator.fleet.root(host) / COMMON / "locks"
    (lock,) = (path.name for path in locks.iterdir())
    other = locks / "livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2"
    other.touch()
    failed, check = operator.run((host,), {}, {"clear_crash_lock": True, "check_mode": True})
    assert (failed[host]["error_id"], failed[host]["crash_locks"]) == ("crash_lock", [lock])
    assert lock in failed[host]["msg"]
    assert (check[host]["changed"], check[host]["version"]) == (True, "65.1")
    assert (locks / lock).exists()
    (cleared,) = operator.run((host,), {"clear_crash_lock": True})
    assert (cleared[host]["kind"], cleared[host]["changed"], cleared[host]["version"]) == ("ok", True, "65.1")
    assert (cleared[host]["cleared_locks"], cleared[host]["crash_locks"]) == ([lock], [])
    assert other.exists(), "the lock of another kernel was removed"


# --- the script ---


def test_every_shell_returns_the_same_result(start: Start) -> None:
    operator = start(copies=len(SHELLS))
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    operator.publish(hosts[0], "901.1", OLD)
    locks = [f"livepatch_Ubuntu_6_8_0_45_45_generic_900_900.{number}" for number in (1, 2)]
    for host, shell in zip(hosts, SHELLS, strict=True):
        use_shell(lab, host, shell)
        operator.remove_patch(host)
        operator.change_client(host, held_by="backup d")
        proc = lab.root(host) / "proc"
        for place, state in (("4711/task/4712", "0"), ("4713", "1")):
            (proc / place).mkdir(parents=True)
            (proc / place / "comm").write_text("worker\n", encoding="ascii")
            (proc / place / "patch_state").write_text(f"{state}\n", encoding="ascii")
        for lock in (*locks, "other"):
            (lab.root(host) / COMMON / "locks" / lock).touch()
    (results,) = operator.run(hosts, {"timeout": 5, "clear_crash_lock": True})
    for host, result in results.items():
        assert result["error_id"] == "transition_stalled", result
        tasks = [(task["pid"], task["tid"], task["name"]) for task in result["tasks"]]
        assert tasks == [(4711, 4711, "backup d"), (4711, 4712, "worker")]
        assert sorted(result["cleared_locks"]) == locks
        assert [path.name for path in (lab.root(host) / COMMON / "locks").iterdir()] == ["other"]
        assert any("enabling patch" in line for line in result["kernel_log"])
        assert any("Checking with livepatch service" in line for line in result["journal"])


# --- the playbook and the role ---

WAVES = ("not-enabled", "unreachable", "xenial-generic", "xenial-lowlatency", "client-9.5", "client-10")
PLAYBOOK = "kernelops.livepatch.patch"


@pytest.mark.waves
@pytest.mark.matrix
def test_a_failed_canary_stops_the_waves(start: Start, tmp_path: Path) -> None:
    operator = start(*WAVES)
    lab, canary = operator.fleet, "client-10"
    enabled = [host for host in WAVES if host not in ("not-enabled", "unreachable")]
    for host in enabled:
        operator.publish(host, "901.1", NEW)
    operator.change_client(canary, apply_fails=True)
    terms = {"livepatch_trusted_certificates": [operator.certificate], "livepatch_network": False}
    for useless in ("not-enabled", "client-10,misspelt"):
        refused = operator.ansible.playbook(PLAYBOOK, livepatch_canary=useless, **terms)
        assert refused.code not in (0, 250)
        assert "canary" in refused.output
        assert [host for host in lab.hosts if "canonical-livepatch refresh" in lab.commands(host)] == []
    stopped = operator.ansible.playbook(PLAYBOOK, livepatch_canary=[canary], **terms)
    assert stopped.code != 0
    assert re.search(rf"^{re.escape(canary)} +failed ", stopped.output, re.MULTILINE), stopped.output
    assert re.search(r"^not-enabled +disabled ", stopped.output, re.MULTILINE), "the report has all hosts of the run"
    assert "Hosts of later waves, which were not changed: 3." in stopped.output
    assert f"wave 1: 1 host ({canary})" in stopped.output
    assert {host for host in lab.hosts if "canonical-livepatch refresh" in lab.commands(host)} == {canary}
    operator.change_client(canary, apply_fails=False)
    done = operator.ansible.playbook(PLAYBOOK, livepatch_fail_on=[], **terms)
    assert done.code == 0, done.output
    for host in enabled:
        record = json.loads((tmp_path / "livepatch-records" / f"{host}.json").read_text(encoding="utf-8"))
        assert (record["patch"]["version"], record["assessment"]["state"]) == ("901.1", "protected")
    assert "canonical-livepatch refresh" not in lab.commands("not-enabled")
    for host, state in (("not-enabled", "disabled"), ("unreachable", "no_answer")):
        assert re.search(rf"^{host} +{state} ", done.output, re.MULTILINE), done.output
    assert done.output.count("NEXT STEP") == 1, "a wave without failures was reported"
    assert "Could not match supplied host pattern" not in done.output


def test_the_role_tolerates_hosts_without_a_client(start: Start, tmp_path: Path) -> None:
    operator = start("xenial-generic", "not-enabled", "client-down")
    operator.publish("xenial-generic", "901.1", NEW)
    variables = {
        "patch_network": False,
        "patch_trusted_certificates": [operator.certificate],
        "patch_trusted_spki_sha256": [],
    }
    role = {"role": "kernelops.livepatch.patch", "vars": variables}
    playbook = tmp_path / "role.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [role]}]), encoding="utf-8")
    run = operator.ansible.command("playbook", str(playbook))
    kinds = {host: run.result(host)["kind"] for host in operator.fleet.hosts}
    assert kinds == {"xenial-generic": "ok", "not-enabled": "ok", "client-down": "failed"}
    assert run.result("xenial-generic")["version"] == "901.1"
    assert run.result("not-enabled")["error_id"] == "not_enabled"
