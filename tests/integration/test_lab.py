# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lab is what it says: its hosts have no Python, its doubles are strict, its faults are real."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import struct
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab import Description, DescriptionError, Fleet, LabError, down, load_descriptions, running_fleet, up

from .conftest import Ansible, Run

pytestmark = pytest.mark.lab

HOSTS = load_descriptions()
CLIENT = "/snap/bin/canonical-livepatch"
COMMON = "/var/snap/canonical-livepatch/common"
NOISE = 50_000_000
REST = "architecture=amd64&build-date=unknown"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three copies of one host, for tests that leave traces."""
    with running_fleet(tmp_path_factory.mktemp("copies"), count=3) as fleet:
        yield fleet


def said(fleet: Fleet, name: str, line: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command line on a host."""
    done = fleet.run(name, line)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


# --- descriptions


def test_the_fleet_covers_every_state_and_every_check() -> None:
    expected = [host.expected(policy) for host in HOSTS.values() for policy in ("launch", "current")]
    failing = {check for one in expected for check in one.failing}
    assert len(HOSTS) >= 24
    assert {one.state for one in expected} == {
        *("no_answer", "tampered", "ineligible", "held_back", "failed", "end_of_life", "upgrade_required"),
        *("disabled", "stale", "applying", "unverified", "protected", "unknown"),
    }
    assert failing == {
        *("distribution", "release", "architecture", "kernel_series", "flavour", "kernel_origin", "kernel_livepatch"),
        *("snapd", "network", "container", "secure_boot", "kernel_conflict", "kernel_supported"),
    }
    assert {host.client.generation for host in HOSTS.values() if host.client} == {"2016", "6", "9.5", "10", "11"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hosts: {one: {expect: {state: protected, verdict: eligible}, kernle: {}}}", "one: unknown key kernle"),
        ("hosts: {one: {like: two, expect: {state: protected, verdict: eligible}}}", "one: like: two is unknown"),
        ("hosts: {one: {like: one}}", "refers to itself"),
        ("hosts: {one: {}}", "one: .*expect"),
        ("hosts: {one: {network: 3, expect: {state: protected, verdict: eligible}}}", "one.network: expected bool"),
        ("hostz: {}", "unknown key hostz"),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "fleet.yml").write_text(text, encoding="utf-8")
    with pytest.raises(DescriptionError, match=message):
        load_descriptions(tmp_path)


# --- the sandboxes, through Ansible


def play(ansible: Ansible, hosts: str, *tasks: dict[str, t.Any], **variables: str) -> Run:
    """Run tasks on hosts, one play."""
    playbook = ansible.folder / "play.yml"
    playbook.write_text(
        yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": list(tasks)}]), encoding="utf-8"
    )
    return ansible.command("playbook", str(playbook), **variables)


def test_raw_reaches_every_host_and_none_has_a_python(ansible: Ansible) -> None:
    search = "uname -r; command -v python python2 python3 perl; ls /usr/bin /usr/local/bin /usr/sbin | grep python"
    run = play(ansible, "all", {"ansible.builtin.raw": f"{search}; exit 0"})
    assert {line["host"] for line in run.results} == set(HOSTS)
    for name, host in HOSTS.items():
        result = run.result(name)
        if host.faults.unreachable:
            assert result["kind"] == "unreachable"
            continue
        release, *pythons = result["stdout_lines"]
        assert bool(pythons) is host.python, name
        assert release.startswith(kernel_base(host)), name


def kernel_base(host: Description) -> str:
    return (host.kernel.full or host.kernel.release or "").partition("-")[0]


PIPE = """\
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        piped = self._low_level_execute_command("cat; echo to stderr >&2; exit 7", in_data=b"0123456789\\n" * 100_000)
        self._connection.put_file(__file__, "/tmp/put file")
        self._connection.fetch_file("/tmp/put file", self._task.args["back"])
        return {"rc": piped["rc"], "bytes": len(piped["stdout"]), "stderr": piped["stderr"]}
"""


