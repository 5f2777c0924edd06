# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `client` on hosts: changes, failures, secrets, and runs that are killed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import stat
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible
from tests.integration.module_cases import (
    EachHost,
    Results,
    change_session,
    run_cases,
    use_shell,
    write_play,
)
from tests.integration.shells import SHELLS
from tests.lab.fleet import Fleet
from tests.lab.hosts.file_tree import COMMON, machine_id
from tests.lab.process_trace import Execution, executions, recording

MODULE = "kernelops.livepatch.client"
TOKEN = "3d87c8a1b4c94f34a5f1a2c9d0e7f6b5"
OTHER = "0f5be1a2c3d4e5f60718293a4b5c6d7e"
USED_UP = "7a6b5c4d3e2f10918273645546372819"
PRO_TOKEN = "C1234567890made0up0tokenXYZ"
GENERATIONS = ("install-2016", "install-6", "install-8", "install-9.5", "install-10", "install-11")
SHARED = "var/lib/kernelops-livepatch"
STORE = f"{SHARED}/client"
STATE_OF_OTHERS = (f"{SHARED}/kernel_reboot/containers", "run/kernelops-livepatch/kernel_upgrade/lock")
# Any other command in the log of the doubles changes its host.
READING = re.compile(
    r"canonical-livepatch (status( --format json)?|config)|systemd-detect-virt ?|mokutil --sb-state|uname -[a-z]"
    r"|snap (version|list canonical-livepatch|wait system seed\.loaded)|dpkg --print-architecture"
    r"|(pro|ua) status --format json"
)


@dataclasses.dataclass(frozen=True)
class Operator:
    """A user who runs the module on hosts of a fleet."""

    ansible: Ansible
    fleet: Fleet

    def run(self, hosts: Iterable[str], *cases: Mapping[str, t.Any]) -> list[Results]:
        """Run the module once for each case, in one play. Return the results of each case by host."""
        return run_cases(self.ansible, MODULE, hosts, *cases)


def assert_predicted(check: Results, done: Results) -> None:
    """Assert that a run did what its check mode returned."""
    for host, result in done.items():
        assert result["kind"] == "ok", result
        for key in ("changed", "steps", "enabled", "before", "after", "diff"):
            assert result[key] == check[host][key], (host, key)
        assert result["round_trips"] == (2 if result["changed"] else 1)
        assert check[host]["round_trips"] == 1


def predicted(**options: t.Any) -> list[dict[str, t.Any]]:
    """Return the cases for `assert_predicted`: check mode, and the same without it."""
    return [{**options, "check_mode": True, "diff": True}, {**options, "diff": True}]


def steps(result: Mapping[str, t.Any]) -> list[str]:
    return [step["id"] for step in result["steps"]]


def all_steps(results: Results) -> set[tuple[str, ...]]:
    """Return the different lists of steps of all hosts.

    The step that waits for snapd is left out: where the host does not answer the first question about it within 3
    seconds, which depends on the load of this machine, the module waits.
    """
    return {tuple(step for step in steps(result) if step != "seeded") for result in results.values()}


def settings(fleet: Fleet, **more: t.Any) -> dict[str, t.Any]:
    """Return the settings for the lab's server, whose authority clients do not know."""
    pem = fleet.certificate.read_text(encoding="utf-8")
    return {"remote-server": fleet.server, "ca-certs": pem, **{key.replace("_", "-"): more[key] for key in more}}


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of all files of the client and of this collection on a host."""
    found = {}
    for top in (COMMON, SHARED, "var/local", "run/kernelops-livepatch", "var/snap/canonical-livepatch"):
        for path in (root / top).rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(root))] = (path.stat().st_mode, path.read_bytes())
    return found


def is_enabled(fleet: Fleet, host: str) -> bool:
    return (fleet.root(host) / COMMON / "machine-token").exists()


def seat(fleet: Fleet, host: str) -> str | None:
    """Return the token whose seat a host holds."""
    held = fleet.machines().get(machine_id(fleet.hosts[host].name))
    return None if held is None else held["auth_token"]


def holding(folder: Path, *secrets: str) -> list[str]:
    """Return the files below a folder that contain one of the secrets."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [str(path.relative_to(folder)) for secret in secrets if secret.encode() in content]
    return found


class Start(t.Protocol):
    """Start hosts for a test: described ones, or copies of a host."""

    def __call__(self, *hosts: str, copies: int | None = None, of: str = "install-10") -> Operator:
        """Return the operator of the hosts."""


