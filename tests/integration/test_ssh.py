# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""`check` against a real sshd, with real sudo and su, on a host where no Python runs."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible, Run
from tests.integration.sshd import Sshd, UnavailableError, running

pytestmark = pytest.mark.matrix

CHECK = "kernelops.livepatch.check"
PROBE = Path(__file__).parents[2] / "plugins" / "plugin_utils" / "shell" / "probe.sh"
STATUS = {
    "Client-Version": "10.8.3",
    "Machine-Id": "0" * 32,
    "Architecture": "x86_64",
    "Last-Check": "2026-01-02T03:04:05Z",
    "Status": [
        {
            "Kernel": "4.4.0-168.197-generic",
            "Running": True,
            "Livepatch": {"CheckState": "checked", "State": "applied", "Version": "65.1"},
        }
    ],
    "tier": "updates",
}
# Writes as much to standard error as to standard output: the streams must stay separate on every connection.
CLIENT = f"""\
#!/bin/sh
number=0
while [ $number -lt 200 ]; do
    echo "WARNING: cgroup v2 is not fully supported yet, proceeding with partial confinement" >&2
    number=$((number + 1))
done
case $* in
    "status --format json") cat <<'JSON'
{json.dumps(STATUS, indent=1)}
JSON
        ;;
    config) echo 'remote-server: "https://livepatch.canonical.com"' ;;
    *) exit 2 ;;
esac
"""


class Checked(t.NamedTuple):
    """A run of `check` in a folder, and the number of commands that it started on the host."""

    run: Run
    folder: Path
    commands: int

    def record(self, host: str) -> dict[str, t.Any]:
        return self._read(f"livepatch-records/{host}.json")

    def results(self, host: str) -> list[dict[str, t.Any]]:
        """Return the results that name the stored record of a host."""
        found = [line["result"] for line in self.run.results if line["host"] == host]
        return [result for result in found if "record_file" in result]

    def failure(self, host: str) -> dict[str, t.Any]:
        """Return the reason why the report has no record of a host."""
        (attempt,) = (found for found in self.report["unreachable"] if found["host"] == host)
        (reason,) = attempt["assessment"]["reasons"]
        return t.cast("dict[str, t.Any]", reason)

    @property
    def report(self) -> dict[str, t.Any]:
        return self._read("livepatch-report/fleet.json")

    def _read(self, path: str) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.folder / path).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    try:
        with running({"canonical-livepatch": CLIENT}) as sshd:
            yield sshd
    except UnavailableError as reason:
        pytest.skip(str(reason))


def connections(sshd: Sshd) -> dict[str, dict[str, t.Any]]:
    """Return the variables of every connection to the one host, by the name in the inventory."""
    sudo = {"ansible_become": True, "ansible_become_password": sshd.password}
    su = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_password": sshd.root_password}
    return {
        "by-sudo": sudo,
        "by-su": su,
        "no-become": {},
        "sudo-wrong-password": {**sudo, "ansible_become_password": "made up, and wrong"},
        "sudo-no-password": {"ansible_become": True},
        "su-wrong-password": {**su, "ansible_become_password": "made up, and wrong"},
        "sudo-wants-terminal": {**sudo, "ansible_user": "terminal"},
        "no-shell": {"ansible_user": "closed"},
        "no-server": {"ansible_port": 1},
    }


@pytest.fixture
def ansible(sshd: Sshd, tmp_path: Path) -> Ansible:
    return controller(sshd, tmp_path)


def controller(sshd: Sshd, folder: Path) -> Ansible:
    inventory = folder / "inventory.json"
    variables = {**sshd.variables, "livepatch_network": False}
    inventory.write_text(json.dumps({"all": {"vars": variables, "hosts": connections(sshd)}}), encoding="utf-8")
    return Ansible(folder, {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(sshd.folder / "sockets")})


def check(sshd: Sshd, folder: Path, *words: str) -> Checked:
    before = sshd.commands()
    run = controller(sshd, folder).command("playbook", "-i", "inventory.json", CHECK, *words)
    return Checked(run, folder, sshd.commands() - before)