def test_the_connection_carries_input_and_files(ansible: Ansible, tmp_path: Path) -> None:
    for folder, text in (("action", PIPE), ("library", "")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pipe.py").write_text(text, encoding="utf-8")
    folders = {"ANSIBLE_ACTION_PLUGINS": str(tmp_path / "action"), "ANSIBLE_LIBRARY": str(tmp_path / "library")}
    result = play(ansible, "xenial-generic", {"pipe": {"back": str(tmp_path / "back")}}, **folders).result(
        "xenial-generic"
    )
    assert (result["rc"], result["bytes"], result["stderr"]) == (7, 1_100_000, "to stderr\n")
    assert (tmp_path / "back").read_text(encoding="utf-8") == PIPE


def test_a_host_that_the_lab_does_not_have_is_unreachable(ansible: Ansible, tmp_path: Path, fleet: Fleet) -> None:
    inventory = yaml.safe_load(fleet.inventory.read_text(encoding="utf-8"))
    inventory["all"]["hosts"] = {"nobody": None}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    task = {"ansible.builtin.raw": "true"}
    result = play(ansible, "all", task, ANSIBLE_INVENTORY=str(tmp_path / "inventory.yml")).result("nobody")
    assert result["kind"] == "unreachable"
    assert "has no host nobody" in result["msg"]


# --- what a host shows


@pytest.mark.parametrize(
    ("name", "release", "version", "signature"),
    [
        (
            "client-9.5",
            "4.4.0-168-generic",
            "#197-Ubuntu SMP Wed Nov 6 11:18:45 UTC 2019",
            "4.4.0-168.197-generic 4.4.197",
        ),
        ("hwe-4.15", "4.15.0-142-generic", "#146~16.04.1-Ubuntu SMP", "4.15.0-142.146~16.04.1-generic 4.15.18"),
        ("fips-kernel", "4.4.0-1017-fips", "#22~recert1-Ubuntu SMP", "4.4.0-1017.22~recert1-fips 4.4.178"),
        ("realtime-kernel", "5.15.0-1032-realtime", "#35-Ubuntu SMP PREEMPT_RT", "5.15.0-1032.35-realtime 5.15.86"),
    ],
)
def test_every_name_of_a_kernel_agrees(fleet: Fleet, name: str, release: str, version: str, signature: str) -> None:
    _code, output, _errors = said(
        fleet, name, "uname -r; uname -v; uname -srv; cat /proc/version_signature /proc/version"
    )
    lines = output.splitlines()
    assert lines[0] == release
    assert lines[1].startswith(version)
    assert lines[2] == f"Linux {release} {lines[1]}"
    assert lines[3] == f"Ubuntu {signature}"
    assert lines[4].startswith(f"Linux version {release} (buildd@")
    assert lines[4].endswith(lines[1])
    code, output, _errors = said(
        fleet, name, "cat /proc/sys/kernel/osrelease /proc/sys/kernel/version; ls /boot /lib/modules"
    )
    assert code == 0
    assert output.splitlines()[:2] == [release, lines[1]]
    assert {f"config-{release}", f"vmlinuz-{release}", release} <= set(output.splitlines())


def test_a_kernel_that_ubuntu_did_not_build_has_no_signature(fleet: Fleet) -> None:
    for name in ("mainline-kernel", "custom-kernel", "wsl"):
        assert said(fleet, name, "cat /proc/version_signature")[0] == 1


def test_the_clock_of_a_host_runs(ansible: Ansible) -> None:
    look = {"ansible.builtin.raw": "date +%s; cat /proc/uptime /proc/stat"}
    run = play(ansible, "xenial-generic", look, look)
    uptimes = []
    for line in run.results:
        now, uptime, *stat = line["result"]["stdout_lines"]
        uptimes.append(float(uptime.split()[0]))
        boot = next(int(row.split()[1]) for row in stat if row.startswith("btime "))
        assert abs(boot + uptimes[-1] - int(now)) < 2
    assert len(uptimes) == 2
    assert uptimes[0] < uptimes[1]


def test_a_loaded_patch_is_in_sysfs_as_the_kernel_shows_it(fleet: Fleet) -> None:
    module = "lkp_Ubuntu_4_4_0_168_197_generic_65"
    line = f"cat /sys/kernel/livepatch/{module}/enabled /sys/module/{module}/taint /proc/sys/kernel/tainted"
    assert said(fleet, "client-9.5", line)[1].split() == ["1", "OEK", "45056"]
    assert said(fleet, "client-9.5", f"cat /sys/kernel/livepatch/{module}/transition")[0] == 1
    note = fleet.run("client-9.5", f"cat /sys/module/{module}/notes/.note.gnu.build-id").stdout
    assert struct.unpack("<III4s", note[:16]) == (4, 20, 3, b"GNU\0")
    assert len(note) == 36
    moving = "/sys/kernel/livepatch/lkp_Ubuntu_4_15_0_212_223_generic_102/transition"
    assert said(fleet, "in-transition", f"cat {moving}")[1] == "1\n"
    assert said(fleet, "unverified", "ls /sys/kernel/livepatch")[1] == ""


def test_only_a_tampered_patch_is_unsigned_for_a_kernel_that_has_the_key(fleet: Fleet) -> None:
    line = "grep -c 14df34d1a87cf37625abec039ef2bf521249b969 /proc/keys; cat /sys/module/lkp_*/taint"
    assert said(fleet, "tampered", line)[1].split() == ["1", "OEK"]
    assert said(fleet, "xenial-generic", line)[1].split() == ["1", "OK"]
    assert said(fleet, "client-9.5", line)[1].split() == ["0", "OEK"]


def test_secure_boot_is_a_variable_of_the_firmware(fleet: Fleet) -> None:
    variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    assert fleet.run("secure-boot", f"cat {variable}").stdout == b"\x06\0\0\0\1"
    assert said(fleet, "secure-boot", "mokutil --sb-state") == (0, "SecureBoot enabled\n", "")
    assert said(fleet, "xenial-generic", "mokutil --sb-state")[0] == 1
    assert said(fleet, "xenial-generic", "ls -d /sys/firmware/efi")[0] != 0
    assert said(fleet, "secure-boot-old-kernel", "mokutil --test-key /key")[1] == "/key is not enrolled\n"
    assert said(fleet, "secure-boot-key-enrolled", "mokutil --test-key /key")[1] == "/key is already enrolled\n"


def test_architecture_and_virtualization_are_the_described_ones(fleet: Fleet) -> None:
    line = "uname -m; dpkg --print-architecture; getconf LONG_BIT; systemd-detect-virt; systemd-detect-virt --container"
    assert said(fleet, "xenial-generic", line)[1].split() == ["x86_64", "amd64", "64", "kvm", "none"]
    assert said(fleet, "i386", line)[1].split() == ["i686", "i386", "32", "kvm", "none"]
    assert said(fleet, "i386-on-64-bit-kernel", line)[1].split() == ["x86_64", "i386", "32", "kvm", "none"]
    assert said(fleet, "lxd-container", line)[1].split() == ["x86_64", "amd64", "64", "lxc", "lxc"]
    assert said(fleet, "desktop", "systemd-detect-virt") == (1, "none\n", "")
    assert said(fleet, "docker-container", "systemd-detect-virt")[0] == 127


def test_a_user_is_denied_what_is_roots(fleet: Fleet) -> None:
    paths = [f"{COMMON}/machine-token", "/proc/1/environ", "/boot/vmlinuz-4.4.0-261-generic"]
    assert said(fleet, "not-root", "id -u")[1] == "1000\n"
    assert said(fleet, "xenial-generic", "id -u")[1] == "0\n"
    for path in paths:
        code, output, errors = said(fleet, "not-root", f"cat {path}")
        assert (code, output) == (1, "")
        assert "Permission denied" in errors
        assert said(fleet, "xenial-generic", f"cat {path}")[0] == 0
    assert said(fleet, "not-root", f"ls {COMMON}")[0] == 2


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("no-curl-no-wget", ["curl", "wget"]),
        ("bash-only", ["curl", "wget", "openssl"]),
        ("no-network-command", ["curl", "wget", "openssl", "bash"]),
        ("no-snapd", ["snap"]),
        ("not-installed", [CLIENT]),
    ],
)
def test_a_hidden_command_is_not_there(fleet: Fleet, name: str, absent: list[str]) -> None:
    for command in absent:
        assert said(fleet, name, f"command -v {command}")[0] != 0
        assert said(fleet, name, f"{command} --version")[0] == 127


