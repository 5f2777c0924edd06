# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `patch` from outside: what it brings to hosts, what stops it, and that looking changes nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.refresh import read_refresh_output
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Client, Description
from tests.lab.hosts.file_tree import COMMON
from tests.lab.live_patches import module_files, signing

from .conftest import Ansible, Run
from .shells import SHELLS
from .test_check import READING
from .test_probe_script import give, without_clock

MODULE = "kernelops.livepatch.patch"
STRANGER = signing.make_signer("Stranger")
OLD, NEW = ("CVE-2020-0001",), ("CVE-2020-0001", "CVE-2021-0002", "CVE-2021-0003")
# One that shows no transition and has no key, one with the key, and one that shows how far a transition is.
WITHOUT_KEY, WITHOUT_TRANSITION, WITH_TRANSITION = "client-9.5", "xenial-generic", "client-11"
GENERATIONS = ("client-2016", "client-6", "client-9.5", "client-10", "client-11")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("keys") / "signing.pem"
    path.write_bytes(module_files.vendor().pem)
    return str(path)


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest, lab_processes: Fleet) -> Iterator[Fleet]:
    """The hosts that a test names, as they are described, and a server without patches."""
    with lab_processes.with_hosts(tmp_path / "lab", only=list(request.param)) as fleet:
        yield fleet


