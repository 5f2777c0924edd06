# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `client` from outside: what it does to hosts, what it leaves there, and what it never tells."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shutil
import stat
import subprocess
import sys
import time
import types
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import mark_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections, parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._client_host import look_at_client
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._legacy import ActionError
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.integration.conftest import Ansible, Run
from tests.lab.fleet import Fleet, running_fleet
from tests.lab.hosts.file_tree import COMMON, machine_id
from tests.lab.process_trace import executions, recording

from .shells import SHELLS, each_shell

MODULE = "kernelops.livepatch.client"
TOKEN = "3d87c8a1b4c94f34a5f1a2c9d0e7f6b5"
OTHER = "0f5be1a2c3d4e5f60718293a4b5c6d7e"
PRO_TOKEN = "C1234567890made0up0tokenXYZ"
GENERATIONS = ("install-2016", "install-6", "install-8", "install-9.5", "install-10", "install-11")
HOSTS = (
    *GENERATIONS, "enable-2016", "enable-9.3", "enable-10", "private-authority-9.3", "private-authority",
    "no-curl", "no-curl-no-nc", "no-sockets", "already-enabled", "not-seeded", "not-seeded-yet", "not-seeded-old-snapd",
    "store-unreachable", "snapd-down-not-installed", "daemon-down", "daemon-shutting-down", "interface-not-connected",
    "apparmor", "platform-unsupported", "crash-lock-waits", "pro", "pro-with-client", "no-snapd", "not-root",
    "lxd-container",
)  # fmt: skip
STORE = "var/lib/kernelops-livepatch"
# Whatever else a double logs would change its host.
READING = re.compile(
    r"canonical-livepatch (status( --format json)?|config)|systemd-detect-virt ?|mokutil --sb-state|uname -[a-z]"
    r"|snap (version|list canonical-livepatch|wait system seed\.loaded)|dpkg --print-architecture"
    r"|(pro|ua) status --format json"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Hosts for these tests alone, with a server that knows two tokens."""
    with running_fleet(tmp_path_factory.mktemp("lab"), only=HOSTS) as fleet:
        fleet.set_tokens({TOKEN: {}, OTHER: {}})
        fleet.set_contracts({PRO_TOKEN: {}})
        yield fleet


@dataclasses.dataclass(frozen=True)
class Operator:
    """Somebody who runs the module on hosts of a fleet."""

    ansible: Ansible
    fleet: Fleet

    def run(self, hosts: str, *words: str, **options: t.Any) -> Run:
        return self.ansible.task(MODULE, hosts, *words, **{"require_eligible": False, **options})

    def result(self, host: str, *words: str, **options: t.Any) -> dict[str, t.Any]:
        return self.run(host, *words, **options).result(host)

    def predicted(self, hosts: tuple[str, ...], **options: t.Any) -> dict[str, dict[str, t.Any]]:
        """Run check mode, then the same without it; return the results of the latter, after all has been compared."""
        logged = {host: len(self.fleet.commands(host)) for host in hosts}
        files = {host: snapshot(self.fleet.root(host)) for host in hosts}
        check = self.run(",".join(hosts), "--check", "--diff", **options)
        for host in hosts:
            read = self.fleet.commands(host)[logged[host] :]
            assert read, "check mode did not look at all"
            assert [line for line in read if not READING.fullmatch(line)] == []
            assert snapshot(self.fleet.root(host)) == files[host]
        done = self.run(",".join(hosts), "--diff", **options)
        for host in hosts:
            foreseen, came = check.result(host), done.result(host)
            assert came["kind"] == "ok", came
            for key in ("changed", "steps", "enabled", "before", "after", "diff"):
                assert came[key] == foreseen[key], (host, key)
            assert came["round_trips"] == (2 if came["changed"] else 1)
        return {host: done.result(host) for host in hosts}


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """The files that a client and this collection have on a host."""
    kept = (COMMON, STORE, "var/local", "run/kernelops-livepatch", "var/snap/canonical-livepatch")
    found = {}
    for top in kept:
        for path in (root / top).rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(root))] = (path.stat().st_mode, path.read_bytes())
    return found


@pytest.fixture
def operator(tmp_path: Path, lab: Fleet) -> Iterator[Operator]:
    lab.set_faults()
    yield Operator(Ansible(tmp_path, lab.variables), lab)
    lab.set_faults()


def steps(result: dict[str, t.Any]) -> list[str]:
    return [step["id"] for step in result["steps"]]


def seat(fleet: Fleet, host: str) -> str | None:
    """The token whose seat a host holds."""
    held = fleet.machines().get(machine_id(fleet.hosts[host].name))
    return None if held is None else held["auth_token"]


def settings(fleet: Fleet, **more: t.Any) -> dict[str, t.Any]:
    """What a client needs to reach the lab's server, which it does not trust of itself."""
    pem = fleet.certificate.read_text(encoding="utf-8")
    return {"remote-server": fleet.server, "ca-certs": pem, **{key.replace("_", "-"): more[key] for key in more}}


def is_enabled(fleet: Fleet, host: str) -> bool:
    return (fleet.root(host) / COMMON / "machine-token").exists()


# --- the cycle ---


def test_a_full_cycle_on_every_generation_each_step_as_check_mode_foretold(operator: Operator, lab: Fleet) -> None:
    def go(**options: t.Any) -> dict[str, list[str]]:
        return {host: steps(result) for host, result in operator.predicted(GENERATIONS, **options).items()}

    def all_are(*expected: str) -> dict[str, list[str]]:
        return {host: list(expected) for host in GENERATIONS}

    assert go(state="absent") == all_are()
    enabled = {"token": TOKEN, "token_transport": "socket", "config": settings(lab)}
    done = go(**enabled)
    # The snapd of the first client has no `snap wait` with which it could be asked.
    assert done.pop("install-2016") == ["seeded", "install", "config", "config", "enable"]
    assert set(map(tuple, done.values())) == {("install", "config", "config", "enable")}
    assert [seat(lab, host) for host in GENERATIONS] == [TOKEN] * len(GENERATIONS)
    for host in GENERATIONS:
        mark = lab.root(host) / STORE / "token.mark"
        assert stat.S_IMODE(mark.stat().st_mode) == 0o600
        assert stat.S_IMODE(mark.parent.stat().st_mode) == 0o700
        assert TOKEN.encode() not in mark.read_bytes()
        commands = lab.commands(host)
        order = [
            commands.index(next(c for c in commands if word in c)) for word in ("ca-certs=@stdin", "remote-server=")
        ]
        assert order == sorted(order), "the server was set before its authority"

    assert go(**enabled) == all_are()
    registered = {host: lab.machine_token(host) for host in GENERATIONS}
    assert go(**{**enabled, "config": settings(lab, check_interval=120)}) == all_are("config")
    assert go(**{**enabled, "config": {"check-interval": ""}}) == all_are("config")
    assert go(mode="no-apply", **enabled) == all_are("mode")
    assert {host: lab.machine_token(host) for host in GENERATIONS} == registered
    assert go(mode="normal", **enabled) == all_are("mode")

    changed = {**enabled, "token": OTHER}
    assert go(**changed) == all_are("disable", "enable")
    assert [seat(lab, host) for host in GENERATIONS] == [OTHER] * len(GENERATIONS)
    assert go(**changed) == all_are()

    assert go(state="disabled") == all_are("disable")
    assert [seat(lab, host) for host in GENERATIONS] == [None] * len(GENERATIONS)
    assert go(state="disabled") == all_are()
    assert go(state="present", config=settings(lab)) == all_are()
    assert go(state="absent") == all_are("remove")
    assert go(state="absent") == all_are()
    for host in GENERATIONS:
        assert not (lab.root(host) / STORE).exists()
        assert not is_enabled(lab, host)


def test_a_removed_client_gives_its_seat_back_first(operator: Operator, lab: Fleet) -> None:
    operator.predicted(("install-10",), token=TOKEN, config=settings(lab))
    assert seat(lab, "install-10") == TOKEN
    assert steps(operator.predicted(("install-10",), state="absent")["install-10"]) == ["disable", "remove"]
    assert seat(lab, "install-10") is None
    assert "snap remove --purge canonical-livepatch" in lab.commands("install-10")


# --- faults of the server ---

FAULTY = {"9": "enable-9.3", "10": "enable-10"}
FAULTS: list[tuple[str, dict[str, t.Any], dict[str, str]]] = [
    ("in trouble", {"status": 503}, {"9": "server_error", "10": "server_error"}),
    ("forbidden", {"status": 403}, {"9": "server_refused", "10": "server_refused"}),
    ("refuses", {"refuse": True}, {"9": "server_unreachable", "10": "registration_failed"}),
    ("resets", {"reset": True}, {"9": "server_unreachable", "10": "registration_failed"}),
    ("cut off", {"cut": 10}, {"9": "server_unreachable", "10": "registration_failed"}),
    ("silent", {"delay_ms": 33_000}, {"9": "server_unreachable", "10": "registration_failed"}),
    ("a stranger", {"certificate": "stranger"}, {"9": "tls_untrusted", "10": "tls_untrusted"}),
    ("misnamed", {"certificate": "misnamed"}, {"9": "tls_untrusted", "10": "tls_untrusted"}),
    ("expired", {"certificate": "expired"}, {"9": "tls_untrusted", "10": "tls_untrusted"}),
]


@pytest.fixture(scope="module")
def configured(lab: Fleet, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Clients that know the server already, so that a fault of it meets nothing but the enabling."""
    operator = Operator(Ansible(tmp_path_factory.mktemp("configured"), lab.variables), lab)
    run = operator.run(",".join(FAULTY.values()), state="present", config=settings(lab))
    assert run.code == 0, run.output


@pytest.mark.parametrize(("fault", "named"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_of_the_server_is_named_and_the_next_run_goes_on(
    fault: dict[str, t.Any], named: dict[str, str], operator: Operator, lab: Fleet, configured: None
) -> None:
    hosts = tuple(FAULTY.values())
    operator.run(",".join(hosts), state="disabled")
    files = {host: snapshot(lab.root(host)) for host in hosts}
    wanted = {"token": TOKEN, "config": settings(lab), "network": False}
    lab.set_faults(**fault)
    failed = operator.run(",".join(hosts), **wanted)
    for generation, host in FAULTY.items():
        result = failed.result(host)
        assert (result["kind"], result["error_id"]) == ("failed", named[generation]), result["msg"]
        assert (result["failed_step"], result["enabled"], result["changed"]) == ("enable", False, False)
        assert (result["before"]["state"], result["after"]["state"]) == ("disabled", "disabled")
        assert result["remedy"]
        assert snapshot(lab.root(host)) == files[host]
    lab.set_faults()
    if "delay_ms" in fault:
        # The client has given up after 30 s, and the server still registers the machine, and then gives a new token.
        time.sleep(fault["delay_ms"] / 1000 - 30 + 2)
    assert {steps(result)[0] for result in operator.predicted(hosts, **wanted).values()} == {"enable"}
    assert [seat(lab, host) for host in hosts] == [TOKEN] * len(hosts)


def test_a_server_that_is_away_for_a_moment_costs_no_enabled_host_its_protection(
    operator: Operator, lab: Fleet, configured: None
) -> None:
    """The way to the server is tried before anything is done, so the old registration stays while it is gone."""
    operator.predicted(("enable-10",), token=TOKEN)
    lab.set_faults(refuse=True)
    lab.change("enable-10", stale_check)
    result = operator.result("enable-10", token=OTHER, require_eligible=True)
    assert (result["kind"], result["error_id"]) == ("failed", "not_eligible"), result["msg"]
    assert seat(lab, "enable-10") == TOKEN


def stale_check(host: t.Any) -> t.Any:
    return dataclasses.replace(host, client=dataclasses.replace(host.client, last_check="3d"))


def test_a_token_that_the_server_does_not_know_is_a_bad_one(operator: Operator, lab: Fleet, configured: None) -> None:
    hosts = tuple(FAULTY.values())
    operator.run(",".join(hosts), state="disabled")
    bad = operator.run(",".join(hosts), token="made-up-and-unknown", config=settings(lab))
    assert [bad.result(host)["error_id"] for host in hosts] == ["bad_token"] * len(hosts)
    lab.set_tokens({TOKEN: {}, OTHER: {"seats": 0}})
    full = operator.run(",".join(hosts), token=OTHER, config=settings(lab))
    lab.set_tokens({TOKEN: {}, OTHER: {}})
    assert [full.result(host)["error_id"] for host in hosts] == ["seats_used_up"] * len(hosts)


# --- hosts on which something stands in the way ---


@pytest.mark.parametrize(
    ("host", "cause", "options"),
    [
        ("daemon-down", "daemon_down", {}),
        ("daemon-shutting-down", "daemon_shutting_down", {}),
        ("interface-not-connected", "daemon_down", {}),
        ("apparmor", "apparmor", {}),
        ("platform-unsupported", "platform_unsupported", {}),
        ("store-unreachable", "store_unreachable", {}),
        ("snapd-down-not-installed", "snapd_down", {}),
        ("not-seeded", "not_seeded", {"wait_seeded": 2}),
        ("not-root", "not_root", {}),
        ("lxd-container", "not_eligible", {"require_eligible": True}),
        ("enable-2016", "setting_refused", {"config": {"log-level": "debug"}}),
        ("no-curl-no-nc", "socket_unavailable", {"token_transport": "socket"}),
        ("no-sockets", "socket_unavailable", {"token_transport": "socket"}),
        ("enable-10", "pro_missing", {"via": "pro", "token": PRO_TOKEN}),
        ("install-6", "channel_unknown", {"channel": "9.x/stable"}),
    ],
)
def test_what_stands_in_the_way_is_named(
    host: str, cause: str, options: dict[str, t.Any], operator: Operator, lab: Fleet
) -> None:
    if host == "enable-10":
        operator.run(host, state="disabled")
    result = operator.result(host, **{"token": TOKEN, "config": {}, "network": False, **options})
    assert (result["kind"], result["error_id"]) == ("failed", cause), result["msg"]
    assert result["remedy"] in result["msg"] or result["remedy"][1:] in result["msg"]
    assert not is_enabled(lab, host) or host == "not-root"


@pytest.mark.parametrize(
    ("options", "cause", "words"),
    [
        (
            {"config": {"remote_server": "https://livepatch.example.com"}},
            "config_invalid",
            "did you mean remote-server",
        ),
        ({"config": {"check-interval": 30}}, "config_invalid", "at least 60"),
        ({"token": f"{TOKEN} "}, "token_malformed", "trim"),
        ({"token": PRO_TOKEN}, "token_is_pro", "via: pro"),
        ({"token": TOKEN, "via": "pro"}, "token_is_livepatch", "via: livepatch"),
    ],
)
def test_a_mistake_in_the_task_is_found_before_the_host_is_looked_at(
    options: dict[str, t.Any], cause: str, words: str, operator: Operator, lab: Fleet
) -> None:
    logged = lab.commands("enable-10")
    result = operator.result("enable-10", **options)
    assert (result["kind"], result["error_id"]) == ("failed", cause)
    assert words in result["msg"]
    assert lab.commands("enable-10") == logged


def test_seeding_is_waited_for_also_by_a_snapd_that_cannot_wait(operator: Operator, lab: Fleet) -> None:
    hosts = ("not-seeded-yet", "not-seeded-old-snapd")
    run = operator.run(",".join(hosts), state="present", wait_seeded=60)
    for host in hosts:
        result = run.result(host)
        assert result["kind"] == "ok", result["msg"]
        # The first may be done with it while it is looked at; the second cannot tell.
        assert steps(result) == ["seeded", "install"] or (host == "not-seeded-yet" and steps(result) == ["install"])
        assert (lab.root(host) / "snap/bin/canonical-livepatch").exists()


def test_snapd_is_installed_where_there_is_none(operator: Operator, lab: Fleet) -> None:
    done = operator.predicted(("no-snapd",), state="present", wait_seeded=60)["no-snapd"]
    assert steps(done) == ["snapd", "seeded", "install"]
    assert any(line.startswith("apt-get") and line.endswith("install snapd") for line in lab.commands("no-snapd"))


def test_snapd_is_upgraded_where_it_is_too_old(operator: Operator, lab: Fleet) -> None:
    def aged(host: t.Any) -> t.Any:
        return dataclasses.replace(host, snapd=dataclasses.replace(host.snapd, version="2.0.2"))

    operator.run("install-8", state="absent")
    lab.change("install-8", aged)
    done = operator.predicted(("install-8",), state="present", wait_seeded=60)["install-8"]
    assert steps(done) == ["snapd", "seeded", "install"]


@pytest.mark.matrix
def test_a_private_authority_makes_the_difference(operator: Operator, lab: Fleet) -> None:
    hosts = ("private-authority-9.3", "private-authority")
    untrusted = operator.run(",".join(hosts), token=TOKEN, config={"remote-server": lab.server})
    for host in hosts:
        result = untrusted.result(host)
        assert (result["error_id"], result["failed_step"]) == ("tls_untrusted", "config"), result["msg"]
    for result in operator.predicted(hosts, token=TOKEN, config=settings(lab)).values():
        assert steps(result) == ["config", "config", "enable"]


def test_a_client_that_somebody_else_enabled_stays_enabled_and_is_marked(operator: Operator, lab: Fleet) -> None:
    before = lab.machine_token("already-enabled")
    assert steps(operator.predicted(("already-enabled",), token=TOKEN)["already-enabled"]) == ["adopt"]
    assert lab.machine_token("already-enabled") == before
    again = operator.predicted(("already-enabled",), token=TOKEN)["already-enabled"]
    assert (again["changed"], again["before"]["token"]) == (False, "given")
    config = settings(lab)
    changed = operator.predicted(("already-enabled",), token=OTHER, config=config)["already-enabled"]
    assert steps(changed)[0] == "disable"
    assert seat(lab, "already-enabled") == OTHER


# --- the token's way ---


@pytest.mark.parametrize(
    ("host", "transport", "way"),
    [
        ("enable-10", "auto", "socket"),
        ("enable-10", "cli", "cli"),
        ("no-curl", "socket", "socket"),
        ("no-curl-no-nc", "auto", "cli"),
        ("no-sockets", "auto", "cli"),
    ],
)
def test_the_token_goes_the_way_that_there_is(
    host: str, transport: str, way: str, operator: Operator, lab: Fleet
) -> None:
    operator.run(host, state="disabled")
    logged = len(lab.commands(host))
    result = operator.result(host, token=TOKEN, token_transport=transport, config=settings(lab), network=False)
    assert (result["kind"], result.get("token_transport")) == ("ok", way), result.get("msg")
    assert seat(lab, host) == TOKEN
    argued = [line for line in lab.commands(host)[logged:] if line.startswith("canonical-livepatch enable")]
    assert argued == ([f"canonical-livepatch enable {TOKEN}"] if way == "cli" else [])


def test_a_proxys_password_is_no_argument_and_a_changed_one_is_noticed(operator: Operator, lab: Fleet) -> None:
    secret = "made-up-password-of-a-proxy"
    address = lab.proxy.removeprefix("http://")

    def config(password: str) -> dict[str, t.Any]:
        return settings(lab, https_proxy=f"http://fleet:{password}@{address}")

    lab.set_proxy("fleet", secret)
    try:
        done = operator.run("enable-10", "--diff", "-vvvvv", token=TOKEN, config=config(secret))
        assert "config" in steps(done.result("enable-10")), done.output
        assert secret not in "\n".join([*lab.commands("enable-10"), json.dumps(done.results), done.output])
        assert operator.predicted(("enable-10",), token=TOKEN, config=config(secret))["enable-10"]["changed"] is False
        changed = operator.predicted(("enable-10",), token=TOKEN, config=config(f"{secret}-2"))["enable-10"]
        assert steps(changed) == ["config"]
        assert f"{secret}-2" in (lab.root("enable-10") / COMMON / "config").read_text(encoding="utf-8")
    finally:
        lab.set_proxy()
        operator.run("enable-10", state="present", config={"https-proxy": ""})
    assert not (lab.root("enable-10") / STORE / "https-proxy.mark").exists()


def test_ubuntu_pro_enables_and_the_token_is_in_no_file(operator: Operator, lab: Fleet, tmp_path: Path) -> None:
    wanted = {"via": "pro", "token": PRO_TOKEN, "config": settings(lab)}
    done = operator.predicted(("pro", "pro-with-client"), **wanted)
    assert steps(done["pro"]) == ["install", "config", "config", "pro_attach"]
    for host in done:
        assert is_enabled(lab, host)
        assert holding(lab.root(host).parent, PRO_TOKEN) == []
        assert not (lab.root(host) / "run/kernelops-livepatch").exists()
    assert [result["changed"] for result in operator.predicted(tuple(done), **wanted).values()] == [False, False]
    disabled = operator.predicted(("pro",), via="pro", state="disabled")["pro"]
    assert steps(disabled) == ["pro_disable"]
    assert steps(operator.predicted(("pro",), **wanted)["pro"]) == ["pro_enable"]
    wrong = operator.result("pro", **{**wanted, "token": f"{PRO_TOKEN}2"})
    assert wrong["error_id"] == "pro_attached_otherwise"


def test_ubuntu_pro_killed_while_it_attaches_leaves_no_token_in_a_file(operator: Operator, lab: Fleet) -> None:
    host, wanted = "pro", {"via": "pro", "token": PRO_TOKEN, "config": settings(lab)}
    lab.run(host, "pro detach")
    lab.set_faults({"path": "/v1/context/", "delay_ms": 4000})
    pipe = lab.root(host) / "run/kernelops-livepatch/attach"
    killed = killed_after(operator, host, pipe.exists, **wanted)
    assert killed, "it ended before it could be killed"
    assert not pipe.is_file()
    assert holding(lab.root(host).parent, PRO_TOKEN) == []
    lab.set_faults()
    # Who was asked already goes on, longer than the server's delay: that must be over before check mode is held
    # against it.
    before: dict[str, tuple[int, bytes]] | None = None
    while (now := snapshot(lab.root(host))) != before:
        before = now
        time.sleep(8)
    done = operator.predicted((host,), **wanted)[host]
    assert done["enabled"] is True
    assert is_enabled(lab, host)
    assert not (lab.root(host) / "run/kernelops-livepatch").exists() or not done["changed"]


def holding(folder: Path, *secrets: str) -> list[str]:
    """The files below a folder that hold one of the secrets."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [str(path.relative_to(folder)) for secret in secrets if secret.encode() in content]
    return found


def test_a_canary_is_found_in_the_servers_log_alone(lab: Fleet, tmp_path: Path) -> None:
    """At the highest verbosity, with a log, a diff, a cache of facts, records, a report, and a host that fails."""
    good, bad = "ca4a12b3c4d5e6f7a8b9c0d1e2f3a4b5", "bad4canary5e6f7a8b9c0d1e2f3a4b50"
    lab.set_tokens({TOKEN: {}, OTHER: {}, good: {}})
    operator = Operator(Ansible(tmp_path, lab.variables), lab)
    hosts = ("enable-9.3", "enable-10", "install-11", "enable-2016")
    operator.run(",".join(hosts[:2]), state="disabled")
    (tmp_path / "vault").mkdir()
    vault = tmp_path / "vault" / "secret.yml"
    vault.write_text(json.dumps({"tokens": {"good": good, "bad": bad}}), encoding="utf-8")
    options = {"token": "{{ tokens[which] }}", "token_transport": "socket", "config": settings(lab)}
    tasks = [
        {
            "name": "Enable",
            MODULE: {**options, "require_eligible": False},
            "register": "enabled",
            "ignore_errors": True,
        },
        {"name": "Keep", "ansible.builtin.set_fact": {"kept": "{{ enabled }}", "cacheable": True}},
        {"name": "Tell", "ansible.builtin.debug": {"var": "enabled"}},
        {"name": "Look", "kernelops.livepatch.patch_info": {"record_dir": str(tmp_path / "records")}},
    ]
    report = {
        "record_dir": [str(tmp_path / "records")],
        "output_dir": str(tmp_path / "report"),
        "formats": ["html", "json"],
    }
    plays = [
        {"name": "Hosts", "hosts": ",".join(hosts), "gather_facts": False, "tasks": tasks},
        {
            "name": "Report",
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"name": "Report", "kernelops.livepatch.fleet_report": report}],
        },
    ]
    for play in plays[:1]:
        play["vars"] = {"which": "{{ 'bad' if inventory_hostname == 'enable-2016' else 'good' }}"}
    (tmp_path / "play.yml").write_text(json.dumps(plays), encoding="utf-8")
    environment = operator.ansible.environment(
        ANSIBLE_LOG_PATH=str(tmp_path / "ansible.log"),
        ANSIBLE_CACHE_PLUGIN="jsonfile",
        ANSIBLE_CACHE_PLUGIN_CONNECTION=str(tmp_path / "facts"),
    )
    words = ["playbook", "play.yml", "-vvvvv", "--diff", "-e", "@vault/secret.yml"]
    seen = subprocess.run(
        [*recording(tmp_path / "executed"), sys.executable, "-m", "ansible", *words],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=500,
    )
    output = seen.stdout.decode() + seen.stderr.decode()
    assert [seat(lab, host) for host in hosts] == [good, good, good, None], output[-3000:]
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    failed = [line["result"] for line in results if line["kind"] == "ignored"]
    assert [each["error_id"] for each in failed] == ["bad_token"]
    (tmp_path / "output").write_text(output, encoding="utf-8")
    assert len((tmp_path / "ansible.log").read_bytes()) > 10_000
    assert list((tmp_path / "facts").iterdir())
    assert (tmp_path / "report" / "fleet.html").exists()
    started = executions(tmp_path / "executed")
    assert any("/usr/bin/bwrap" in each.argv[0] or "bwrap" in each.argv[0] for each in started if each.argv)
    assert any(each.argv[:1] == ("curl",) and "--unix-socket" in each.argv for each in started)
    assert [each.argv for each in started if good in each or bad in each] == []
    machine_tokens = [str(lab.machine_token(host)) for host in hosts[:3]]
    vault.unlink()
    assert holding(tmp_path, good, bad, *machine_tokens) == []
    assert holding(lab.directory / "hosts", good, bad) == []
    logged = [request for request in lab.requests() if request.get("auth_token") in (good, bad)]
    assert {request["auth_token"] for request in logged} == {good, bad}


