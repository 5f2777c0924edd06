# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The module `client` from outside: what it does to hosts, what it leaves there, and what it never tells."""

from __future__ import annotations

import dataclasses
import re
import stat
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible, Run
from tests.lab.fleet import Fleet, running_fleet
from tests.lab.root import COMMON, machine_id

MODULE = "kernelops.livepatch.client"
TOKEN = "3d87c8a1b4c94f34a5f1a2c9d0e7f6b5"
OTHER = "0f5be1a2c3d4e5f60718293a4b5c6d7e"
GENERATIONS = ("client-2016", "client-6", "client-9.5", "client-10", "client-11")
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
    only = [*GENERATIONS, "not-installed", "not-enabled", "not-root", "no-snapd", "snapd-down", "lxd-container"]
    with running_fleet(tmp_path_factory.mktemp("lab"), only=only) as fleet:
        fleet.set_tokens({TOKEN: {}, OTHER: {}})
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

    go(state="absent")
    assert not any((lab.root(host) / "snap/bin/canonical-livepatch").exists() for host in GENERATIONS)
    assert [seat(lab, host) for host in GENERATIONS] == [None] * 5

    enabled = {"token": TOKEN, "token_transport": "socket", "config": settings(lab)}
    done = go(**enabled)
    # The snapd of the first client has no `snap wait` with which it could be asked.
    assert done.pop("client-2016") == ["seeded", "install", "config", "config", "enable"]
    assert set(map(tuple, done.values())) == {("install", "config", "config", "enable")}
    assert [seat(lab, host) for host in GENERATIONS] == [TOKEN] * 5
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
    assert [seat(lab, host) for host in GENERATIONS] == [OTHER] * 5
    assert go(**changed) == all_are()

    assert go(state="disabled") == all_are("disable")
    assert [seat(lab, host) for host in GENERATIONS] == [None] * 5
    assert go(state="disabled") == all_are()
    assert go(state="present", config=settings(lab)) == all_are()
    assert go(state="absent") == all_are("remove")
    assert go(state="absent") == all_are()
    for host in GENERATIONS:
        assert not (lab.root(host) / STORE).exists()
        assert not is_enabled(lab, host)


def test_a_removed_client_gives_its_seat_back_first(operator: Operator, lab: Fleet) -> None:
    operator.predicted(("client-10",), token=TOKEN, config=settings(lab))
    assert seat(lab, "client-10") == TOKEN
    assert steps(operator.predicted(("client-10",), state="absent")["client-10"]) == ["disable", "remove"]
    assert seat(lab, "client-10") is None
    assert "snap remove --purge canonical-livepatch" in lab.commands("client-10")


# --- faults of the server ---


FAULTS: list[tuple[str, dict[str, t.Any], dict[str, str]]] = [
    ("in trouble", {"status": 503}, {"6": "server_error", "10": "server_error"}),
    ("forbidden", {"status": 403}, {"6": "server_refused", "10": "server_refused"}),
    ("refuses", {"refuse": True}, {"6": "server_unreachable", "10": "registration_failed"}),
    ("resets", {"reset": True}, {"6": "server_unreachable", "10": "registration_failed"}),
    ("cut off", {"cut": 10}, {"6": "server_unreachable", "10": "registration_failed"}),
    ("a stranger", {"certificate": "stranger"}, {"6": "tls_untrusted", "10": "tls_untrusted"}),
    ("misnamed", {"certificate": "misnamed"}, {"6": "tls_untrusted", "10": "tls_untrusted"}),
    ("expired", {"certificate": "expired"}, {"6": "tls_untrusted", "10": "tls_untrusted"}),
]


@pytest.mark.parametrize(("fault", "named"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_of_the_server_is_named_and_the_next_run_goes_on(
    fault: dict[str, t.Any], named: dict[str, str], operator: Operator, lab: Fleet
) -> None:
    hosts = ("client-6", "client-10")
    wanted = {"token": TOKEN, "config": settings(lab), "network": False}
    # Configured while the server is well: the fault meets the enabling.
    operator.run(",".join(hosts), state="disabled", config=settings(lab))
    operator.run(",".join(hosts), state="present", config=settings(lab))
    lab.set_faults(**fault)
    failed = operator.run(",".join(hosts), **wanted)
    for host in hosts:
        result = failed.result(host)
        assert (result["kind"], result["error_id"]) == ("failed", named[host.removeprefix("client-")]), result["msg"]
        assert (result["failed_step"], result["enabled"], result["changed"]) == ("enable", False, False)
        assert result["remedy"]
        assert not is_enabled(lab, host)
        assert not (lab.root(host) / STORE / "token.mark").exists()
    lab.set_faults()
    for host, result in operator.predicted(hosts, **wanted).items():
        assert steps(result) == ["enable"]
        assert seat(lab, host) == TOKEN