# --- the client double


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("client-2016", "3"),
        ("client-6", "7.23"),
        ("client-9.5", "9.5.5"),
        ("client-10", "10.11.2"),
        ("client-11", "v11.0.2"),
    ],
)
def test_every_client_says_its_version(fleet: Fleet, name: str, version: str) -> None:
    assert said(fleet, name, f"{CLIENT} --version") == (0, f"canonical-livepatch version {version}\n", "")


def test_the_first_client_prints_three_lines(fleet: Fleet) -> None:
    text = 'kernel: 4.4.0-38.57-generic\nfully-patched: true\nversion: "12.2"\n'
    assert said(fleet, "client-2016", f"{CLIENT} status") == (0, text, "")
    marked = said(fleet, "client-2016-unsupported", f"{CLIENT} status")[1]
    assert marked.startswith("kernel: 4.4.0-38.57-generic (unsupported)\nfully-patched: false\n")


def test_clients_6_to_9_4_print_yaml(fleet: Fleet) -> None:
    document = yaml.safe_load(said(fleet, "client-6", f"{CLIENT} status")[1])
    assert document["client-version"] == "7.23"
    assert document["architecture"] == "x86_64"
    assert isinstance(document["last-check"], dt.datetime)
    livepatch = document["status"][0]["livepatch"]
    assert (livepatch["checkState"], livepatch["patchState"], livepatch["version"]) == ("checked", "applied", "33.2")
    assert livepatch["fixes"].splitlines()[1:] == [
        "* CVE-2016-0758 LP: #1581202",
        "* CVE-2017-1000364 LP: #1698919 (unpatched)",
    ]