def test_the_first_clients_error_which_quotes_the_token_is_masked(operator: Operator, lab: Fleet) -> None:
    """Also from what the host sends, which Ansible shows at its verbosity."""
    canary = "quoted-canary-of-a-test"
    run = operator.run("enable-2016", "-vvvvv", token=canary, token_transport="cli", config=settings(lab))
    result = run.result("enable-2016")
    assert result["error_id"] == "bad_token"
    assert canary not in run.output
    assert canary not in json.dumps(run.results)


# --- every shell ---

NONCE = "0f" * 16


def work(lab: Fleet, host: str, shell: str, log: Path, path: str = "", **variables: str) -> Sections:
    """Run the working script in a host under a shell, with every program that it starts recorded.

    `path` is a folder of the host whose programs count before the others.
    """
    name, _blank, options = shell.partition(" ")
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed on this machine")
    place = lab.root(host).parent / "tmp" / name
    if not place.exists():
        shutil.copy(found, place)
    shell_path = f"/{place.relative_to(place.parents[1])}"
    given = {"server": "", "network": "", "channel": "", "pro": "", "wait": "5", "ways": "curl", **variables}
    script = compose(("probe", "client_read", "client_write"), NONCE, given)
    session = json.loads((lab.root(host).parent / "session.json").read_text(encoding="utf-8"))
    done = subprocess.run(
        [*recording(log), *session["command"], "/bin/sh", "-c", f"PATH={path}:$PATH exec {shell_path} {options} -s"],
        input=script.encode(),
        env=session["environment"],
        capture_output=True,
        check=False,
    )
    return parse(done.stdout.decode(), done.stderr.decode(), NONCE)


