# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The inventory plugin `records`: groups and variables of hosts from their records."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet
from tests.samples.records import COLLECTED_AT, make_record
from tests.samples.reports import HOSTILE

from .conftest import Ansible, Run
from .record_files import write_attempt, write_record

PLUGIN = "kernelops.livepatch.records"
LATER = "2026-01-11T06:00:00Z"
README = Path(__file__).parents[2] / "README.md"
LOOKUP = "{{ lookup('ansible.builtin.pipe', 'touch templated') }}"


@pytest.fixture
def offline(tmp_path: Path) -> Ansible:
    """Ansible without any host."""
    return Ansible(tmp_path, {})


def store(folder: Path, *records: t.Any) -> None:
    for record in records:
        write_record(folder, record)


def write_source(ansible: Ansible, name: str = "livepatch.yml", **options: t.Any) -> Path:
    source = ansible.folder / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(yaml.safe_dump({"plugin": PLUGIN, **options}), encoding="utf-8")
    return source


class Inventory(t.NamedTuple):
    """The output of ``ansible-inventory --list``: hosts of each group, variables of each host, and its messages."""

    groups: dict[str, list[str]]
    variables: dict[str, dict[str, t.Any]]
    output: str


def load(ansible: Ansible, *words: str, **options: t.Any) -> Inventory:
    return load_source(ansible, write_source(ansible, **options), *words)


def load_source(ansible: Ansible, source: Path, *words: str) -> Inventory:
    target = ansible.folder / "inventory.json"
    run = ansible.command("inventory", "-i", str(source), "--list", "--output", str(target), *words)
    assert run.code == 0, run.output
    document = plain(json.loads(target.read_text(encoding="utf-8")))
    variables = document.pop("_meta")["hostvars"]
    groups = {name: sorted(group.get("hosts", [])) for name, group in document.items()}
    return Inventory(groups, variables, run.output)


def plain(value: t.Any) -> t.Any:
    """Return JSON without the marks that ansible-core 2.16 adds to text that must not be templated."""
    if isinstance(value, dict):
        return (
            value["__ansible_unsafe"] if set(value) == {"__ansible_unsafe"} else {k: plain(v) for k, v in value.items()}
        )
    return [plain(member) for member in value] if isinstance(value, list) else value


def evaluate(ansible: Ansible, source: Path, host: str, *expressions: str) -> Run:
    """Run tasks that template expressions with the variables of a host."""
    playbook = ansible.folder / "evaluate.yml"
    tasks = [{"name": "Say", "ansible.builtin.debug": {"msg": f"{{{{ {each} }}}}"}} for each in expressions]
    play = {"name": "Play", "hosts": host, "gather_facts": False, "tasks": tasks}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    return ansible.command("playbook", "-i", str(source), str(playbook))


@pytest.mark.matrix
def test_groups_and_variables(offline: Ansible) -> None:
    web = make_record("web1", assessment__reboot_needed=True)
    store(
        offline.folder / "livepatch-records",
        web,
        make_record("web2", "stale", system__kernel__series="5.15", system__kernel__full="5.15.0-1.1-generic"),
        make_record("db1", "disabled", system__kernel__series=None),
    )
    found = load(offline)
    assert {
        group: hosts for group, hosts in found.groups.items() if group.startswith("livepatch_state_") and hosts
    } == {
        "livepatch_state_protected": ["web1"],
        "livepatch_state_stale": ["web2"],
        "livepatch_state_disabled": ["db1"],
    }
    assert found.groups["livepatch_kernel_4_4"] == ["web1"]
    assert found.groups["livepatch_kernel_5_15"] == ["web2"]
    assert found.variables["web1"] == {
        "livepatch_state": "protected",
        "livepatch_collected_at": COLLECTED_AT,
        "livepatch_kernel": "4.4.0-168.197-generic",
        "livepatch_patch_version": "65.1",
        "livepatch_reboot_needed": True,
        "livepatch_record": web,
    }


