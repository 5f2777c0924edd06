# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Every command in the documentation runs unchanged in a folder like that of an operator.

A command is a line of a ``console`` block that begins with ``$``. The files that a page shows, each with its name in a
comment on its first line, are in the folder, and so are an inventory and the records of a check.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet, running_fleet
from tests.samples.notices import affected, notice
from tests.samples.vulnerabilities import package, release_data

from .conftest import Ansible

pytestmark = pytest.mark.docs

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(REPOSITORY))
    for page in (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md"))
)
HOSTS = ("client-10", "unreachable", "tampered", "upgrade-required", "xenial-generic")
"""The inventory of these tests: some hosts of the lab that can be changed, and one of each kind of trouble."""

DATA = ("vulnerability-data", "srv/vulnerability-data", "srv/livepatch-vulnerability-data")
NOTICES = ("srv/notices", "srv/osv/lsn")
"""Folders with made-up data that the pages name. A command finds those below `/srv` in the folder of the test."""

FOLDERS = ("components", "integration")
"""Where the tests are that the comparison names. Unit tests may have the same names."""

TOKEN = "3f9c1d52-0000-4000-8000-5d0c5d0c5d0c"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"\A# ([\w./-]+\.(?:ya?ml|sh|pem))\b")
# Commands that other tests run, or that nothing here can: by their first words, with the reason.
ELSEWHERE = {
    "ansible-builder build": "it needs a container engine; test_platforms.py lets ansible-builder make what is built",
    "ansible-playbook docs/platforms/awx/": "it needs an AWX; test_awx.py runs it with modules that record it",
    "ansible-navigator run": "it needs a container engine, too; test_platforms.py runs the navigator without one",
    "ansible-rulebook": "it listens until it is ended, by a plugin of ansible.eda; test_platforms.py runs the rulebook",
    "ansible-vault create": "it opens an editor; the folder has the file that it writes",
    "make": "the Makefile has the target (held below), and CI runs it",
    "git clone": "it needs the internet",
    "pip install": "requirements.txt has the names (held below), and test_release.py installs them",
    "python3 -m pip install 'psycopg": "it needs the internet; tests/requirements-tests.txt has the name",
    "ansible-galaxy collection install": "test_release.py installs the archive",
    ".build/": "of this repository's own tools (held below)",
    "ansible-playbook kernelops.livepatch.vulnerability_data": (
        "it needs the internet; test_vulnerability_data.py runs it with a server of the lab"
    ),
    "curl --fail": "it needs a server of DefectDojo",
    "wget https://security-metadata": "it needs the internet",
    "bunzip2 com.ubuntu": "it needs what the command before downloads",
    "scp canonical-livepatch_": "it needs files of the snap store; test_snapd.py installs the client from files",
    "grype": "a program that is not ours; test_openvex.py has the rule by which it applies a document",
    "oscap": "a program that is not ours, which does not read documents",
    "trivy": "a program that is not ours; test_openvex.py has the rule by which it applies a document",
    "sudo systemctl": "it changes the service manager of the machine",
    "journalctl": "it needs the unit of the page",
    "node_exporter": "a program that is not ours; test_report_formats.py reads the file with the parser of Prometheus",
}


@dataclasses.dataclass(frozen=True)
class Page:
    """A page of the documentation: the commands that it shows, and the files by their names."""

    commands: tuple[str, ...]
    files: dict[str, str]


def read_page(text: str) -> Page:
    commands: list[str] = []
    files = {}
    for kind, content in _BLOCK.findall(text):
        named = _NAMED.match(content)
        if named:
            files[named[1]] = content
        if kind == "console":
            for line in re.sub(r"\s*\\\n\s*", " ", content).splitlines():
                if line.startswith("$ "):
                    commands.append(re.sub(r"\s+# .*", "", line[2:]))
    return Page(tuple(commands), files)


def elsewhere(command: str) -> str | None:
    if "livepatch_store=postgresql:" in command:
        return "it needs the database of the page; test_store.py runs the playbooks with a database"
    return next((reason for start, reason in ELSEWHERE.items() if command.startswith(start)), None)


def test_a_page_is_read() -> None:
    text = "```console\n$ one --x \\\n    y  # why\nsaid\n$ two\n```\n\n```yaml\n# a.yml\n- b\n```\n"
    assert read_page(text) == Page(("one --x y", "two"), {"a.yml": "# a.yml\n- b\n"})


@pytest.fixture(scope="module")
def docs_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("docs-fleet"), only=HOSTS, writable=True) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, docs_fleet: Fleet) -> Path:
    """The records of the last check."""
    folder = tmp_path_factory.mktemp("checked")
    checked = Ansible(folder, docs_fleet.variables).playbook("kernelops.livepatch.check", livepatch_fail_on=[])
    assert checked.code == 0, checked.output
    return folder / "livepatch-records"