@pytest.mark.parametrize("name", ["client-9.5", "client-10", "client-11"])
def test_later_clients_print_json_and_yaml_of_one_content(fleet: Fleet, name: str) -> None:
    humane = said(fleet, name, f"{CLIENT} status")[1]
    document = json.loads(said(fleet, name, f"{CLIENT} status --format json")[1])
    same = yaml.safe_load(said(fleet, name, f"{CLIENT} status --format=yaml")[1])
    assert humane.startswith("last check: ")
    assert document["Client-Version"] == same["client-version"]
    assert document["Uptime"].isdecimal()
    entry, other = document["Status"][0], same["status"][0]
    assert entry["Running"] is other["running"] is True
    assert entry["Livepatch"]["State"] == other["livepatch"]["patchState"] == "applied"
    assert entry["Livepatch"]["Version"] == other["livepatch"]["version"]
    assert len(entry["Livepatch"]["Fixes"]) == len(other["livepatch"]["fixes"].splitlines())
    newer = name != "client-9.5"
    assert ("Supported" in entry, "supported" in other, "tier" in document, "tier" in same) == (newer,) * 4
    assert ("Fixed-CVEs" in document) == (name == "client-11")


def test_the_running_kernel_may_stand_second_and_fixes_may_be_absent(fleet: Fleet) -> None:
    status = json.loads(said(fleet, "other-kernel-first", f"{CLIENT} status --format json")[1])["Status"]
    assert [entry["Running"] for entry in status] == [False, True]
    status = json.loads(said(fleet, "nothing-to-apply", f"{CLIENT} status --format json")[1])["Status"]
    assert "Fixes" not in status[0]["Livepatch"]


