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

ROOT = Path(__file__).resolve().parents[2]
AWX = ROOT / "docs" / "platforms" / "awx"
PROJECT = AWX / "project"

FIELDS = {
    "credential_type": {"name", "description", "kind", "inputs", "injectors"},
    "execution_environment": {"name", "image", "description", "organization", "credential", "pull"},
    "project": {
        *("name", "description", "organization", "scm_type", "scm_url", "scm_branch", "scm_update_on_launch"),
        "default_environment",
    },
    "schedule": {"name", "description", "unified_job_template", "organization", "rrule", "extra_data", "enabled"},
    "job_template": {
        *("name", "description", "organization", "project", "playbook", "inventory", "credentials", "extra_vars"),
        *("job_type", "become_enabled", "allow_simultaneous", "job_slice_count", "survey_enabled", "survey_spec"),
        *("ask_limit_on_launch", "ask_variables_on_launch", "ask_credential_on_launch", "ask_job_type_on_launch"),
    },
}
REQUIRED = {
    "credential_type": {"name", "kind", "inputs", "injectors"},
    "execution_environment": {"name", "image"},
    "project": {"name", "scm_type", "scm_url"},
    "schedule": {"name", "unified_job_template", "rrule"},
    "job_template": {"name", "project", "playbook", "inventory"},
}
ANSWERS = {"integer": int, "multiplechoice": str, "text": str, "password": str}


class _Loader(yaml.SafeLoader):
    """A loader that reads ``!unsafe`` as plain text."""


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(scope="module")
def tasks() -> list[tuple[str, dict[str, t.Any]]]:
    [play] = yaml.load((AWX / "configure.yml").read_text(encoding="utf-8"), _Loader)  # noqa: S506  (a safe one)
    found = []
    for task in play["tasks"]:
        [module] = [key for key in task if key != "name"]
        found.append((module.removeprefix("awx.awx."), task[module]))
    return found


def of_kind(tasks: list[tuple[str, dict[str, t.Any]]], kind: str) -> list[dict[str, t.Any]]:
    found = [arguments for module, arguments in tasks if module == kind]
    assert found
    return found


def playbook_behind(template: dict[str, t.Any]) -> str:
    """Return the text of the playbook of a job template, and of the roles that it includes."""
    [play] = yaml.safe_load((PROJECT / template["playbook"]).read_text(encoding="utf-8"))
    name = play["import_playbook"].removeprefix("kernelops.livepatch.")
    return (ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8")


def test_each_task_has_the_fields_of_its_module(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    assert {module for module, _arguments in tasks} == set(FIELDS)
    for module, arguments in tasks:
        assert REQUIRED[module] <= set(arguments) <= FIELDS[module], arguments["name"]


def test_each_project_playbook_imports_the_collection(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    used = {template["playbook"] for template in of_kind(tasks, "job_template")}
    assert used == {path.name for path in PROJECT.glob("*.yml")}
    for template in of_kind(tasks, "job_template"):
        assert playbook_behind(template)


def test_each_variable_is_used_by_its_playbook(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    for template in of_kind(tasks, "job_template"):
        asked = [question["variable"] for question in template.get("survey_spec", {}).get("spec", [])]
        read = set(re.findall(r"\blivepatch_\w+", playbook_behind(template)))
        assert {*template.get("extra_vars", {}), *asked} <= read, template["name"]


def test_names_refer_to_existing_objects(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    projects = {project["name"] for project in of_kind(tasks, "project")}
    templates = {template["name"] for template in of_kind(tasks, "job_template")}
    assert {template["project"] for template in of_kind(tasks, "job_template")} <= projects
    assert {schedule["unified_job_template"] for schedule in of_kind(tasks, "schedule")} <= templates


def test_surveys_have_the_api_format(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
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


def test_survey_choices_match_the_role(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    specification = (ROOT / "roles" / "client" / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    options = yaml.safe_load(specification)["argument_specs"]["main"]["options"]
    surveys = [each["survey_spec"]["spec"] for each in of_kind(tasks, "job_template") if "survey_spec" in each]
    questions = {question["variable"]: question for survey in surveys for question in survey}
    assert questions["livepatch_via"]["choices"] == options["client_via"]["choices"]
    policies = sorted(path.stem for path in (ROOT / "plugins" / "plugin_utils" / "policies").glob("*.yml"))
    assert sorted(questions["livepatch_policy"]["choices"]) == policies


def test_the_token_is_only_an_extra_variable(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    [kind] = of_kind(tasks, "credential_type")
    [field] = kind["inputs"]["fields"]
    assert field["secret"] is True
    assert set(field) <= {"id", "type", "label", "help_text", "secret"}
    assert kind["inputs"]["required"] == [field["id"]]
    # Not in the environment, because every process of a job inherits it.
    assert kind["injectors"] == {"extra_vars": {"livepatch_token": f"{{{{ {field['id']} }}}}"}}
    templates = of_kind(tasks, "job_template")
    assert [each["playbook"] for each in templates if each.get("ask_credential_on_launch")] == ["enable.yml"]


def test_seat_jobs_never_run_concurrently(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    for template in of_kind(tasks, "job_template"):
        if template["playbook"] == "enable.yml":
            assert template["allow_simultaneous"] is False
            assert template.get("job_slice_count", 1) == 1


def test_no_template_accepts_any_variable(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    """Users who may launch a job could set the options of the connection, which run commands on the controller."""
    for template in of_kind(tasks, "job_template"):
        assert not template.get("ask_variables_on_launch"), template["name"]
        assert template.get("survey_enabled", False) == ("survey_spec" in template)


def test_records_persist_between_jobs(tasks: list[tuple[str, dict[str, t.Any]]]) -> None:
    [play] = yaml.load((AWX / "configure.yml").read_text(encoding="utf-8"), _Loader)  # noqa: S506  (a safe one)
    assert Path(play["vars"]["awx_record_dir"]).is_absolute()
    for template in of_kind(tasks, "job_template"):
        assert template["extra_vars"]["livepatch_store"] == "{{ awx_record_dir }}"