@each_shell
@pytest.mark.parametrize("way", ["curl", "nc"])
def test_every_shell_does_the_work_and_keeps_the_token(shell: str, way: str, lab: Fleet, tmp_path: Path) -> None:
    host, secret = "enable-10", "http://fleet:made-up-password@127.0.0.1:1"
    work(lab, host, SHELLS[shell], tmp_path / "before", steps="disable", token="")
    pem = lab.certificate.read_text(encoding="utf-8")
    variables = {
        "steps": "mode config config config enable config",
        "argument_1": "normal",
        "argument_2": "ca-certs",
        "value_2": pem,
        "argument_3": "remote-server",
        "value_3": lab.server,
        "argument_4": "check-interval",
        "value_4": "90",
        "mark_5": str(mark_of(TOKEN, "ab" * 16)),
        "argument_6": "http-proxy",
        "value_6": secret,
        "mark_6": str(mark_of(secret, "cd" * 16)),
        "token": TOKEN,
        "ways": way,
    }
    answer = work(lab, host, SHELLS[shell], tmp_path / "log", **variables)
    outcome = [(answer[f"step {number}"].exit_code, answer[f"step {number}"].errors) for number in range(1, 7)]
    assert outcome == [(0, "")] * 6
    assert answer.complete
    assert seat(lab, host) == TOKEN
    assert answer["client_marks"].output.split() == [
        *("http-proxy", "cd" * 16, mark_of(secret, "cd" * 16).digest),
        *("token", "ab" * 16, mark_of(TOKEN, "ab" * 16).digest),
    ]
    started = executions(tmp_path / "log")
    assert any(each.argv[:2] == ("/snap/bin/canonical-livepatch", "config") for each in started)
    assert [each.argv for each in started if TOKEN in each or "made-up-password" in each] == []
    said = "".join(section.output + section.errors for section in answer.values())
    assert TOKEN not in said
    assert str(lab.machine_token(host)) not in said
    undone = work(lab, host, SHELLS[shell], tmp_path / "after", steps="config disable", argument_1="http-proxy")
    assert [undone[f"step {number}"].exit_code for number in (1, 2)] == [0, 0]
    assert undone["client_marks"].output.split() == []
    assert seat(lab, host) is None