def test_a_machine_token_is_shown_with_verbose_only(fleet: Fleet) -> None:
    for name in ("client-6", "client-10"):
        token = said(fleet, name, f"cat {COMMON}/machine-token")[1].strip()
        assert len(token) == 32
        assert token in said(fleet, name, f"{CLIENT} status --verbose")[1]
        assert token not in said(fleet, name, f"{CLIENT} status")[1]


def test_a_client_that_is_not_enabled_fails_with_its_text(fleet: Fleet) -> None:
    for line in ("status", "status --format json", "status --verbose"):
        code, output, errors = said(fleet, "not-enabled", f"{CLIENT} {line}")
        assert (code, output) == (1, "")
        assert errors.startswith("Machine is not enabled. Please run 'sudo canonical-livepatch enable'")
    code, output, errors = said(fleet, "not-enabled-2016", f"{CLIENT} status")
    assert (code, errors) == (1, "")
    assert output.startswith("Machine is not enabled.")
    assert said(fleet, "not-enabled", f"{CLIENT} config")[0] == 0


@pytest.mark.parametrize(
    ("name", "line", "code", "message"),
    [
        ("client-2016", "status --format json", 2, "not defined: --format"),
        ("client-6", "status --format json", 2, "not defined: --format"),
        ("client-10", "status --format xml", 1, "unknown output format"),
        ("client-10", "status --quiet", 2, "not defined: --quiet"),
        ("client-10", "version", 2, "unrecognized command"),
        ("client-down", "status", 1, "livepatchd.sock: connect: no such file or directory"),
        ("client-down", "config", 1, "livepatchd.sock: connect: no such file or directory"),
        ("client-2018-refuses", "--version", 1, 'your kernel "4.15.0-1010-kvm" is not eligible for livepatch updates'),
        ("client-2018-refuses", "status", 1, 'your kernel "4.15.0-1010-kvm" is not eligible for livepatch updates'),
    ],
)
def test_the_client_refuses(fleet: Fleet, name: str, line: str, code: int, message: str) -> None:
    ended, output, errors = said(fleet, name, f"{CLIENT} {line}")
    assert (ended, output) == (code, "")
    assert message in errors


def test_the_configuration_is_one_quoted_value_a_line(fleet: Fleet) -> None:
    code, output, _errors = said(fleet, "client-10", f"{CLIENT} config")
    assert code == 0
    assert f'remote-server: "{fleet.server}"\n' in output
    assert 'https-proxy: ""\n' in output


def test_a_crash_lock_lies_where_the_daemon_looks(fleet: Fleet) -> None:
    lock = "livepatch_Ubuntu_4_4_0_168_197_generic_65_65.1\n"
    assert said(fleet, "crash-lock", f"ls {COMMON}/locks")[1] == lock
    assert said(fleet, "crash-lock", f"{CLIENT} status")[0] == 1


# --- snap


def test_snap_lists_what_is_described(fleet: Fleet) -> None:
    rows = dict(line.split(None, 1) for line in said(fleet, "xenial-generic", "snap version")[1].splitlines())
    assert rows == {
        "snap": "2.61.4",
        "snapd": "2.61.4",
        "series": "16",
        "ubuntu": "16.04",
        "kernel": "4.4.0-261-generic",
    }
    assert said(fleet, "xenial-generic", "snap list canonical-livepatch")[0] == 0
    assert said(fleet, "not-installed", "snap list canonical-livepatch")[0] == 1
    assert said(fleet, "xenial-generic", "snap install hello")[0] == 1
    assert said(fleet, "xenial-generic", "snap dance")[0] == 64