@pytest.fixture
def start(tmp_path: Path, lab_processes: Fleet) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start_hosts(*hosts: str, copies: int | None = None, of: str = "install-10") -> Operator:
            only = None if copies else hosts
            lab = stack.enter_context(lab_processes.with_hosts(tmp_path / "lab", copies, of, only=only))
            lab.set_tokens({TOKEN: {"seats": len(lab.hosts)}, OTHER: {"seats": len(lab.hosts)}, USED_UP: {"seats": 0}})
            lab.set_contracts({PRO_TOKEN: {}})
            folder = tmp_path / "run"
            folder.mkdir()
            return Operator(Ansible(folder, lab.variables), lab)

        yield start_hosts


# --- changes ---


def test_every_generation_completes_the_full_cycle(start: Start) -> None:
    operator = start(*GENERATIONS)
    lab, hosts = operator.fleet, GENERATIONS
    enabled = {"token": TOKEN, "token_transport": "socket", "config": settings(lab)}
    changed = {**enabled, "token": OTHER, "config": settings(lab, check_interval=120), "mode": "no-apply"}
    check, first, again, change_check, change, disable, enable, absent_check, absent, gone = operator.run(
        hosts,
        *predicted(**enabled),
        enabled,
        *predicted(**changed),
        {"state": "disabled"},
        changed,
        *predicted(state="absent"),
        {"state": "absent"},
    )
    assert_predicted(check, first)
    # The snapd of the first client has no `snap wait`, so the probe cannot see that it is seeded.
    assert steps(first.pop("install-2016")) == ["seeded", "install", "config", "config", "enable"]
    assert all_steps(first) == {("install", "config", "config", "enable")}
    assert all_steps(again) == {()}
    assert_predicted(change_check, change)
    assert all_steps(change) == {("disable", "mode", "config", "enable")}
    assert all_steps(disable) == {("disable",)}
    assert {(result["enabled"], result["version"]) for result in disable.values()} >= {(False, "11.0.2")}
    assert all_steps(enable) == {("enable",)}
    assert_predicted(absent_check, absent)
    assert all_steps(absent) == {("disable", "remove")}
    assert all_steps(gone) == {()}
    for host in hosts:
        assert (seat(lab, host), is_enabled(lab, host)) == (None, False)
        assert not (lab.root(host) / SHARED).exists()
        assert "snap remove --purge canonical-livepatch" in lab.commands(host)
        configured = [line for line in lab.commands(host) if line.startswith("canonical-livepatch config ")]
        assert "ca-certs=@stdin" in configured[0], "the server was set before its authority"


def test_check_mode_changes_nothing(start: Start) -> None:
    operator = start("install-11", "no-snapd", "already-enabled", "pro", "enable-10")
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    before = {host: snapshot(lab.root(host)) for host in hosts}
    wanted = {"token": TOKEN, "config": settings(lab), "mode": "no-apply"}
    enabled, absent = operator.run(hosts, {**wanted, "check_mode": True}, {"state": "absent", "check_mode": True})
    assert {result["changed"] for result in enabled.values()} == {True}
    assert absent["already-enabled"]["changed"] is True
    for host in hosts:
        assert snapshot(lab.root(host)) == before[host]
        read = lab.commands(host)
        assert read
        assert [line for line in read if not READING.fullmatch(line)] == []


def test_an_enabled_host_has_files_for_root_only(start: Start) -> None:
    operator = start("enable-6", "enable-11")
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    operator.run(hosts, {"token": TOKEN, "config": settings(lab)})
    for host in hosts:
        assert seat(lab, host) == TOKEN
        mark = lab.root(host) / STORE / "token.mark"
        assert (stat.S_IMODE(mark.stat().st_mode), stat.S_IMODE(mark.parent.stat().st_mode)) == (0o600, 0o700)
        assert holding(lab.root(host).parent, TOKEN) == []


def test_snapd_is_installed_upgraded_and_awaited(start: Start) -> None:
    def with_old_snapd(host: t.Any) -> t.Any:
        return dataclasses.replace(host, snapd=dataclasses.replace(host.snapd, version="2.0.2"))

    operator = start("no-snapd", "install-8", "not-seeded-yet", "not-seeded-old-snapd")
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    lab.change("install-8", with_old_snapd)
    (results,) = operator.run(hosts, {"state": "present", "wait_seeded": 60})
    assert {result["kind"] for result in results.values()} == {"ok"}, results
    assert steps(results["no-snapd"]) == steps(results["install-8"]) == ["snapd", "seeded", "install"]
    # Seeding may complete before the host is read.
    assert steps(results["not-seeded-yet"]) in (["seeded", "install"], ["install"])
    assert steps(results["not-seeded-old-snapd"]) == ["seeded", "install"]
    for host in hosts:
        assert (lab.root(host) / "snap/bin/canonical-livepatch").exists()