@pytest.fixture
def operator(tmp_path: Path, docs_fleet: Fleet, records: Path) -> Ansible:
    """A folder with what an operator has before reading the page."""
    for name in ("livepatch-records", "records-eu", "records-us"):
        shutil.copytree(records, tmp_path / name)
    inventory = yaml.safe_load(docs_fleet.inventory.read_text(encoding="utf-8"))
    # These hosts log in as root. Of the words of a command and of the inventory, the inventory's count.
    inventory["all"]["vars"]["ansible_become"] = False
    inventory["all"]["children"] = {"web": {"hosts": {"client-10": None, "xenial-generic": None}}}
    for name in ("inventory", "hosts"):
        (tmp_path / name).write_text(yaml.safe_dump(inventory), encoding="utf-8")
    docs_fleet.set_tokens({TOKEN: {"seats": 50, "tier": "stable"}})
    (tmp_path / "secrets.yml").write_text(yaml.safe_dump({"livepatch_token": TOKEN}), encoding="utf-8")
    for name in DATA:
        (tmp_path / name).mkdir(parents=True)
        content = release_data({"linux": package({"CVE-2031-1001": "4.4.0-999.999"}, "4.4.0-168.197")})
        (tmp_path / name / "com.ubuntu.xenial.pkg.json").write_text(json.dumps(content), encoding="utf-8")
    for name in NOTICES:
        (tmp_path / name).mkdir(parents=True)
        content = notice("0113-1", affected(version="113"), upstream=["UBUNTU-CVE-2031-1001"])
        (tmp_path / name / "LSN-0113-1.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "files").mkdir()
    shutil.copy(docs_fleet.certificate, tmp_path / "files" / "authority.pem")
    (tmp_path / "livepatch.yml").write_text("plugin: kernelops.livepatch.records\n", encoding="utf-8")
    variables = {name: value for name, value in docs_fleet.variables.items() if name != "ANSIBLE_INVENTORY"}
    return Ansible(tmp_path, variables)


@pytest.mark.parametrize("path", [path for path in PAGES if read_page((REPOSITORY / path).read_text()).commands])
def test_the_commands_of_a_page_work(path: str, operator: Ansible) -> None:
    page = read_page((REPOSITORY / path).read_text(encoding="utf-8"))
    commands = [command for command in page.commands if not elsewhere(command)]
    if not commands:
        return
    for name, content in page.files.items():
        (operator.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (operator.folder / name).write_text(content, encoding="utf-8")
    exported: dict[str, str] = {}
    for command in commands:
        if command.startswith("export "):
            exported.update(word.split("=", 1) for word in shlex.split(command)[1:])
            continue
        environment = operator.environment(**exported)
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        ended = subprocess.run(
            ["bash", "-c", command.replace("=/srv/", f"={operator.folder}/srv/")],
            cwd=operator.folder,
            env=environment,
            # Without a terminal, who asks for a password reads it here.
            start_new_session=True,
            input="made up\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        # One host is unreachable, and a report can be set to fail: both are documented.
        assert ended.returncode in (0, 2), f"{command}\n{ended.stdout}"
        for trouble in (
            "Traceback",
            "variables_invalid",
            "is undefined",
            "Unsupported parameters",
            "could not be found",
        ):
            assert trouble not in ended.stdout, f"{command}\n{ended.stdout}"


def test_what_is_run_elsewhere_is_there() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    required = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    for path in PAGES:
        for command in read_page((REPOSITORY / path).read_text(encoding="utf-8")).commands:
            words = shlex.split(command)
            if words[0] == "make":
                assert re.search(rf"^(\.PHONY:.* )?{words[1]}\b.*:?", makefile, re.MULTILINE), command
            elif words[:2] == ["pip", "install"]:
                assert all(re.search(rf"^{word}\b", required, re.MULTILINE) for word in words[2:]), command


def test_the_comparison_names_tests_that_are_there() -> None:
    text = (REPOSITORY / "docs" / "guide" / "comparison.md").read_text(encoding="utf-8")
    rows = {
        int(number) for row in re.findall(r"^\|.*\|$", text, re.MULTILINE) for number in re.findall(r"\((\d+)\)", row)
    }
    proofs = {int(number) for number in re.findall(r"^(\d+)\. `test_", text, re.MULTILINE)}
    assert rows == proofs != set()
    for file, name in re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", text):
        (path,) = (path for folder in FOLDERS for path in (REPOSITORY / "tests" / folder).glob(file))
        source = path.read_text(encoding="utf-8")
        assert f"def {name or 'test_'}" in source, f"{file}::{name}"