def test_snap_waits_for_the_seed(fleet: Fleet) -> None:
    wait = "timeout 0.3 snap wait system seed.loaded"
    assert said(fleet, "xenial-generic", wait)[0] == 0
    assert said(fleet, "not-seeded", wait)[0] == 124
    code, _output, errors = said(fleet, "snapd-2.14", wait)
    assert (code, errors) == (1, "error: Unknown command `wait'\n")


def test_questions_to_a_stopped_snapd_take_long(fleet: Fleet) -> None:
    """As in the session `snapd`: 25 seconds for the version, and 120 seconds for all others."""
    for words in ("snap version", "snap list"):
        assert said(fleet, "snapd-down", f"timeout 0.3 {words}") == (124, "", "")


# --- hostile hosts


def test_the_noise_is_really_there(fleet: Fleet) -> None:
    status = fleet.run("hostile-noise", f"{CLIENT} status --format json").stdout
    assert len(status) > NOISE
    assert int(said(fleet, "hostile-noise", "wc -c </etc/os-release")[1]) > NOISE
    assert b"\n@0123456789abcdef end\n" in status[-1000:]


def test_hostile_values_reach_the_reader_as_they_are(fleet: Fleet) -> None:
    document = json.loads(said(fleet, "hostile-values", f"{CLIENT} status --format json")[1])
    assert document["tier"].startswith("\x1b[2J")
    assert document["Status"][0]["Livepatch"]["State"].startswith("<script>")
    assert "{{ 1/0 }}" in said(fleet, "hostile-values", "cat /etc/os-release")[1]
    assert "\n@0123456789abcdef end\n" in said(fleet, "hostile-values", "cat /proc/version_signature")[1]


# --- the server


@pytest.mark.parametrize(
    "command",
    [
        "curl -sS -m 5 {url}",
        "wget -q -O - -T 5 -t 1 {url}",
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -connect {address}",
    ],
    ids=["curl", "wget", "openssl"],
)
def test_hosts_trust_the_server(fleet: Fleet, command: str) -> None:
    line = command.format(url=fleet.server, address=fleet.server.removeprefix("https://"))
    assert "Canonical Livepatch Health service, version v1.14.3" in said(fleet, "xenial-generic", line)[1]


def test_a_host_without_network_reaches_nothing(fleet: Fleet) -> None:
    assert said(fleet, "no-network", f"curl -sS -m 5 {fleet.server}")[0] == 7
    address = fleet.server.removeprefix("https://").replace(":", "/")
    assert said(fleet, "bash-only", f"bash -c ': </dev/tcp/{address}'")[0] == 0
    assert said(fleet, "no-network", f"bash -c ': </dev/tcp/{address}'")[0] != 0


@pytest.mark.parametrize(
    ("codename", "kernel", "flavour", "answer"),
    [
        ("xenial", "4.4", "generic", "supported"),
        ("xenial", "4.4.0-168", "lowlatency", "supported"),
        ("xenial", "4.4", "kvm", "unsupported"),
        ("yakkety", "4.8", "generic", "kernel-end-of-life"),
        ("bionic", "5.3", "generic", "kernel-upgrade-required"),
    ],
)
def test_the_server_knows_kernels(copies: Fleet, codename: str, kernel: str, flavour: str, answer: str) -> None:
    query = f"kernel-version={kernel}&flavour={flavour}&codename={codename}&{REST}"
    assert ask(copies, f"/v1/api/kernels/supported?{query}") == (0, {"Supported": answer})


def ask(fleet: Fleet, path: str) -> tuple[int, t.Any]:
    code, output, _errors = said(fleet, "web-0001", f"curl -sSf -m 5 '{fleet.server}{path}'")
    return code, json.loads(output or "null")