@pytest.mark.matrix
def test_a_private_authority_must_be_configured(start: Start) -> None:
    operator = start("private-authority-9.3", "private-authority")
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    server_only = {"token": TOKEN, "config": {"remote-server": lab.server}}
    untrusted, *trusted = operator.run(hosts, server_only, *predicted(token=TOKEN, config=settings(lab)))
    for result in untrusted.values():
        assert (result["error_id"], result["failed_step"]) == ("tls_untrusted", "config"), result["msg"]
    assert_predicted(*trusted)
    assert all_steps(trusted[1]) == {("config", "config", "enable")}


def test_a_client_enabled_elsewhere_is_adopted(start: Start) -> None:
    operator = start("already-enabled")
    lab, hosts = operator.fleet, ("already-enabled",)
    (host,) = hosts
    before = lab.machine_token(host)
    check, adopted, again = operator.run(hosts, *predicted(token=TOKEN), {"token": TOKEN})
    assert_predicted(check, adopted)
    assert (steps(adopted[host]), lab.machine_token(host)) == (["adopt"], before)
    assert (again[host]["changed"], again[host]["before"]["token"]) == (False, "given")
    (changed,) = operator.run(hosts, {"token": OTHER, "config": settings(lab)})
    assert steps(changed[host])[0] == "disable"
    assert seat(lab, host) == OTHER


def test_a_changed_proxy_password_is_noticed(start: Start) -> None:
    secret, host = "made-up-password-of-a-proxy", "enable-10"
    operator = start(host)
    lab = operator.fleet

    def config(password: str) -> dict[str, t.Any]:
        return settings(lab, https_proxy=f"http://fleet:{password}@{lab.proxy.removeprefix('http://')}")

    lab.set_proxy("fleet", secret)
    enabled, again, changed, reset = operator.run(
        (host,),
        {"token": TOKEN, "config": config(secret), "diff": True},
        {"token": TOKEN, "config": config(secret)},
        {"token": TOKEN, "config": config(f"{secret}-2")},
        {"state": "present", "config": {"https-proxy": ""}},
    )
    assert steps(enabled[host]) == ["config", "config", "config", "enable"]
    assert (again[host]["changed"], steps(changed[host]), steps(reset[host])) == (False, ["config"], ["config"])
    assert any(request["authorized"] for request in lab.proxied())
    assert secret not in json.dumps([enabled, again, changed, reset, *lab.commands(host)])
    assert not (lab.root(host) / STORE / "https-proxy.mark").exists()


def test_ubuntu_pro_enables_and_disables(start: Start) -> None:
    operator = start("pro", "pro-with-client")
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    wanted = {"via": "pro", "token": PRO_TOKEN, "config": settings(lab)}
    check, enabled, again, disabled, enabled_again, other = operator.run(
        hosts,
        *predicted(**wanted),
        wanted,
        {"via": "pro", "state": "disabled"},
        wanted,
        {**wanted, "token": f"{PRO_TOKEN}2"},
    )
    assert_predicted(check, enabled)
    assert steps(enabled["pro"]) == ["install", "config", "config", "pro_attach"]
    assert (all_steps(again), all_steps(disabled)) == ({()}, {("pro_disable",)})
    assert all_steps(enabled_again) == {("pro_enable",)}
    assert {result["error_id"] for result in other.values()} == {"pro_attached_otherwise"}
    for host in hosts:
        assert is_enabled(lab, host)
        assert holding(lab.root(host).parent, PRO_TOKEN) == []
        assert not (lab.root(host) / "run/kernelops-livepatch/client").exists()


def test_the_state_of_other_modules_is_kept(start: Start) -> None:
    """A reboot that was interrupted, and an upgrade that runs."""
    operator = start("pro")
    lab, (host,) = operator.fleet, ("pro",)
    for name in STATE_OF_OTHERS:
        (lab.root(host) / name).parent.mkdir(parents=True)
        (lab.root(host) / name).write_text("docker 1 web\n", encoding="ascii")
    attached, absent = operator.run(
        (host,), {"via": "pro", "token": PRO_TOKEN, "config": settings(lab)}, {"via": "pro", "state": "absent"}
    )
    assert "pro_attach" in steps(attached[host])
    assert "remove" in steps(absent[host])
    assert not (lab.root(host) / STORE).exists()
    for name in STATE_OF_OTHERS:
        assert (lab.root(host) / name).read_text(encoding="ascii") == "docker 1 web\n"


def test_state_of_release_1_is_moved(start: Start) -> None:
    operator = start("enable-11")
    lab, (host,) = operator.fleet, ("enable-11",)
    wanted = {"token": TOKEN, "config": settings(lab)}
    operator.run((host,), wanted)
    mark = lab.root(host) / STORE / "token.mark"
    mark = mark.rename(lab.root(host) / SHARED / "token.mark")
    again, changed = operator.run((host,), wanted, {**wanted, "mode": "no-apply"})
    assert (steps(again[host]), steps(changed[host])) == ([], ["mode"])
    assert not mark.exists()
    assert (lab.root(host) / STORE / "token.mark").exists()


