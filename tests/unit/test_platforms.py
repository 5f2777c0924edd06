# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The configuration of AWX, checked without AWX: names, fields, variables, secrets.

The fields are those of the modules of the collection awx.awx 24; the rules for surveys and types of credentials are
those of the API of AWX (awx/api/views, awx/main/fields.py).
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.targets import parse_targets
from tests.samples.awx import PROJECT, inject, objects, the_play

ROOT = Path(__file__).resolve().parents[2]

FIELDS = {
    "credential": {"name", "description", "organization", "credential_type", "inputs", "update_secrets"},
    "credential_type": {"name", "description", "kind", "inputs", "injectors"},
    "execution_environment": {"name", "image", "description", "organization", "credential", "pull"},
    "project": {
        *("name", "description", "organization", "scm_type", "scm_url", "scm_branch", "scm_update_on_launch"),
        "default_environment",
    },
    "schedule": {
        "name",
        "description",
        "unified_job_template",
        "organization",
        "rrule",
        "extra_data",
        "enabled",
        "state",
    },
    "job_template": {
        *("name", "description", "organization", "project", "playbook", "inventory", "credentials", "extra_vars"),
        *("job_type", "become_enabled", "allow_simultaneous", "job_slice_count", "survey_enabled", "survey_spec"),
        "job_tags",
        *("ask_limit_on_launch", "ask_variables_on_launch", "ask_credential_on_launch", "ask_job_type_on_launch"),
    },
    "workflow_job_template": {
        *("name", "description", "organization", "allow_simultaneous", "workflow_nodes", "destroy_current_nodes"),
        *("survey_enabled", "survey_spec", "ask_variables_on_launch"),
    },
}
REQUIRED = {
    "credential": {"name", "organization", "credential_type", "inputs"},
    "credential_type": {"name", "kind", "inputs", "injectors"},
    "execution_environment": {"name", "image"},
    "project": {"name", "scm_type", "scm_url"},
    "schedule": {"name"},
    "workflow_job_template": {"name", "workflow_nodes"},
    "job_template": {"name", "project", "playbook", "inventory"},
}
ANSWERS = {"integer": int, "multiplechoice": str, "text": str, "password": str}


Objects = list[tuple[str, dict[str, t.Any]]]


@pytest.fixture(scope="module")
def tasks() -> Objects:
    return objects()


def of_kind(tasks: Objects, kind: str) -> list[dict[str, t.Any]]:
    found = [arguments for module, arguments in tasks if module == kind]
    assert found
    return found