def test_every_state_has_a_group(offline: Ansible) -> None:
    """A play on the hosts of any state starts without a warning."""
    store(offline.folder / "livepatch-records", make_record("web1"))
    graph = offline.command("inventory", "-i", str(write_source(offline)), "--graph").output
    states = README.read_text(encoding="utf-8").partition("## Host states")[2].partition("\n## ")[0]
    for state in re.findall(r"^\| `(\w+)`", states, re.MULTILINE):
        assert f"@livepatch_state_{state}:" in graph
    assert "@livepatch_state_protected:" in graph


def test_a_host_whose_newest_attempt_failed_is_unreachable(offline: Ansible) -> None:
    records = offline.folder / "livepatch-records"
    store(records, make_record("web1"), make_record("web2"))
    reason = {"id": "connection_failed", "message": "refused", "remedy": "start sshd"}
    write_attempt(records, "web1", LATER, reason)
    write_attempt(records, "never-seen", LATER, reason)
    found = load(offline)
    assert found.groups["livepatch_state_no_answer"] == ["never-seen", "web1"]
    assert found.groups["livepatch_state_protected"] == ["web2"]
    assert found.groups["livepatch_kernel_4_4"] == ["web2"]
    unknown = dict.fromkeys(
        ("livepatch_kernel", "livepatch_patch_version", "livepatch_reboot_needed", "livepatch_record")
    )
    assert found.variables["web1"] == {
        "livepatch_state": "no_answer",
        "livepatch_collected_at": COLLECTED_AT,
        **unknown,
    }
    assert found.variables["never-seen"]["livepatch_collected_at"] is None


def test_the_newest_record_of_several_folders_counts(offline: Ansible) -> None:
    store(offline.folder / "deep" / "eu", make_record("web1", "stale"), make_record("eu1"))
    store(offline.folder / "deep" / "us", make_record("web1", "failed", collected_at=LATER), make_record("us1"))
    absolute = offline.folder / "asia"
    store(absolute, make_record("asia1"))
    # Relative folders begin at the source.
    found = load(offline, name="deep/our.livepatch.yaml", record_dir=["eu", "./us", str(absolute)])
    assert found.groups["livepatch_state_failed"] == ["web1"]
    assert found.groups["livepatch_state_protected"] == ["asia1", "eu1", "us1"]
    assert "livepatch_state_stale" not in found.groups or not found.groups["livepatch_state_stale"]


@pytest.mark.matrix
def test_problems_are_warnings_and_hide_nothing(offline: Ansible) -> None:
    records = offline.folder / "livepatch-records"
    store(records, make_record("web1"), make_record(""))
    (records / "cut.json").write_text('{"schema": "kernel', encoding="utf-8")
    for number in range(40):
        (records / f"bad-{number:02}.json").write_text('{"schema": "\\u001b[2J"}', encoding="utf-8")
    found = load(offline, record_dir=["livepatch-records", "missing"])
    assert list(found.variables) == ["web1"]
    output = " ".join(found.output.split())
    assert "bad-00.json: this file is not a record" in output
    assert "22 more records could not be used" in output
    assert "\x1b" not in output
    alone = load(offline, record_dir=["missing"])
    assert alone.variables == {}
    assert "this folder cannot be read" in " ".join(alone.output.split())


@pytest.mark.matrix
def test_constructed_features(offline: Ansible) -> None:
    store(
        offline.folder / "livepatch-records",
        make_record("web1", client__tier="updates", assessment__reboot_needed=True),
        make_record("web2", "stale", client__tier="fast"),
    )
    found = load(
        offline,
        "--extra-vars",
        "site=north",
        use_extra_vars=True,
        compose={"place": "site ~ '/' ~ livepatch_state", "nothing": "no_such_variable.at_all"},
        groups={"reboot_tonight": "livepatch_reboot_needed"},
        keyed_groups=[{"prefix": "tier", "key": "livepatch_record.client.tier", "parent_group": "tiers"}],
    )
    assert {host: values["place"] for host, values in found.variables.items()} == {
        "web1": "north/protected",
        "web2": "north/stale",
    }
    assert "nothing" not in found.variables["web1"]
    assert found.groups["reboot_tonight"] == ["web1"]
    assert (found.groups["tier_updates"], found.groups["tier_fast"]) == (["web1"], ["web2"])