def test_a_daemon_starts_again_after_the_mode_stop(start: Start) -> None:
    """systemd refuses its unit then. The same host has a disabled snap later."""
    operator, hosts = start("enable-11"), ("enable-11",)
    lab, (host,) = operator.fleet, hosts
    wanted = {"token": TOKEN, "config": settings(lab)}
    enabled, stopped, started = operator.run(hosts, wanted, {"mode": "stop"}, {"mode": "normal"})
    assert [steps(each[host]) for each in (stopped, started)] == [["mode"], ["mode"]]
    assert "Start request repeated too quickly" in (lab.root(host) / "var/log/syslog").read_text(encoding="utf-8")
    assert [(each[host]["kind"], each[host]["enabled"]) for each in (enabled, started)] == [("ok", True)] * 2
    assert lab.run(host, "snap disable canonical-livepatch").returncode == 0
    check, repaired, again = operator.run(hosts, *predicted(**wanted), wanted)
    assert_predicted(check, repaired)
    assert (steps(repaired[host]), again[host]["changed"]) == (["snap_enable", "config", "config"], False)


# --- failures ---

OBSTACLES: dict[str, tuple[str, dict[str, t.Any]]] = {
    "daemon-down": ("daemon_down", {}),
    "daemon-shutting-down": ("daemon_shutting_down", {}),
    "interface-not-connected": ("daemon_down", {}),
    "apparmor": ("apparmor", {}),
    "platform-unsupported": ("platform_unsupported", {}),
    "store-unreachable": ("store_unreachable", {}),
    "snapd-down-not-installed": ("snapd_down", {}),
    "not-seeded": ("not_seeded", {"wait_seeded": 1}),
    "not-root": ("not_root", {}),
    "lxd-container": ("not_eligible", {"require_eligible": True}),
    "enable-2016": ("setting_refused", {"config": {"log-level": "debug"}}),
    "no-curl-no-nc": ("socket_unavailable", {"token_transport": "socket"}),
    "no-sockets": ("socket_unavailable", {"token_transport": "socket"}),
    "enable-8": ("pro_missing", {"via": "pro", "token": PRO_TOKEN}),
    "install-6": ("channel_unknown", {"channel": "9.x/stable"}),
    "enable-9.3": ("bad_token", {"token": "made-up-and-unknown"}),
    "enable-10": ("bad_token", {"token": "made-up-and-unknown"}),
    "enable-9.5": ("seats_used_up", {"token": USED_UP}),
    "enable-11": ("seats_used_up", {"token": USED_UP}),
    "enable-6": ("config_invalid", {"config": {"remote_server": "https://livepatch.example.com"}}),
}


def test_obstacles_are_named(start: Start) -> None:
    operator = start(*OBSTACLES)
    lab, hosts = operator.fleet, tuple(OBSTACLES)
    trusted = {host: settings(lab) if host in ("enable-9.3", "enable-9.5") else {} for host in hosts}
    usual = {"token": TOKEN, "network": False, "require_eligible": False, "retry_timeout": 0}
    cases = {host: {**usual, "config": trusted[host], **OBSTACLES[host][1]} for host in hosts}
    (results,) = operator.run(hosts, EachHost(cases))
    assert {host: results[host].get("error_id") for host in hosts} == {host: OBSTACLES[host][0] for host in hosts}
    for host, result in results.items():
        assert result["kind"] == "ignored"
        assert result["remedy"][1:] in result["msg"]
        assert not is_enabled(lab, host) or host == "not-root"
    refused = results["enable-2016"]
    assert (refused["steps"], refused["failed_step"], refused["changed"]) == ([], "config", False)
    assert "canonical-livepatch enable" not in "\n".join(lab.commands("enable-2016"))


FAULTS = [
    ("server_error", {"status": 503}),
    ("server_refused", {"status": 403}),
    ("registration_failed", {"reset": True}),
    ("registration_failed", {"cut": 10}),
]


def test_a_server_fault_fails_only_one_run(start: Start) -> None:
    operator = start(copies=len(FAULTS))
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    paths = [f"/v1/client/{machine_id(host)}" for host in hosts]
    once = {"method": "POST", "count": 1}
    rules = [{**once, "path": path, **fault} for path, (_cause, fault) in zip(paths, FAULTS, strict=True)]
    lab.set_faults(*rules)
    wanted = {"token": TOKEN, "config": settings(lab), "retry_timeout": 0}
    failed, again = operator.run(hosts, wanted, wanted)
    for host, (cause, _fault) in zip(hosts, FAULTS, strict=True):
        result = failed[host]
        assert (result["kind"], result["error_id"]) == ("ignored", cause), result["msg"]
        assert (result["failed_step"], result["enabled"], result["changed"]) == ("enable", False, True)
        assert (result["before"]["state"], result["after"]["state"]) == ("absent", "disabled")
        assert steps(again[host]) == ["enable"]
        assert seat(lab, host) == TOKEN