def playbook_behind(template: dict[str, t.Any]) -> str:
    """Return the text of the playbook of a job template, and of the roles that it includes."""
    [play] = yaml.safe_load((PROJECT / template["playbook"]).read_text(encoding="utf-8"))
    name = play["import_playbook"].removeprefix("kernelops.livepatch.")
    return (ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8")


def test_each_task_has_the_fields_of_its_module(tasks: Objects) -> None:
    assert {module for module, _arguments in tasks} == set(FIELDS)
    for module, arguments in tasks:
        assert REQUIRED[module] <= set(arguments) <= FIELDS[module], arguments["name"]


def test_each_project_playbook_imports_the_collection(tasks: Objects) -> None:
    used = {template["playbook"] for template in of_kind(tasks, "job_template")}
    assert used == {path.name for path in PROJECT.glob("*.yml")}
    assert {"check.yml", "enable.yml", "report.yml", "upgrade.yml"} <= used
    for template in of_kind(tasks, "job_template"):
        assert playbook_behind(template)


def test_each_variable_is_used_by_its_playbook(tasks: Objects) -> None:
    for template in of_kind(tasks, "job_template"):
        asked = [question["variable"] for question in template.get("survey_spec", {}).get("spec", [])]
        read = set(re.findall(r"\blivepatch_\w+", playbook_behind(template)))
        assert {*template.get("extra_vars", {}), *asked} <= read, template["name"]


def test_names_refer_to_existing_objects(tasks: Objects) -> None:
    projects = {project["name"] for project in of_kind(tasks, "project")}
    templates = {template["name"] for template in of_kind(tasks, "job_template")}
    workflows = {workflow["name"] for workflow in of_kind(tasks, "workflow_job_template")}
    kinds = {kind["name"] for kind in of_kind(tasks, "credential_type")}
    assert {template["project"] for template in of_kind(tasks, "job_template")} <= projects
    assert {credential["credential_type"] for credential in of_kind(tasks, "credential")} <= kinds
    started = [each for each in of_kind(tasks, "schedule") if each.get("state") != "absent"]
    assert started
    assert {schedule["unified_job_template"] for schedule in started} <= workflows
    assert all(schedule["rrule"] for schedule in started)
    for workflow in of_kind(tasks, "workflow_job_template"):
        assert {node["unified_job_template"]["name"] for node in workflow["workflow_nodes"]} <= templates


def test_the_workflow_reports_after_every_check(tasks: Objects) -> None:
    [workflow] = of_kind(tasks, "workflow_job_template")
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    assert list(nodes) == ["check", "report"]
    assert nodes["check"]["related"]["always_nodes"] == [{"identifier": "report"}]
    assert not any(nodes["report"]["related"].values())
    templates = {template["name"]: template for template in of_kind(tasks, "job_template")}
    check, report = (templates[nodes[name]["unified_job_template"]["name"]] for name in nodes)
    assert check["job_tags"] == "collect"
    assert "awx_slices" in check["job_slice_count"]
    assert "awx_notify_credentials" in report["credentials"]
    sent_by = [name for name, template in templates.items() if "notify" in str(template.get("credentials"))]
    assert sent_by == [report["name"]], "one message for each run"


def test_tags_of_templates_exist(tasks: Objects) -> None:
    for template in of_kind(tasks, "job_template"):
        for tag in filter(None, template.get("job_tags", "").split(",")):
            assert re.search(rf"\btags: {tag}\b", playbook_behind(template)), template["name"]


def test_surveys_have_the_api_format(tasks: Objects) -> None:
    surveys = [template["survey_spec"] for template in of_kind(tasks, "job_template") if "survey_spec" in template]
    assert surveys
    for survey in surveys:
        assert survey["name"]
        assert survey["description"]
        for question in survey["spec"]:
            kind = ANSWERS[question["type"]]
            assert isinstance(question["required"], bool)
            assert question["question_name"]
            if not question["required"] and question["default"] == "":
                continue  # AWX then passes no variable
            assert isinstance(question["default"], kind)
            assert not (kind is int and isinstance(question["default"], bool))
            if question["type"] == "multiplechoice":
                assert question["default"] in question["choices"]
            if question["type"] == "integer":
                assert question["min"] <= question["default"] <= question["max"]


def test_survey_choices_match_the_role(tasks: Objects) -> None:
    specification = (ROOT / "roles" / "client" / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    options = yaml.safe_load(specification)["argument_specs"]["main"]["options"]
    surveys = [each["survey_spec"]["spec"] for each in of_kind(tasks, "job_template") if "survey_spec" in each]
    questions = {question["variable"]: question for survey in surveys for question in survey}
    assert questions["livepatch_via"]["choices"] == options["client_via"]["choices"]
    policies = sorted(path.stem for path in (ROOT / "plugins" / "plugin_utils" / "policies").glob("*.yml"))
    assert sorted(questions["livepatch_policy"]["choices"]) == policies


def credential_type(tasks: Objects, name: str) -> dict[str, t.Any]:
    [kind] = [each for each in of_kind(tasks, "credential_type") if each["name"] == name]
    return kind


def test_credential_types_have_the_api_format(tasks: Objects) -> None:
    secrets = set()
    for kind in of_kind(tasks, "credential_type"):
        fields = {field["id"]: field for field in kind["inputs"]["fields"]}
        assert set(kind["inputs"]["required"]) <= set(fields)
        assert set(kind["injectors"]) <= {"env", "extra_vars", "file"}
        for field in fields.values():
            assert set(field) <= {"id", "type", "label", "help_text", "secret", "choices", "multiline"}
            assert field["type"] == "string"
            assert not ("choices" in field and field.get("secret"))
        assert not [name for name in kind["injectors"].get("env", {}) if name.startswith("ANSIBLE_")], "AWX refuses it"
        secrets |= {(kind["name"], field["id"]) for field in fields.values() if field.get("secret")}
    assert secrets == {
        ("Livepatch token", "token"),
        ("Livepatch store in PostgreSQL", "password"),
        ("Livepatch notification", "url"),
    }


def test_credentials_have_the_inputs_of_their_type(tasks: Objects) -> None:
    store_inputs = next(task["vars"]["awx_store_inputs"] for task in the_play()["tasks"] if "vars" in task)
    for credential in of_kind(tasks, "credential"):
        kind = credential_type(tasks, credential["credential_type"])
        given = credential["inputs"] if isinstance(credential["inputs"], dict) else store_inputs
        assert set(given) == {field["id"] for field in kind["inputs"]["fields"]}
    hidden = [task for task in the_play()["tasks"] if "awx.awx.credential" in task]
    assert all(task["no_log"] is True for task in hidden)


def test_the_token_is_only_an_extra_variable(tasks: Objects) -> None:
    kind = credential_type(tasks, "Livepatch token")
    # Not in the environment, because every process of a job inherits it.
    assert kind["injectors"] == {"extra_vars": {"livepatch_token": "{{ token }}"}}
    templates = of_kind(tasks, "job_template")
    assert [each["playbook"] for each in templates if each.get("ask_credential_on_launch")] == ["enable.yml"]


def test_the_password_is_only_in_the_environment(tasks: Objects, tmp_path: Path) -> None:
    kind = credential_type(tasks, "Livepatch store in PostgreSQL")
    inputs = {"host": "db", "database": "livepatch", "user": "livepatch_writer", "password": "s3cret"}
    environment, variables = inject(kind, inputs, tmp_path)
    assert variables == {}
    assert [name for name, value in environment.items() if "s3cret" in value] == ["PGPASSWORD"]
    assert (tmp_path / "certificates").read_text(encoding="utf-8") == ""
    assert environment["PGSSLMODE"] == "verify-full"
    assert environment["PGSSLROOTCERT"] == "system"
    environment, _variables = inject(kind, {**inputs, "certificates": "PEM"}, tmp_path)
    assert Path(environment["PGSSLROOTCERT"]).read_text(encoding="utf-8") == "PEM"


@pytest.mark.parametrize("condition", ["", "failure"])
def test_a_notification_is_a_target(tasks: Objects, tmp_path: Path, condition: str) -> None:
    inputs = {"receiver": "slack", "url": "https://hooks.example.com/T/B/X", "condition": condition}
    environment, variables = inject(credential_type(tasks, "Livepatch notification"), inputs, tmp_path)
    assert environment == {}
    [target] = parse_targets(variables["livepatch_notify"])
    assert (target.type, target.url, target.when) == ("slack", inputs["url"], condition or "changes")


def test_seat_jobs_never_run_concurrently(tasks: Objects) -> None:
    for template in of_kind(tasks, "job_template"):
        if template["playbook"] == "enable.yml":
            assert template["allow_simultaneous"] is False
            assert template.get("job_slice_count", 1) == 1


def test_no_template_accepts_any_variable(tasks: Objects) -> None:
    """Users who may launch a job could set the options of the connection, which run commands on the controller."""
    for template in of_kind(tasks, "job_template"):
        assert not template.get("ask_variables_on_launch"), template["name"]
        assert template.get("survey_enabled", False) == ("survey_spec" in template)


def test_records_persist_between_jobs(tasks: Objects) -> None:
    variables = the_play()["vars"]
    assert variables["awx_store"] == "postgresql://", "the credential has the server"
    assert all(Path(variables[name]).is_absolute() for name in ("awx_report_dir", "awx_spool_dir"))
    for template in of_kind(tasks, "job_template"):
        assert template["extra_vars"]["livepatch_store"] == "{{ awx_store }}"
        assert "awx_store_credentials" in template["credentials"]