def test_strict_refuses_an_expression_that_fails(offline: Ansible) -> None:
    store(offline.folder / "livepatch-records", make_record("web1"))
    source = write_source(offline, strict=True, compose={"nothing": "no_such_variable.at_all"})
    run = offline.command("inventory", "-i", str(source), "--list", ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1")
    assert run.code != 0
    assert "Could not set nothing for host web1" in " ".join(run.output.split())


@pytest.mark.matrix
def test_data_of_hosts_is_never_a_template(offline: Ansible) -> None:
    said = {"client__check_state": LOOKUP, "patch__state": LOOKUP, "patch__version": LOOKUP, "client__tier": LOOKUP}
    store(
        offline.folder / "livepatch-records",
        make_record("web1", system__kernel__full=LOOKUP, system__kernel__series=LOOKUP, **said),
        make_record(LOOKUP),
    )
    source = write_source(
        offline,
        compose={"copied": "livepatch_record.patch.state", "joined": "livepatch_kernel ~ '!'"},
        groups={"odd": "livepatch_record.client.check_state == livepatch_kernel"},
        keyed_groups=[{"prefix": "tier", "key": "livepatch_record.client.tier"}],
    )
    found = load_source(offline, source)
    assert found.variables["web1"]["livepatch_record"]["patch"]["state"] == LOOKUP
    assert (found.variables["web1"]["copied"], found.variables["web1"]["joined"]) == (LOOKUP, f"{LOOKUP}!")
    assert found.groups["odd"] == ["web1"]
    assert [name for name in found.groups if name.startswith("livepatch_kernel")] == ["livepatch_kernel_4_4"]
    expressions = ("livepatch_record", "[livepatch_patch_version, copied, joined]", "livepatch_record | string")
    run = evaluate(offline, source, "web1", *expressions)
    assert run.code == 0, run.output
    assert run.output.count("touch templated") >= len(expressions)
    assert evaluate(offline, source, "all", "inventory_hostname").code == 0
    assert not list(offline.folder.rglob("templated"))
    assert not Path("templated").exists()


def test_hostile_text_is_unchanged(offline: Ansible) -> None:
    said = [text for text in HOSTILE if text.isprintable()]
    records = [make_record(f"web{number}", patch__state=text) for number, text in enumerate(said)]
    store(offline.folder / "livepatch-records", *records)
    found = load(offline)
    assert [
        found.variables[f"web{number}"]["livepatch_record"]["patch"]["state"] for number in range(len(said))
    ] == said


def test_only_sources_of_the_plugin_are_read(offline: Ansible) -> None:
    store(offline.folder / "livepatch-records", make_record("web1"))
    run = offline.command("inventory", "-i", str(write_source(offline, "hosts.yml")), "--list")
    assert "web1" not in run.output
    unknown = write_source(offline, "wrong.livepatch.yml")
    unknown.write_text("plugin: kernelops.livepatch.recordz\n", encoding="utf-8")
    assert "web1" not in offline.command("inventory", "-i", str(unknown), "--list").output


@pytest.mark.matrix
def test_a_state_limits_a_playbook(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    hosts = "xenial-generic:upgrade-required:stale:unreachable"
    ansible.task("kernelops.livepatch.patch_info", hosts, record_dir=str(tmp_path / "livepatch-records"))
    source = write_source(ansible)
    playbook = tmp_path / "site.yml"
    task = {"name": "Ask", "ansible.builtin.raw": "echo {{ livepatch_state }} on {{ inventory_hostname }}"}
    playbook.write_text(json.dumps([{"name": "Site", "hosts": "all", "gather_facts": False, "tasks": [task]}]), "utf-8")
    words = ["-i", str(fleet.inventory), "-i", str(source), str(playbook)]
    run = ansible.command("playbook", *words, "--limit", "livepatch_state_upgrade_required")
    assert run.code == 0, run.output
    assert [(line["host"], line["kind"]) for line in run.results] == [("upgrade-required", "ok")]
    assert run.result("upgrade-required")["stdout"].strip() == "upgrade_required on upgrade-required"
    run = ansible.command("playbook", *words, "--limit", "livepatch_kernel_4_4:!livepatch_state_stale")
    assert {line["host"] for line in run.results} == {"upgrade-required", "xenial-generic"}