@pytest.fixture(scope="module")
def checked(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return check(sshd, tmp_path_factory.mktemp("real"))


def privileges(record: dict[str, t.Any]) -> str:
    (found,) = (each for each in record["eligibility"]["checks"] if each["id"] == "privileges")
    return str(found["status"])


def test_no_python_runs_on_the_host(ansible: Ansible) -> None:
    line = "for python in python3 python2 python; do $python -c 'print(6 * 7)'; echo exit=$?; done"
    run = ansible.command("adhoc", "-i", "inventory.json", "by-sudo", "-m", "ansible.builtin.raw", "-a", line)
    assert run.code == 0, run.output
    assert "42" not in run.output.splitlines()
    assert sum(run.output.count(f"exit={refused}") for refused in (126, 127)) == 3, run.output


def test_sudo_with_a_password_gives_a_complete_record(checked: Checked) -> None:
    record = checked.record("by-sudo")
    assert privileges(record) == "pass"
    assert record["client"]["version"] == "10.8.3"
    assert (record["patch"]["state"], record["patch"]["version"]) == ("applied", "65.1")


def test_without_become_facts_of_root_are_unknown(checked: Checked) -> None:
    assert checked.run.result("no-become")["kind"] == "ok"
    record = checked.record("no-become")
    assert privileges(record) == "unknown"
    assert record["client"]["version"] == "10.8.3"


def test_su_gives_the_same_record_as_sudo(checked: Checked) -> None:
    """`su` needs a terminal, which merges the streams and cannot take a script as input."""
    differing = {"host": "", "collected_at": "", "system": ""}
    by_su, by_sudo = checked.record("by-su"), checked.record("by-sudo")
    assert {**by_su, **differing} == {**by_sudo, **differing}
    without_boot = [{**record["system"]["kernel"], "booted_at": ""} for record in (by_su, by_sudo)]
    assert without_boot[0] == without_boot[1]


@pytest.mark.parametrize(
    ("host", "reason", "remedy"),
    [
        ("sudo-wrong-password", "become_password_wrong", "ansible_become_password"),
        ("su-wrong-password", "become_password_wrong", "ansible_become_password"),
        ("sudo-no-password", "become_password_missing", "--ask-become-pass"),
        ("sudo-wants-terminal", "sudo_requires_tty", "Defaults requiretty"),
        ("no-shell", "script_did_not_run", "raw -a 'echo ok'"),
    ],
)
def test_a_failed_connection_has_a_remedy(checked: Checked, host: str, reason: str, remedy: str) -> None:
    (result,) = (line for line in checked.run.results if line["host"] == host and line["kind"] == "ignored")
    assert result["result"]["error_id"] == reason
    assert remedy in result["result"]["msg"]
    failure = checked.failure(host)
    assert failure["id"] == reason
    assert remedy in failure["remedy"]


def test_a_missing_server_is_named(checked: Checked) -> None:
    assert checked.run.result("no-server")["kind"] == "unreachable"
    assert "Connection refused" in checked.failure("no-server")["message"]


def test_the_report_has_all_other_hosts(checked: Checked, sshd: Sshd) -> None:
    records = sorted(record["host"] for record in checked.report["records"])
    missing = sorted(attempt["host"] for attempt in checked.report["unreachable"])
    assert records == ["by-su", "by-sudo", "no-become"]
    assert missing == sorted(connections(sshd).keys() - set(records))


def test_every_host_runs_one_command(checked: Checked, sshd: Sshd) -> None:
    assert checked.commands == len(connections(sshd)) - len(["no-server"])


def test_check_mode_gives_the_same_records(checked: Checked, sshd: Sshd, tmp_path: Path) -> None:
    dry = check(sshd, tmp_path, "--check", "--limit", "by-sudo,by-su,no-become")
    assert dry.run.code == 0, dry.run.output
    for host in ("by-sudo", "by-su", "no-become"):
        assert [result["changed"] for each in (dry, checked) for result in each.results(host)] == [False, False]
        records = [each.record(host) for each in (dry, checked)]
        for record in records:
            record["collected_at"] = record["system"]["kernel"]["booted_at"] = None
        assert records[0] == records[1]


def test_no_verbosity_shows_script_or_password(sshd: Sshd, tmp_path: Path) -> None:
    seen = check(sshd, tmp_path, "-vvvvv", "--limit", "by-sudo")
    assert seen.run.code == 0, seen.run.output
    assert "/bin/sh -s" in seen.run.output, "commands are shown, so a script among them would be"
    script = PROBE.read_text(encoding="utf-8").splitlines()
    assert [line for line in script if len(line.strip()) > 15 and line.strip() in seen.run.output] == []
    assert sshd.password not in seen.run.output