class CutOff:
    """As much of an action plugin as a script needs, over a connection that breaks off."""

    def __init__(self, lab: Fleet, host: str) -> None:
        self._connection = types.SimpleNamespace(become=None, transport="ssh", has_pipelining=True)
        self._lab, self._host = lab, host

    def _low_level_execute_command(self, cmd: str, in_data: bytes) -> dict[str, t.Any]:
        done = self._lab.run(self._host, cmd, in_data)
        stdout = done.stdout.decode()
        return {"rc": 255, "stdout": stdout[: stdout.index(" section status")], "stderr": done.stderr.decode()}


def test_half_of_an_answer_is_no_host_without_a_client(lab: Fleet) -> None:
    variables = {"server": "", "network": "", "channel": "", "pro": ""}
    with pytest.raises(ActionError) as failure:
        look_at_client(t.cast("t.Any", CutOff(lab, "already-enabled")), variables)
    assert failure.value.result["error_id"] == "interrupted"


def test_the_work_ends_at_the_first_step_that_fails(lab: Fleet, tmp_path: Path) -> None:
    answer = work(
        lab, "enable-10", "dash", tmp_path / "log", steps="config config disable", argument_1="nonsense", value_1="x"
    )
    assert answer["step 1"].exit_code == 1
    assert 'unknown configuration key "nonsense"' in answer["step 1"].errors
    assert "step 2" not in answer
    assert answer["client_files"].status == "ok"