def on(*hosts: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lab", [hosts], indirect=True, ids=[hosts[0]])


@dataclasses.dataclass(frozen=True)
class Operator:
    """Somebody who runs the module on hosts of a fleet, and trusts the lab's signer."""

    ansible: Ansible
    fleet: Fleet
    certificate: str

    def run(self, hosts: str, *words: str, **options: t.Any) -> Run:
        usual = {"policy": "current", "network": False, "trusted_certificates": [self.certificate]}
        return self.ansible.task(MODULE, hosts, *words, **{**usual, **options})

    def result(self, host: str, *words: str, **options: t.Any) -> dict[str, t.Any]:
        return self.run(host, *words, **options).result(host)

    def failure(self, host: str, *words: str, **options: t.Any) -> dict[str, t.Any]:
        result = self.result(host, *words, **options)
        assert result["kind"] == "failed", result
        assert result["remedy"], result
        assert result["remedy"] in result["msg"]
        return result

    def publish(self, host: str, version: str, fixes: tuple[str, ...], signer: signing.Signer | None = None) -> str:
        """Let the server have a patch for a host's kernel; return the file's name."""
        full = self.fleet.current(host).describe().kernel.full
        assert full is not None
        name, archive = signing.patch_for(full, version, signer or module_files.vendor())
        self.fleet.add_patch(name, archive, fixes=fixes)
        return name

    def change_client(self, host: str, **changes: t.Any) -> None:
        def become(description: Description) -> Description:
            client = description.client or Client()
            return dataclasses.replace(description, client=dataclasses.replace(client, **changes))

        self.fleet.change(host, become)

    def without_patch(self, host: str) -> None:
        """Let the host be as it is before its first patch."""

        def become(description: Description) -> Description:
            client = description.client or Client()
            client = dataclasses.replace(client, patch_state="nothing-to-apply", patch_version="", fixes=())
            return dataclasses.replace(description, client=client, module=None)

        self.fleet.change(host, become)

    def modules(self, host: str) -> list[str]:
        return sorted(path.name for path in (self.fleet.root(host) / "sys/kernel/livepatch").iterdir())


@pytest.fixture
def operator(tmp_path: Path, lab: Fleet, certificate: str) -> Operator:
    return Operator(Ansible(tmp_path, lab.variables), lab, certificate)


# --- to the newest patch ---


@on(*GENERATIONS)
def test_every_generation_of_clients_applies_its_first_patch_and_the_next(lab: Fleet, operator: Operator) -> None:
    hosts = ",".join(GENERATIONS)
    for host in GENERATIONS:
        operator.without_patch(host)
        operator.publish(host, "901.1", OLD)
    first = operator.run(hosts)
    for host in GENERATIONS:
        result = first.result(host)
        assert result["kind"] == "ok", result
        assert (result["changed"], result["previous_version"], result["version"]) == (True, None, "901.1")
        assert result["patch_state"] == "applied"
        assert result["closed_cves"] == ([] if host == "client-2016" else list(OLD))
        assert result["round_trips"] == 2
        (patch,) = result["record"]["kernel_patches"]
        assert (patch["module"], patch["verification"]["level"]) == (operator.modules(host)[0], "file")
        assert patch["verification"]["result"] == "verified"
        assert result["record"]["assessment"]["state"] == "protected", result["record"]["assessment"]
    again = operator.run(hosts)
    for host in GENERATIONS:
        result = again.result(host)
        assert (result["kind"], result["changed"]) == ("ok", False)
        assert (result["previous_version"], result["version"], result["closed_cves"]) == ("901.1", "901.1", [])
    for host in GENERATIONS:
        operator.publish(host, "902.1", NEW)
    newer = operator.run(hosts, "--diff")
    for host in GENERATIONS:
        result = newer.result(host)
        assert (result["changed"], result["previous_version"], result["version"]) == (True, "901.1", "902.1")
        assert result["closed_cves"] == ([] if host == "client-2016" else ["CVE-2021-0002", "CVE-2021-0003"])
        assert result["diff"] == {"before": {"version": "901.1"}, "after": {"version": "902.1"}}
        assert [name.rpartition("_")[2] for name in operator.modules(host)] == ["902"]


@on("nothing-to-apply", "upgrade-required")
def test_hosts_that_can_have_no_patch_are_no_failure(lab: Fleet, operator: Operator) -> None:
    full = lab.hosts["upgrade-required"].kernel.full or ""
    nothing = operator.result("nothing-to-apply")
    lab.state.set_support({full: "kernel-upgrade-required"})
    upgrade = operator.result("upgrade-required")
    for result, state in ((nothing, "nothing-to-apply"), (upgrade, "kernel-upgrade-required")):
        assert (result["kind"], result["changed"], result["version"]) == ("ok", False, None), result
        assert (result["patch_state"], result["round_trips"]) == (state, 2)
    assert "only a newer kernel helps" in upgrade["msg"]
    assert upgrade["record"]["assessment"]["state"] == "upgrade_required"


@on(WITH_TRANSITION)
def test_a_transition_is_waited_for(lab: Fleet, operator: Operator) -> None:
    operator.without_patch(WITH_TRANSITION)
    operator.change_client(WITH_TRANSITION, apply_takes="4s")
    operator.publish(WITH_TRANSITION, "901.1", OLD)
    result = operator.result(WITH_TRANSITION)
    assert (result["kind"], result["changed"], result["patch_state"]) == ("ok", True, "applied")
    assert 4 <= result["round_trips"] <= 7
    (patch,) = result["record"]["kernel_patches"]
    assert (patch["transition"], patch["verification"]["level"]) == (False, "file")


@on(WITHOUT_KEY)
def test_an_old_kernel_that_shows_no_transition_is_waited_for_by_its_client(lab: Fleet, operator: Operator) -> None:
    operator.without_patch(WITHOUT_KEY)
    operator.change_client(WITHOUT_KEY, apply_takes="3s")
    operator.publish(WITHOUT_KEY, "901.1", OLD)
    result = operator.result(WITHOUT_KEY)
    assert (result["kind"], result["version"], result["patch_state"]) == ("ok", "901.1", "applied")
    assert result["round_trips"] > 2


@on(WITH_TRANSITION)
def test_without_waiting_it_says_how_far_it_is(lab: Fleet, operator: Operator) -> None:
    operator.without_patch(WITH_TRANSITION)
    operator.change_client(WITH_TRANSITION, apply_takes="60s")
    operator.publish(WITH_TRANSITION, "901.1", OLD)
    result = operator.result(WITH_TRANSITION, wait=False)
    assert (result["kind"], result["changed"], result["patch_state"]) == ("ok", True, "applying")
    assert result["round_trips"] == 2
    assert result["record"]["assessment"]["state"] == "applying"


# A connection that is lost at the third command, and then back.
FLAKY = """\
import pathlib
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.loader import connection_loader

Lab = connection_loader.get("livepatch_lab", class_only=True)
DOCUMENTATION = __import__(Lab.__module__, fromlist=["DOCUMENTATION"]).DOCUMENTATION
DOCUMENTATION = DOCUMENTATION.replace("livepatch_lab\\n", "flaky\\n", 1)

class Connection(Lab):
    transport = "flaky"

    def exec_command(self, *words, **options):
        counter = pathlib.Path(self.get_option("directory"), "flaky-commands")
        count = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(count + 1))
        if count == 2:
            raise AnsibleConnectionFailure("the link is gone")
        return super().exec_command(*words, **options)
"""


@on(WITH_TRANSITION)
def test_a_connection_that_breaks_while_waiting_costs_one_look(lab: Fleet, operator: Operator, tmp_path: Path) -> None:
    operator.without_patch(WITH_TRANSITION)
    operator.change_client(WITH_TRANSITION, apply_takes="3s")
    operator.publish(WITH_TRANSITION, "901.1", OLD)
    (tmp_path / "connection").mkdir()
    (tmp_path / "connection" / "flaky.py").write_text(FLAKY, encoding="utf-8")
    folders = f"{tmp_path / 'connection'}:{lab.variables['ANSIBLE_CONNECTION_PLUGINS']}"
    ansible = Ansible(tmp_path, {**lab.variables, "ANSIBLE_CONNECTION_PLUGINS": folders})
    flaky = dataclasses.replace(operator, ansible=ansible)
    result = flaky.run(WITH_TRANSITION, "-e", "ansible_connection=flaky").result(WITH_TRANSITION)
    assert (result["kind"], result.get("version"), result.get("patch_state")) == ("ok", "901.1", "applied"), result
    commands = int((lab.directory / "flaky-commands").read_text(encoding="utf-8"))
    assert commands == result["round_trips"] >= 4


# --- what stops it ---


@on(WITH_TRANSITION)
def test_a_stalled_transition_names_who_holds_it_and_ends_when_they_do(lab: Fleet, operator: Operator) -> None:
    operator.without_patch(WITH_TRANSITION)
    operator.change_client(WITH_TRANSITION, held_by="backupd {{ 1/0 }}")
    operator.publish(WITH_TRANSITION, "901.1", OLD)
    failure = operator.failure(WITH_TRANSITION, timeout=3)
    assert failure["error_id"] == "transition_stalled"
    assert "backupd {{ 1/0 }} (4711)" in failure["msg"]
    assert [(task["pid"], task["name"]) for task in failure["tasks"]] == [(4711, "backupd {{ 1/0 }}")]
    assert failure["record"]["assessment"]["state"] == "applying"
    lab.finish_apply(WITH_TRANSITION)
    result = operator.result(WITH_TRANSITION)
    assert (result["kind"], result["version"], result["tasks"]) == ("ok", "901.1", [])


@on(WITHOUT_KEY)
def test_what_is_not_applied_in_time_is_a_failure(lab: Fleet, operator: Operator) -> None:
    operator.without_patch(WITHOUT_KEY)
    operator.change_client(WITHOUT_KEY, apply_takes="60s")
    operator.publish(WITHOUT_KEY, "901.1", OLD)
    failure = operator.failure(WITHOUT_KEY, timeout=2)
    assert failure["error_id"] == "not_yet_applied"
    assert "within 2 s" in failure["msg"]


@on(WITH_TRANSITION)
def test_a_refresh_that_hangs_is_ended_at_the_deadline(lab: Fleet, operator: Operator) -> None:
    client = lab.root(WITH_TRANSITION) / "snap/bin/canonical-livepatch"
    double = client.read_text(encoding="utf-8")
    client.unlink()
    client.write_text(
        double.replace("case ${1-} in\n--version)", '[ "$1" != refresh ] || exec sleep 60\ncase ${1-} in\n--version)'),
        encoding="utf-8",
    )
    client.chmod(0o755)
    failure = operator.failure(WITH_TRANSITION, timeout=2)
    assert failure["error_id"] == "refresh_timed_out"
    assert failure["changed"] is False


@on(WITHOUT_TRANSITION)
def test_a_patch_that_cannot_be_applied_fails_with_the_daemons_reason(lab: Fleet, operator: Operator) -> None:
    operator.change_client(WITHOUT_TRANSITION, apply_fails=True)
    operator.publish(WITHOUT_TRANSITION, "901.1", NEW)
    failure = operator.failure(WITHOUT_TRANSITION)
    assert failure["error_id"] == "apply_failed"
    assert "could not insert module" in failure["msg"]
    assert failure["changed"] is False
    assert failure["record"]["assessment"]["state"] == "failed"
    assert any("failed to enable patch" in line for line in failure["kernel_log"])


@on(WITHOUT_TRANSITION)
@pytest.mark.parametrize(
    ("fault", "words"),
    [({"cut": 300}, "cannot apply"), ({"hash": True}, "checksum")],
    ids=["truncated", "wrong hash"],
)
def test_what_the_server_sends_wrong_never_reaches_the_kernel(
    fault: dict[str, t.Any], words: str, lab: Fleet, operator: Operator
) -> None:
    before = operator.modules(WITHOUT_TRANSITION)
    operator.publish(WITHOUT_TRANSITION, "901.1", NEW)
    path = "/v1/client/" if "hash" in fault else "/v1/patches/"
    lab.set_faults({"path": path, **fault})
    failure = operator.failure(WITHOUT_TRANSITION)
    assert failure["error_id"] == "apply_failed"
    assert words in failure["msg"]
    assert operator.modules(WITHOUT_TRANSITION) == before
    assert failure["changed"] is False
    lab.set_faults()
    assert operator.result(WITHOUT_TRANSITION)["version"] == "901.1"


@on(WITHOUT_TRANSITION)
def test_a_server_that_does_not_answer_fails_the_check(lab: Fleet, operator: Operator) -> None:
    lab.set_faults(status=503)
    failure = operator.failure(WITHOUT_TRANSITION)
    assert failure["error_id"] == "check_failed"
    assert "503" in failure["msg"]


@on(WITHOUT_TRANSITION, WITHOUT_KEY)
def test_a_patch_of_another_signer_is_tampering(lab: Fleet, operator: Operator) -> None:
    for host in (WITHOUT_TRANSITION, WITHOUT_KEY):
        operator.publish(host, "901.1", NEW, STRANGER)
    run = operator.run(f"{WITHOUT_TRANSITION},{WITHOUT_KEY}", verify="best_effort")
    for host in (WITHOUT_TRANSITION, WITHOUT_KEY):
        failure = run.result(host)
        assert (failure["kind"], failure["error_id"], failure["changed"]) == ("failed", "tampered", True)
        assert failure["record"]["assessment"]["state"] == "tampered"
    off = operator.run(f"{WITHOUT_TRANSITION},{WITHOUT_KEY}", verify="off")
    assert off.code == 0, off.output


@on(WITHOUT_KEY, WITHOUT_TRANSITION)
def test_what_nobody_could_verify_passes_only_where_that_is_enough(lab: Fleet, operator: Operator) -> None:
    """No file, and a kernel without the key; the other kernel has it, and its word counts."""
    failure = operator.failure(WITHOUT_KEY)
    assert failure["error_id"] == "not_verified"
    assert operator.result(WITHOUT_KEY, verify="best_effort")["kind"] == "ok"
    canonical = operator.result(WITHOUT_TRANSITION, trusted_certificates=[])
    assert canonical["kind"] == "ok", canonical
    assert canonical["record"]["kernel_patches"][0]["verification"]["level"] == "kernel"


@pytest.mark.parametrize(
    ("lab", "error"),
    [
        (("not-enabled",), "not_enabled"),
        (("not-installed",), "not_installed"),
        (("client-down",), "daemon_down"),
        (("not-root",), "not_root"),
        (("client-2018-refuses",), "not_eligible_kernel"),
    ],
    indirect=["lab"],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
@pytest.mark.parametrize("words", [[], ["--check"]], ids=["run", "check"])
def test_a_host_that_cannot_be_patched_is_left_alone(
    words: list[str], error: str, lab: Fleet, operator: Operator
) -> None:
    (host,) = lab.hosts
    failure = operator.failure(host, *words)
    assert (failure["error_id"], failure["changed"], failure["round_trips"]) == (error, False, 1)
    assert not any("refresh" in line for line in lab.commands(host))


# --- crash locks ---


@on("crash-lock")
def test_a_crash_lock_is_reported_and_removed_only_when_asked(lab: Fleet, operator: Operator) -> None:
    host = "crash-lock"
    operator.publish(host, "65.1", OLD)
    (lock,) = (path.name for path in (lab.root(host) / COMMON / "locks").iterdir())
    failure = operator.failure(host)
    assert (failure["error_id"], failure["crash_locks"], failure["cleared_locks"]) == ("crash_lock", [lock], [])
    assert lock in failure["msg"]
    assert (lab.root(host) / COMMON / "locks" / lock).exists()
    check = operator.result(host, "--check", clear_crash_lock=True)
    assert (check["changed"], check["version"]) == (True, "65.1")
    assert (lab.root(host) / COMMON / "locks" / lock).exists()
    other = lab.root(host) / COMMON / "locks" / "livepatch_Ubuntu_4_15_0_54_58_generic_54_54.2"
    other.touch()
    result = operator.result(host, clear_crash_lock=True)
    assert (result["kind"], result["changed"], result["version"]) == ("ok", True, "65.1")
    assert (result["cleared_locks"], result["crash_locks"]) == ([lock], [])
    assert other.exists(), "a lock of another kernel is none of its business"


# --- no way back ---


@on(WITHOUT_TRANSITION)
@pytest.mark.parametrize("state", ["absent", "removed", "rollback"])
def test_there_is_no_rollback(state: str, lab: Fleet, operator: Operator) -> None:
    result = operator.result(WITHOUT_TRANSITION, state=state)
    assert (result["kind"], result["error_id"]) == ("failed", "no_rollback")
    assert "cannot be taken out of a running kernel" in result["msg"]
    assert "reboot" in result["msg"]
    assert lab.commands(WITHOUT_TRANSITION) == []


# --- check mode ---


@on(WITHOUT_TRANSITION, "needs-check")
def test_check_mode_only_reads_and_says_what_is_known(lab: Fleet, operator: Operator) -> None:
    operator.publish(WITHOUT_TRANSITION, "901.1", NEW)
    operator.change_client("needs-check", patch_version="107.1")
    run = operator.run(f"{WITHOUT_TRANSITION},needs-check", "--check", "--diff")
    known, waiting = run.result(WITHOUT_TRANSITION), run.result("needs-check")
    assert (known["changed"], known["version"], known["previous_version"]) == (False, "107.1", "107.1")
    assert "Only a refresh can tell" in known["msg"]
    assert (waiting["changed"], waiting["version"], waiting["previous_version"]) == (True, "107.1", None)
    assert waiting["diff"] == {"before": {"version": None}, "after": {"version": "107.1"}}
    asked = [line for host in (WITHOUT_TRANSITION, "needs-check") for line in lab.commands(host)]
    assert asked
    assert [line for line in asked if not READING.fullmatch(line)] == []


@on(WITHOUT_TRANSITION)
def test_options_that_cannot_be_are_refused(lab: Fleet, operator: Operator) -> None:
    assert operator.result(WITHOUT_TRANSITION, timeout=0)["error_id"] == "timeout_invalid"
    assert "rollback" in operator.result(WITHOUT_TRANSITION, rollback=True)["msg"]
    assert lab.commands(WITHOUT_TRANSITION) == []


# --- waves ---

WAVES = ("not-enabled", "unreachable", "xenial-generic", "xenial-lowlatency", "client-9.5", "client-10")
PLAYBOOK = "kernelops.livepatch.patch"


@pytest.mark.matrix
@on(*WAVES)
def test_a_canary_that_fails_stops_the_waves_and_is_in_the_report(
    lab: Fleet, operator: Operator, tmp_path: Path
) -> None:
    enabled = [host for host in WAVES if host not in ("not-enabled", "unreachable")]
    for host in enabled:
        operator.publish(host, "901.1", NEW)
    canary = "client-10"
    operator.change_client(canary, apply_fails=True)
    terms = {"livepatch_trusted_certificates": [operator.certificate], "livepatch_network": False}
    stopped = operator.ansible.playbook(PLAYBOOK, livepatch_canary=[canary], **terms)
    assert stopped.code != 0
    assert re.search(rf"^{re.escape(canary)} +failed ", stopped.output, re.MULTILINE), stopped.output
    assert {host for host in lab.hosts if "canonical-livepatch refresh" in lab.commands(host)} == {canary}
    operator.change_client(canary, apply_fails=False)
    done = operator.ansible.playbook(PLAYBOOK, livepatch_fail_on=[], **terms)
    assert done.code == 0, done.output
    for host in enabled:
        record = json.loads((tmp_path / "livepatch-records" / f"{host}.json").read_text(encoding="utf-8"))
        assert (record["patch"]["version"], record["assessment"]["state"]) == ("901.1", "protected")
    assert "canonical-livepatch refresh" not in lab.commands("not-enabled")
    for host, state in (("not-enabled", "disabled"), ("unreachable", "unreachable")):
        assert re.search(rf"^{host} +{state} ", done.output, re.MULTILINE), "they are in the report, and stop no wave"
    assert done.output.count("NEXT STEP") == 1, "a report on a wave is for one that fails"


@on("xenial-generic", "not-enabled", "client-down")
def test_the_role_patches_a_host_and_tolerates_what_it_is_told_to(
    lab: Fleet, operator: Operator, tmp_path: Path
) -> None:
    operator.publish("xenial-generic", "901.1", NEW)
    role = {
        "role": "kernelops.livepatch.patch",
        "vars": {
            "patch_network": False,
            "patch_trusted_certificates": [operator.certificate],
            "patch_trusted_spki_sha256": [],
        },
    }
    playbook = tmp_path / "role.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [role]}]), encoding="utf-8")
    run = operator.ansible.command("playbook", str(playbook))
    kinds = {host: run.result(host)["kind"] for host in lab.hosts}
    assert kinds == {"xenial-generic": "ok", "not-enabled": "ok", "client-down": "failed"}
    assert run.result("xenial-generic")["version"] == "901.1"
    assert run.result("not-enabled")["error_id"] == "not_enabled"


# --- the script ---


@pytest.mark.shells
@on(WITH_TRANSITION)
def test_every_shell_gives_the_same_sections(lab: Fleet, operator: Operator) -> None:
    operator.without_patch(WITH_TRANSITION)
    operator.change_client(WITH_TRANSITION, held_by="backup d")
    operator.publish(WITH_TRANSITION, "901.1", OLD)
    operator.result(WITH_TRANSITION, timeout=1)
    thread = lab.root(WITH_TRANSITION) / "proc/4711/task/4712"
    thread.mkdir(parents=True)
    (thread / "comm").write_text("worker\n", encoding="ascii")
    (thread / "patch_state").write_text("0\n", encoding="ascii")
    moved = lab.root(WITH_TRANSITION) / "proc/4713"
    moved.mkdir()
    (moved / "patch_state").write_text("1\n", encoding="ascii")
    locks = lab.root(WITH_TRANSITION) / COMMON / "locks"
    nonce = "0f" * 16
    variables = {"server": "", "network": "", "verify": "auto", "certificate": "", "refresh": "30", "locks": "a_1 b_2"}
    script = compose(("probe", "patch"), nonce, variables)
    seen = {}
    for name, shell in SHELLS.items():
        for lock in ("a_1", "b_2", "c_3"):
            (locks / lock).touch()
        command, _blank, options = shell.partition(" ")
        done = lab.run(WITH_TRANSITION, f"{give(lab, WITH_TRANSITION, command)} {options} -s", script.encode())
        sections = parse(done.stdout.decode(), done.stderr.decode(), nonce)
        assert sections.complete, (name, done)
        assert [path.name for path in locks.iterdir()] == ["c_3"]
        # What a refresh leaves differs from one to the next.
        refreshed = {"refresh", "status json", "kernel_log", "journal"}
        seen[name] = {key: value for key, value in without_clock(sections).items() if key not in refreshed}
        watch = read_refresh_output(sections)
        assert [(task.pid, task.tid, task.name) for task in watch.tasks] == [
            (4711, 4711, "backup d"),
            (4711, 4712, "worker"),
        ]
        assert (watch.removed, watch.refused) == (("a_1", "b_2"), None)
        assert any("enabling patch" in line for line in watch.kernel_log)
        assert any("Checking with livepatch service" in line for line in watch.journal)
    assert seen["dash"] == seen["busybox"] == seen["bash"] == seen["mksh"]


def test_the_script_passes_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed on this machine")
    script = compose(("probe", "patch"), "0f" * 16, {"refresh": "", "locks": "", "verify": "", "certificate": ""})
    words = ["shellcheck", "--shell=sh", "--severity=style", "-"]
    checked = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