def test_the_server_fails_as_told_and_logs_what_it_was_asked(copies: Fleet) -> None:
    query = f"kernel-version=4.4&flavour=generic&codename=xenial&{REST}"
    path = "/v1/api/kernels/supported"
    try:
        copies.set_faults(status=503)
        assert ask(copies, f"{path}?{query}") == (22, None)
        copies.set_faults(supported=None)
        assert ask(copies, f"{path}?{query}") == (0, {"Supported": None})
    finally:
        copies.set_faults()
    assert ask(copies, f"{path}?{query}") == (0, {"Supported": "supported"})
    assert ask(copies, path) == (22, None)
    logged = [request for request in copies.requests() if request["path"] == path]
    assert logged[-1] == {"method": "GET", "path": path, "query": {}}
    assert logged[-2]["query"]["codename"] == "xenial"


# --- copies, and the end


def test_copies_have_their_own_names_and_places_to_write(copies: Fleet) -> None:
    assert list(copies.hosts) == ["web-0001", "web-0002", "web-0003"]
    own = {
        name: said(copies, name, "hostname; uname -n; cat /etc/hostname /etc/machine-id")[1] for name in copies.hosts
    }
    for name, text in own.items():
        assert text.split()[:3] == [name] * 3
    assert len({text.split()[3] for text in own.values()}) == len(own)
    assert said(copies, "web-0001", "echo one >/tmp/file && echo two >$HOME/file")[0] == 0
    assert said(copies, "web-0001", "cat /tmp/file $HOME/file")[1] == "one\ntwo\n"
    assert said(copies, "web-0002", "cat /tmp/file")[0] == 1
    assert said(copies, "web-0001", "echo spoilt >/etc/os-release")[0] != 0


def test_a_host_remembers_every_call_of_a_double(copies: Fleet) -> None:
    before = len(copies.commands("web-0003"))
    said(copies, "web-0003", f"uname -r; snap version; {CLIENT} status --format json; {CLIENT} enable 0123")
    assert copies.commands("web-0003")[before:] == [
        "uname -r",
        "snap version",
        "canonical-livepatch status --format json",
        "canonical-livepatch enable 0123",
    ]


def test_clocks_can_be_set_anew(tmp_path: Path) -> None:
    with running_fleet(tmp_path, count=1) as fleet:
        status = fleet.root("web-0001") / "usr/lib/livepatch-lab/client/status-json"
        status.write_text("spoilt", encoding="utf-8")
        fleet.set_clocks()
        checked = dt.datetime.fromisoformat(json.loads(status.read_text(encoding="utf-8"))["Last-Check"])
        assert 1199 < (dt.datetime.now(dt.timezone.utc) - checked).total_seconds() < 1300


def test_down_leaves_nothing(tmp_path: Path) -> None:
    fleet = up(tmp_path, count=1)
    server = json.loads((tmp_path / "lab.json").read_text(encoding="utf-8"))["pid"]
    assert Path(f"/proc/{server}").exists()
    assert fleet.inventory.exists()
    down(tmp_path)
    assert not Path(f"/proc/{server}").exists()
    assert list(tmp_path.iterdir()) == []


def test_the_server_ends_when_its_folder_is_gone(tmp_path: Path) -> None:
    fleet = up(tmp_path / "lab", count=1)
    assert said(fleet, "web-0001", f"curl -sS -m 5 {fleet.server}")[0] == 0
    server = json.loads((tmp_path / "lab" / "lab.json").read_text(encoding="utf-8"))["pid"]
    shutil.rmtree(tmp_path / "lab")
    assert os.waitpid(server, 0) == (server, 0)


def test_down_leaves_a_process_alone_that_is_not_the_labs(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text('{"pid": 1}', encoding="utf-8")
    down(tmp_path)
    assert Path("/proc/1").exists()


def test_an_unknown_host_cannot_be_copied(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no host nowhere"):
        up(tmp_path, count=1, replicated="nowhere")