# What the lab's tools do not do: each says at first what makes others give up.
STUBS = {
    "apt-get": """
case $* in
    *update) echo "E: The repository of somebody else has no Release file."; exit 100 ;;
esac
[ "$(grep -c 'apt-get.*install' /tmp/stubs.log)" -gt 2 ] ||
    { echo "E: Could not get lock /var/lib/dpkg/lock"; exit 100; }
""",
    "snap": """
case $* in
    version | wait*) ;;
    "install canonical-livepatch")
        [ "$(grep -c 'snap install' /tmp/stubs.log)" -gt 1 ] ||
            { echo 'error: snap "canonical-livepatch" has "install-snap" change in progress'; exit 1; }
        ;;
    restart*) echo "error: Unknown command \\`restart'"; exit 1 ;;
    "remove --purge"*) echo "error: unknown flag \\`purge'"; exit 1 ;;
esac
""",
    "systemctl": "",
}


def test_what_others_hold_is_waited_for_and_old_snapd_gets_what_it_knows(lab: Fleet, tmp_path: Path) -> None:
    folder = lab.root("enable-10").parent / "tmp" / "stubs"
    folder.mkdir()
    for name, script in STUBS.items():
        stub = folder / name
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >>/tmp/stubs.log\n{script}', encoding="utf-8")
        stub.chmod(0o755)
    given = {"steps": "snapd seeded install mode remove", "argument_4": "normal", "wait": "30"}
    answer = work(lab, "enable-10", "dash", tmp_path / "log", "/tmp/stubs", **given)  # noqa: S108  (the host's own)
    outcome = [(answer[f"step {number}"].exit_code, answer[f"step {number}"].errors) for number in range(1, 6)]
    assert outcome == [(0, "")] * 5
    log = (folder.parent / "stubs.log").read_text(encoding="utf-8").splitlines()
    done = [re.sub(" -.* (?=install|update)", " ", line) for line in log]
    assert done[:4] == ["apt-get update", *["apt-get install snapd"] * 3]
    assert done[4:10] == [
        "snap wait system seed.loaded",
        *["snap install canonical-livepatch"] * 2,
        "snap restart canonical-livepatch",
        "systemctl restart snap.canonical-livepatch.canonical-livepatchd",
        "snap remove --purge canonical-livepatch",
    ]
    assert done[10] == "snap remove canonical-livepatch"