def test_a_server_in_trouble_is_asked_again(start: Start) -> None:
    operator, hosts = start("enable-11"), ("enable-11",)
    lab, (host,) = operator.fleet, hosts
    lab.set_faults({"method": "POST", "path": f"/v1/client/{machine_id(host)}", "status": 502, "count": 1})
    (results,) = operator.run(hosts, {"token": TOKEN, "config": settings(lab)})
    assert (results[host]["kind"], results[host]["round_trips"]) == ("ok", 3), results
    assert steps(results[host]) == ["config", "config", "enable"]
    assert seat(lab, host) == TOKEN


def refusing(text: str) -> t.Callable[[t.Any], t.Any]:
    """Return a change of a host: its client prints this text at every command."""

    def update(host: t.Any) -> t.Any:
        client = dataclasses.replace(host.client, refuses_kernel=True)
        files = {**host.files, "/usr/lib/livepatch-lab/client/refusal": f"{text}\n"}
        return dataclasses.replace(host, client=client, files=files)

    return update


def stopped(parameters: str) -> t.Callable[[t.Any], t.Any]:
    """Return a change of a host: its daemon does not run, and the kernel command line has these parameters."""

    def update(host: t.Any) -> t.Any:
        client = dataclasses.replace(host.client, running=False)
        return dataclasses.replace(host, client=client, files={**host.files, "/proc/cmdline": f"ro {parameters}\n"})

    return update


BROKEN = {
    "platform_stale": refusing("livepatchd error: The platform Ubuntu 15.10 is not supported."),
    "not_executable": refusing("cannot find installed snap canonical-livepatch at revision 95"),
    "not_eligible_kernel": refusing(
        'cannot use livepatch: your kernel "4.4.0-9" is not eligible for livepatch updates'
    ),
    "daemon_down": stopped("quiet"),
    "mode_on_command_line": stopped("quiet canonical_livepatch_mode=stop"),
}
REPAIRED = ("platform_stale", "not_executable", "daemon_down")


def test_a_registered_client_that_is_broken_fails(start: Start) -> None:
    operator = start(copies=len(BROKEN), of="already-enabled")
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    causes = dict(zip(hosts, BROKEN, strict=True))
    for host, cause in causes.items():
        lab.change(host, BROKEN[cause])
    before = {host: snapshot(lab.root(host)) for host in hosts}
    wanted = {"token": TOKEN, "config": settings(lab), "network": False, "require_eligible": False}
    first, second, check = operator.run(hosts, wanted, wanted, {**wanted, "check_mode": True})
    for host, cause in causes.items():
        assert is_enabled(lab, host)
        for results in (first, second, check):
            assert (results[host]["kind"], results[host]["error_id"]) == ("ignored", cause), results[host]["msg"]
            assert snapshot(lab.root(host)) == before[host]
    predictions, repaired, again = operator.run(
        hosts,
        {**wanted, "reinstall": True, "check_mode": True, "diff": True},
        {**wanted, "reinstall": True, "diff": True},
        {**wanted, "reinstall": True},
    )
    for host, cause in causes.items():
        if cause in REPAIRED:
            assert_predicted({host: predictions[host]}, {host: repaired[host]})
            assert steps(repaired[host]) == ["remove", "install", "config", "config", "enable"]
            assert (again[host]["changed"], seat(lab, host)) == (False, TOKEN)
        else:
            assert {results[host]["error_id"] for results in (predictions, repaired, again)} == {cause}
    assert first[hosts[0]]["eligibility"]["verdict"] == "eligible"


def test_an_unreachable_server_keeps_the_registration(start: Start) -> None:
    def with_old_check(host: t.Any) -> t.Any:
        return dataclasses.replace(host, client=dataclasses.replace(host.client, last_check="3d"))

    operator, hosts = start("enable-10"), ("enable-10",)
    lab, (host,) = operator.fleet, hosts
    (enabled,) = operator.run(hosts, {"token": TOKEN, "config": settings(lab)})
    assert enabled[host]["enabled"] is True
    lab.change(host, with_old_check)
    lab.set_faults(refuse=True)
    (result,) = operator.run(hosts, {"token": OTHER})
    assert (result[host]["kind"], result[host]["error_id"]) == ("ignored", "not_eligible"), result[host]["msg"]
    assert seat(lab, host) == TOKEN


# --- secrets, shells and transports ---

PASSWORD = "made-up-password-of-a-canary"
# mksh has no builtin printf. The double of the client, which this shell also runs, therefore starts it with settings.
DOUBLE = ("printf", r"%s %s\n%s\n")


