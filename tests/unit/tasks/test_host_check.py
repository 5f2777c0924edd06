# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The tasks of `patch_info` and `eligibility_info`, from recorded answers."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector, Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import folder_store
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.host_check import (
    CheckOptions,
    check_eligibility,
    check_host,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from tests.samples import answers
from tests.samples.facts import shipped
from tests.samples.replay import NOW, ConnectionLost, Replay, sections

OPTIONS = CheckOptions(host="web1", policy=shipped("launch"), collector=Collector(collection="2", ansible_core="2.21"))
EMPTY = sections(machine="x86_64")


def options(**changes: t.Any) -> CheckOptions:
    return dataclasses.replace(OPTIONS, **changes)


NOBLE = sections(
    paths="ok /etc/os-release\nabsent /sys/firmware/efi\nok /proc/version_signature\nok /sys/kernel\n"
    "ok /sys/kernel/livepatch",
    files="/etc/os-release:ID=ubuntu\n/etc/os-release:VERSION_ID=24.04\n"
    "/proc/version_signature:Ubuntu 6.8.0-31.31-generic 6.8.1",
    release="6.8.0-31-generic",
    version="#31-Ubuntu SMP PREEMPT_DYNAMIC Sat Apr 20 00:40:06 UTC 2024",
    machine="x86_64",
    architecture="amd64",
    virtualization="kvm",
    snapd="snap 2.63\nsnapd 2.63",
    user="0",
)


@pytest.mark.parametrize("check", [check_host, check_eligibility])
def test_a_refused_host_names_the_alternative(check: t.Any) -> None:
    given = options(host="web1", alternative=shipped("current"))
    result = Replay(lambda _command: NOBLE).run(check(given))
    checks = result["record"]["eligibility"]["checks"] if "record" in result else result["checks"]
    refusals = {each["id"]: each["remedy"] for each in checks if each["status"] == "fail"}
    assert set(refusals) == {"release", "kernel_series"}
    assert all(str(remedy).endswith("set livepatch_policy=current") for remedy in refusals.values())


def test_the_next_step_of_a_record_can_be_pasted() -> None:
    not_enabled = Section("status json", "ok", "", errors="Machine is not enabled.", exit_code=1)
    answer = Sections([*NOBLE.values(), not_enabled], complete=True)
    record = Replay(lambda _command: answer).run(check_host(options(host="web1", policy=shipped("current"))))["record"]
    assert record["assessment"]["state"] == "disabled"
    assert record["assessment"]["reasons"][0]["remedy"] == (
        "enable the client: ansible-playbook kernelops.livepatch.enable --limit web1 -e livepatch_policy=current; pass"
        " livepatch_token by Ansible Vault or an environment variable"
    )


def test_a_check_is_one_round_trip() -> None:
    replay = Replay(lambda _command: EMPTY)
    result = replay.run(check_host(OPTIONS))
    assert [command.parts for command in replay.scripts] == [("probe",)]
    assert set(result) == {"record"}
    assert result["record"]["host"] == "web1"


def test_the_record_has_the_time_before_the_answer() -> None:
    replay = Replay(lambda _command: EMPTY, script_seconds=30)
    record: Record = replay.run(check_host(OPTIONS))["record"]
    assert record["collected_at"] == "2026-03-01T04:00:00Z"


def test_a_record_is_stored_in_a_folder() -> None:
    replay = Replay(lambda _command: EMPTY)
    result = replay.run(check_host(options(record_dir="records")))
    assert result["record_file"] == "records/web1.json"
    assert replay.stored == [result["record"]]


def test_a_stored_record_is_not_returned_if_it_is_not_wanted() -> None:
    replay = Replay(lambda _command: EMPTY)
    result = replay.run(check_host(options(record_dir="records", return_record=False)))
    (record,) = replay.stored
    assert result == {"state": record["assessment"]["state"], "record_file": "records/web1.json"}


@pytest.mark.parametrize("wanted", [True, False])
def test_a_record_that_was_not_stored_is_returned(wanted: bool) -> None:
    replay = Replay(lambda _command: EMPTY, store_failure=LivepatchError("record_not_stored", "disk full"))
    with pytest.raises(LivepatchError) as caught:
        replay.run(check_host(options(record_dir="records", return_record=wanted)))
    assert caught.value.as_result()["record"]["host"] == "web1"


@pytest.mark.parametrize(("asked", "questions"), [(False, 0), (True, 1)])
def test_the_service_is_asked_only_on_request(asked: bool, questions: int) -> None:
    for task in (check_eligibility, check_host):
        replay = Replay(lambda _command: EMPTY)
        replay.run(task(options(ask_server=asked)))
        assert len(replay.questions) == questions


def test_the_service_is_asked_as_the_options_say() -> None:
    for task in (check_eligibility, check_host):
        replay = Replay(lambda _command: EMPTY)
        replay.run(
            task(options(ask_server=True, server="https://lab.test", ca_path="ca.pem", proxy="http://proxy:3128"))
        )
        [question] = replay.questions
        assert (question.server, question.ca_path, question.proxy) == (
            "https://lab.test",
            "ca.pem",
            "http://proxy:3128",
        )


@pytest.mark.parametrize(
    ("verify", "anchors", "expected"),
    [("auto", True, "auto"), ("file", True, "file"), ("off", True, ""), ("auto", False, ""), ("file", False, "")],
)
def test_signatures_are_asked_for_only_with_trust(verify: str, anchors: bool, expected: str) -> None:
    replay = Replay(lambda _command: EMPTY)
    replay.run(check_host(options(verify=verify, anchors=trust.canonical_anchors() if anchors else None)))
    assert replay.scripts[0].variables["verify"] == expected


def test_eligibility_asks_for_no_signature() -> None:
    replay = Replay(lambda _command: EMPTY)
    replay.run(check_eligibility(options(verify="file", anchors=trust.canonical_anchors())))
    assert replay.scripts[0].variables["verify"] == ""


def test_a_lost_connection_makes_no_record() -> None:
    replay = Replay(lambda _command: ConnectionLost())
    with pytest.raises(ConnectionLost):
        replay.run(check_host(options(record_dir="records")))
    assert replay.stored == []


def test_a_host_waits_since_its_first_record(tmp_path: pathlib.Path) -> None:
    """The client checks shortly before each check of the host, and does not apply its patch."""
    states = []
    for hours in (0, 1, 2, 3):
        checked = (NOW + datetime.timedelta(hours=hours, minutes=-1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = answers.answer(
            *answers.probe(livepatch=answers.APPLYING, last_check=checked, clock=answers.CLOCK + hours * 3600)
        )
        replay = Replay(lambda _command, answer=answer: answer, elapsed=hours * 3600)
        record = replay.run(check_host(options(record_dir=str(tmp_path))))["record"]
        folder_store.store(tmp_path, record)
        states.append(record["assessment"]["state"])
    assert states == ["applying", "failed", "failed", "failed"]


def test_without_a_folder_each_check_is_the_first() -> None:
    answer = answers.answer(*answers.probe(livepatch=answers.APPLYING))
    record = Replay(lambda _command: answer).run(check_host(OPTIONS))["record"]
    assert (record["assessment"]["state"], record["patch"]["waiting_since"]) == ("applying", "2026-03-01T03:20:00Z")