# --- killed in the middle ---


def killed_after(operator: Operator, host: str, reached: t.Callable[[], bool], **options: t.Any) -> bool:
    """Run the module, and kill all of it as soon as a point is reached; tell whether that came about."""
    options = {"require_eligible": False, "network": False, **options}
    with operator.ansible.start_task(MODULE, host, **options) as run:
        return run.reaches(reached) and run.process.poll() is None


def has_logged(fleet: Fleet, host: str, lines: int) -> bool:
    return len(fleet.commands(host)) >= lines


POINTS = 10


@pytest.fixture(scope="module", params=["installed anew", "with a changed token"])
def copies(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, bool]]:
    """Ten hosts, and a server with ten seats and not one more."""
    folder = tmp_path_factory.mktemp("copies")
    with running_fleet(folder, POINTS, "install-10", writable=True) as fleet:
        fleet.set_tokens({TOKEN: {"seats": POINTS}, OTHER: {"seats": POINTS}})
        yield fleet, request.param == "with a changed token"


def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(copies: tuple[Fleet, bool], tmp_path: Path) -> None:
    fleet, is_change = copies
    operator = Operator(Ansible(tmp_path, fleet.variables), fleet)
    hosts = tuple(fleet.hosts)
    if is_change:
        run = operator.run("all", token=TOKEN, config=settings(fleet))
        assert run.code == 0, run.output
    wanted = {"token": OTHER, "config": settings(fleet, check_interval=240), "mode": "no-apply"}
    # The first look is four or five commands; what follows is the work, and the look after it.
    killed = []
    for number, host in enumerate(hosts):
        point = len(fleet.commands(host)) + 4 + number
        killed.append(killed_after(operator, host, functools.partial(has_logged, fleet, host, point), **wanted))
    assert all(killed)
    left = {host: tuple(sorted(Path(name).name for name in snapshot(fleet.root(host)))) for host in hosts}
    assert len(set(left.values())) > 2, f"the points do not differ: {left}"
    done = operator.predicted(hosts, network=False, **wanted)
    assert len({tuple(steps(result)) for result in done.values()}) > 2, "the points do not differ"
    machines = fleet.machines()
    assert {held["auth_token"] for held in machines.values()} == {OTHER}
    assert len(machines) == POINTS
    assert [result["changed"] for result in operator.predicted(hosts, network=False, **wanted).values()] == [
        False
    ] * POINTS
    for host in hosts:
        assert machines[machine_id(host)]["machine_token"] == fleet.machine_token(host)
        assert (fleet.root(host) / "var/local/canonical_livepatch_mode").read_text(encoding="ascii") == "no-apply\n"
        assert not (fleet.root(host) / STORE / "restart").exists()
    assert holding(fleet.directory / "hosts", TOKEN, OTHER) == []
