# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The playbook `upgrade` on a fleet of 30 hosts: canaries in every form, waves, a lost host, and a second run."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet

from .test_upgrade import ansible_with, failures, plan_of, report_of, shown, some, untouched, upgrade, upgraded
from .upgrading import AT_ONCE, LIKE, Hosts

pytestmark = pytest.mark.waves

FLEET = 30
SERIAL = [2, "20%", 10]
SECONDS = 1800
"""Time limit of one run, also on a busy machine."""


def sizes(run_waves: list[list[str]]) -> list[int]:
    return [len(wave) for wave in run_waves]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Hosts]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), FLEET, LIKE) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


@pytest.fixture(scope="module")
def names(hosts: Hosts) -> list[str]:
    return some(hosts, FLEET)


def test_a_fleet_has_canaries_in_every_form(hosts: Hosts, names: list[str], tmp_path: Path) -> None:
    ansible = dataclasses.replace(ansible_with(hosts, tmp_path), timeout=SECONDS)
    forms: list[tuple[t.Any, list[str]]] = [
        (2, names[:2]),
        ("3", names[:3]),
        (names[9], [names[9]]),
        (f"{names[20]},{names[4]}", [names[4], names[20]]),
        ([names[8], names[1]], [names[1], names[8]]),
    ]
    for value, expected in forms:
        run = upgrade(ansible, names, livepatch_plan_only="true", livepatch_canary=value, livepatch_serial=["50%"])
        assert run.code == 0, run.output
        waves = plan_of(run)
        half = (FLEET - len(expected)) // 2
        assert waves[0] == expected
        assert sizes(waves)[:3] == [len(expected), half, half]
    # A part of the fleet is no form of canaries: the hosts must be the same in each run.
    run = upgrade(ansible, names, livepatch_plan_only="true", livepatch_canary="10%")
    assert "the canary 10% is not a host of this run" in run.output
    assert [name for name in names if not untouched(hosts, name)] == []


def test_a_fleet_is_upgraded_in_waves(hosts: Hosts, names: list[str], tmp_path: Path) -> None:
    lost, same_group = names[12], names[29]
    hosts.change(lost, reboot=dataclasses.replace(AT_ONCE, returns=False))
    group = {"drain_group": "db"}
    variables = {lost: {**group, "livepatch_reboot_timeout": 20}, same_group: group, names[5]: group}
    ansible = dataclasses.replace(ansible_with(hosts, tmp_path, variables), timeout=SECONDS)

    started = time.monotonic()
    canary = f"{names[7]}, {names[3]}"
    first = upgrade(ansible, names, livepatch_canary=canary, livepatch_serial=SERIAL)
    seconds = {"first run": time.monotonic() - started}
    assert first.code != 0
    waves = plan_of(first)
    assert waves[0] == [names[3], names[7]]
    assert sizes(waves) == [2, 2, 5, 10, 10, 1]
    assert all(len({lost, same_group, names[5]} & set(wave)) <= 1 for wave in waves)
    at = next(number for number, wave in enumerate(waves) if lost in wave)
    done = [name for wave in waves[: at + 1] for name in wave if name != lost]
    rest = [name for wave in waves[at + 1 :] for name in wave]
    assert [name for name in done if not upgraded(hosts, name)] == [], failures(first)
    assert [name for name in rest if not untouched(hosts, name)] == []
    assert f"{lost}: " in failures(first)
    states = dict.fromkeys(done, "protected") | dict.fromkeys(rest, "upgrade_required") | {lost: "no_answer"}
    assert report_of(ansible) == states

    started = time.monotonic()
    second = upgrade(ansible, names, livepatch_canary=1, livepatch_serial="50%")
    seconds["second run"] = time.monotonic() - started
    assert second.code != 0, "a host is still lost"
    left_out = [name for name in (names[5], same_group) if name in rest]
    assert sorted(shown(second)["left_out"]) == sorted(left_out)
    assert sorted(name for wave in plan_of(second) for name in wave) == sorted(set(rest) - set(left_out))
    assert [name for name in names if name not in (lost, *left_out) and not upgraded(hosts, name)] == []
    assert [name for name in left_out if not untouched(hosts, name)] == []
    assert report_of(ansible)[lost] == "no_answer"
    assert hosts.reboots(lost) == 1

    started = time.monotonic()
    third = upgrade(ansible, [name for name in names if name not in (lost, *left_out)])
    seconds["third run"] = time.monotonic() - started
    assert third.code == 0, third.output
    assert plan_of(third) == []
    print("\n" + ", ".join(f"{name}: {value:.0f} s" for name, value in seconds.items()))