class Recorded(t.NamedTuple):
    """A run of a playbook at the highest verbosity, and every process that it started."""

    output: str
    results: Results
    executions: list[Execution]


def run_recorded(ansible: Ansible, hosts: Iterable[str], options: dict[str, t.Any], secrets: object) -> Recorded:
    """Run the module with a log, a fact cache, its result on the terminal, and `secrets` from a file."""
    tasks = [
        {"name": "Enable", MODULE: options, "register": "enabled", "ignore_errors": True},
        {"name": "Cache", "ansible.builtin.set_fact": {"kept": "{{ enabled }}", "cacheable": True}},
        {"name": "Show", "ansible.builtin.debug": {"var": "enabled"}},
    ]
    play = {"hosts": ",".join(hosts), "gather_facts": False, "tasks": tasks}
    (ansible.folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    vault = ansible.folder / "secrets.yml"
    vault.write_text(json.dumps({"secrets": secrets}), encoding="utf-8")
    run = ansible.command(
        *("playbook", "play.yml", "-vvvvv", "--diff", "-e", f"@{vault}"),
        prefix=recording(ansible.folder / "executed"),
        ANSIBLE_LOG_PATH=str(ansible.folder / "ansible.log"),
        ANSIBLE_CACHE_PLUGIN="jsonfile",
        ANSIBLE_CACHE_PLUGIN_CONNECTION=str(ansible.folder / "facts"),
    )
    vault.unlink()
    (ansible.folder / "output").write_text(run.output, encoding="utf-8")
    results = {line["host"]: line["result"] for line in run.results if line["task"] == "Enable"}
    return Recorded(run.output, results, executions(ansible.folder / "executed"))


def test_every_shell_keeps_all_secrets(start: Start) -> None:
    good, bad = "ca4a12b3c4d5e6f7a8b9c0d1e2f3a4b5", "bad4canary5e6f7a8b9c0d1e2f3a4b50"
    operator = start(copies=2 * len(SHELLS) + 1)
    lab, (failing, *hosts), folder = operator.fleet, operator.fleet.hosts, operator.ansible.folder
    for host, (shell, curl) in zip(hosts, itertools.product(SHELLS, (True, False)), strict=True):
        use_shell(lab, host, shell)
        if not curl:
            change_session(lab, host, binds={"/usr/bin/curl": "/dev/null"})
    lab.set_tokens({good: {}})
    lab.set_proxy("fleet", PASSWORD)
    secrets = {"good": good, "bad": bad, "proxy": f"http://fleet:{PASSWORD}@{lab.proxy.removeprefix('http://')}"}
    token = f"{{{{ secrets.bad if inventory_hostname == '{failing}' else secrets.good }}}}"
    config = {**settings(lab, check_interval=90), "https-proxy": "{{ secrets.proxy }}"}
    options = {"token": token, "token_transport": "socket", "config": config, "mode": "normal"}
    recorded = run_recorded(operator.ansible, (failing, *hosts), options, secrets)
    assert [seat(lab, host) for host in (failing, *hosts)] == [None, *[good] * len(hosts)], recorded.output[-3000:]
    assert recorded.results.pop(failing)["error_id"] == "bad_token"
    assert all_steps(recorded.results) == {("install", "config", "config", "config", "config", "enable")}
    assert {result["token_transport"] for result in recorded.results.values()} == {"socket"}
    # The secrets were used, and the places to search were written.
    assert any(request["authorized"] for request in lab.proxied())
    assert {good, bad} <= {request.get("auth_token") for request in lab.requests()}
    assert len((folder / "ansible.log").read_bytes()) > 10_000
    assert len([*(folder / "facts").iterdir()]) == len(lab.hosts)
    for program in ("curl", "nc"):
        assert any(each.argv[:1] == (program,) for each in recorded.executions)
    leaking = [each.argv for each in recorded.executions if any(secret in each for secret in (good, bad, PASSWORD))]
    assert [argv for argv in leaking if argv[:2] != DOUBLE] == []
    machine_tokens = [str(lab.machine_token(host)) for host in hosts]
    assert holding(folder, good, bad, PASSWORD, *machine_tokens) == []
    assert holding(lab.directory / "hosts", good, bad) == []


def test_an_error_that_quotes_the_token_is_masked(start: Start) -> None:
    """The first client prints the token in its error, which Ansible shows with its output at high verbosity."""
    canary = "quoted-canary-of-a-test"
    operator = start("enable-2016")
    config = settings(operator.fleet)
    options = {"token": canary, "token_transport": "cli", "config": config}
    run = operator.ansible.task(MODULE, "enable-2016", "-vvvvv", **options)
    assert run.result("enable-2016")["error_id"] == "bad_token"
    assert canary not in run.output
    assert canary not in json.dumps(run.results)


TRANSPORTS = {
    "enable-10": ("auto", "socket"),
    "enable-9.5": ("cli", "cli"),
    "no-curl": ("socket", "socket"),
    "no-curl-no-nc": ("auto", "cli"),
    "no-sockets": ("auto", "cli"),
}


def test_the_token_uses_an_available_transport(start: Start) -> None:
    operator = start(*TRANSPORTS)
    lab, hosts = operator.fleet, tuple(TRANSPORTS)
    wanted = {"token": TOKEN, "config": settings(lab), "network": False}
    cases = {host: {**wanted, "token_transport": option} for host, (option, _used) in TRANSPORTS.items()}
    (results,) = operator.run(hosts, EachHost(cases))
    used = {host: results[host].get("token_transport") for host in hosts}
    assert used == {host: transport for host, (_option, transport) in TRANSPORTS.items()}
    for host in hosts:
        assert seat(lab, host) == TOKEN
        argued = [line for line in lab.commands(host) if line.startswith("canonical-livepatch enable")]
        assert argued == ([f"canonical-livepatch enable {TOKEN}"] if used[host] == "cli" else [])


# --- locks, and old versions of snapd ---

# Behaviour that the lab's doubles lack. `sleep` does not wait.
STUBS = {
    "apt-get": """
case $* in
    *update) echo "E: The repository of another vendor has no Release file."; exit 100 ;;
esac
[ "$(grep -c 'apt-get.*install' /tmp/stubs.log)" -gt 2 ] ||
    { echo "E: Could not get lock /var/lib/dpkg/lock"; exit 100; }
""",
    "snap": """
case $* in
    version) printf 'snap 2.0\\nsnapd 2.0\\n' ;;
    wait*) ;;
    "install canonical-livepatch")
        [ "$(grep -c 'snap install' /tmp/stubs.log)" -gt 1 ] ||
            { echo 'error: snap "canonical-livepatch" has "install-snap" change in progress'; exit 1; }
        exec /usr/bin/snap "$@"
        ;;
    restart*) echo "error: Unknown command \\`restart'"; exit 1 ;;
    "remove --purge"*) echo "error: unknown flag \\`purge'"; exit 1 ;;
    *) exec /usr/bin/snap "$@" ;;
esac
""",
    "systemctl": "",
    "sleep": "",
}


def test_locks_and_old_snapd_are_handled(start: Start) -> None:
    operator, hosts = start("install-10"), ("install-10",)
    lab, (host,) = operator.fleet, hosts
    folder = lab.root(host).parent / "tmp" / "stubs"
    folder.mkdir()
    for name, script in STUBS.items():
        stub = folder / name
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >>/tmp/stubs.log\n{script}', encoding="utf-8")
        stub.chmod(0o755)
    change_session(lab, host, binds={}, path="/tmp/stubs")  # noqa: S108  (a folder of the host)
    present, absent = operator.run(hosts, {"state": "present", "mode": "no-apply"}, {"state": "absent"})
    assert (present[host]["kind"], absent[host]["kind"]) == ("ok", "ok"), (present, absent)
    assert steps(present[host]) == ["snapd", "seeded", "install", "mode"]
    log = (folder.parent / "stubs.log").read_text(encoding="utf-8").splitlines()
    done = [re.sub(" -.* (?=install|update)", " ", line) for line in log]
    # The probe also queries the version and the seeding, with every round trip.
    queries = ("snap version", "snap wait system seed.loaded", "sleep 1", "sleep 2")
    assert [line for line in done if line not in queries] == [
        "apt-get update",
        *["apt-get install snapd"] * 3,
        *["snap install canonical-livepatch"] * 2,
        "systemctl reset-failed snap.canonical-livepatch.canonical-livepatchd",
        "snap restart canonical-livepatch.canonical-livepatchd",
        "systemctl restart snap.canonical-livepatch.canonical-livepatchd",
        "snap remove --purge canonical-livepatch",
        "snap remove canonical-livepatch",
    ]
    assert done.count("sleep 2") == 3


BUSY = {
    "pro": """
case "$* $(grep -c 'pro enable' /tmp/stubs.log)" in
    "enable livepatch --assume-yes 1")
        echo "Unable to perform: pro enable." >&2
        echo "Operation in progress: pro refresh (pid:4321)" >&2
        exit 1
        ;;
    "enable livepatch --assume-yes "*)
        /usr/bin/pro "$@" >&2
        echo "Livepatch is already enabled - nothing to do." >&2
        exit 1
        ;;
    *) exec /usr/bin/pro "$@" ;;
esac
""",
    "sleep": "",
}


def test_an_operation_of_ubuntu_pro_is_awaited(start: Start) -> None:
    """Another process uses Ubuntu Pro, and enables Livepatch before this task can."""
    operator, hosts = start("pro-with-client"), ("pro-with-client",)
    lab, (host,) = operator.fleet, hosts
    wanted = {"via": "pro", "token": PRO_TOKEN, "config": settings(lab)}
    operator.run(hosts, wanted, {"via": "pro", "state": "disabled"})
    folder = lab.root(host).parent / "tmp" / "stubs"
    folder.mkdir()
    for name, script in BUSY.items():
        stub = folder / name
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >>/tmp/stubs.log\n{script}', encoding="utf-8")
        stub.chmod(0o755)
    change_session(lab, host, binds={}, path="/tmp/stubs")  # noqa: S108  (a folder of the host)
    enabled, again = operator.run(hosts, wanted, wanted)
    assert (enabled[host]["kind"], steps(enabled[host])) == ("ok", ["pro_enable"]), enabled
    assert enabled[host]["round_trips"] == 3
    assert (again[host]["changed"], is_enabled(lab, host)) == (False, True)


# --- killed runs ---

INSTALLED = ("config", "config", "config", "enable")
# The remaining steps after a run was killed at a point, for a new installation and for a changed token.
INSTALL_POINTS = {
    "snap install": ("install", "mode", *INSTALLED),
    "snap install done": ("mode", *INSTALLED),
    "snap restart": ("mode", *INSTALLED),
    "snap restart done": ("mode", *INSTALLED),
    "canonical-livepatch config": INSTALLED,
    "canonical-livepatch config done": INSTALLED[1:],
    "canonical-livepatch enable": ("enable",),
    "canonical-livepatch enable done": (),
}
CHANGE_POINTS = {
    "canonical-livepatch disable": ("disable", "mode", "config", "enable"),
    "canonical-livepatch disable done": ("mode", "config", "enable"),
    "canonical-livepatch enable": ("enable",),
    "canonical-livepatch enable done": (),
}


@pytest.mark.kills
@pytest.mark.parametrize("points", [INSTALL_POINTS, CHANGE_POINTS], ids=["install", "change"])
def test_the_next_run_completes_a_killed_run(points: dict[str, tuple[str, ...]], start: Start) -> None:
    operator = start(copies=len(points))
    lab, hosts = operator.fleet, tuple(operator.fleet.hosts)
    if points is CHANGE_POINTS:
        (enabled,) = operator.run(hosts, {"token": TOKEN, "config": settings(lab)})
        assert all_steps(enabled) == {("install", "config", "config", "enable")}
    config = settings(lab, check_interval=240)
    wanted = {"token": OTHER, "config": config, "mode": "no-apply", "token_transport": "cli", "network": False}
    playbook = write_play(operator.ansible.folder, MODULE, hosts, wanted)
    with contextlib.ExitStack() as stack:
        holds = [stack.enter_context(lab.hold(host, point)) for host, point in zip(hosts, points, strict=True)]
        run = stack.enter_context(operator.ansible.start("playbook", playbook, ANSIBLE_FORKS=str(len(hosts))))
        for hold in holds:
            hold.wait(run.process)
        run.kill()
    check, done, again = operator.run(hosts, *predicted(**wanted), wanted)
    assert {point: tuple(steps(done[host])) for host, point in zip(hosts, points, strict=True)} == points
    assert_predicted(check, done)
    assert all_steps(again) == {()}
    machines = lab.machines()
    for host in hosts:
        held = machines[machine_id(host)]
        assert (held["auth_token"], held["machine_token"]) == (OTHER, lab.machine_token(host))
        assert (lab.root(host) / "var/local/canonical_livepatch_mode").read_text(encoding="ascii") == "no-apply\n"
        assert not (lab.root(host) / STORE / "restart").exists()
        assert holding(lab.root(host).parent / "root", TOKEN, OTHER) == []


def test_a_killed_attachment_leaves_no_token(start: Start) -> None:
    operator, hosts = start("pro"), ("pro",)
    lab, (host,) = operator.fleet, hosts
    wanted = {"via": "pro", "token": PRO_TOKEN, "config": settings(lab)}
    pipe = lab.root(host) / "run/kernelops-livepatch/client/attach"
    with (
        lab.hold(host, "pro attach") as hold,
        operator.ansible.start_task(MODULE, host, **wanted) as run,
    ):
        hold.wait(run.process)
        assert pipe.is_fifo()
        run.kill()
    assert not pipe.is_file()
    assert holding(lab.root(host).parent, PRO_TOKEN) == []
    check, done = operator.run(hosts, *predicted(**wanted))
    assert_predicted(check, done)
    assert (steps(done[host]), is_enabled(lab, host)) == (["pro_attach"], True)
    assert not pipe.parent.exists()
