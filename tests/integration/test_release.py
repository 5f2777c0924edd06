# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The archive of a release, installed into an environment that holds nothing else, as a user's does."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.release

REPOSITORY = Path(__file__).parents[2]
GALAXY = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text(encoding="utf-8"))
NAME = "kernelops.livepatch"
TYPES = ("module", "inventory", "callback", "filter", "role")
_MEGABYTE = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Installation:
    """A virtual environment with what `requirements.txt` of the archive asks for, and the collection from it."""

    folder: Path
    archive: Path

    @property
    def collection(self) -> Path:
        return self.folder / "collections" / "ansible_collections" / "kernelops" / "livepatch"

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of that environment, which knows nothing of this repository."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TERM") if name in os.environ}
        environment = {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": os.pathsep.join([str(self.folder / "venv" / "bin"), os.environ["PATH"]]),
        }
        command = [str(self.folder / "venv" / "bin" / words[0]), *words[1:]]
        return subprocess.run(
            command, cwd=cwd or self.folder, env=environment, capture_output=True, text=True, check=False, timeout=900
        )

    def documentation(self, kind: str) -> dict[str, t.Any]:
        """What `ansible-doc` has for every plugin of a kind: ``{full name: its documentation}``."""
        listed = self.run("ansible-doc", "--type", kind, "--list", "--json", NAME)
        assert listed.returncode == 0, listed.stderr
        names = [name for name in json.loads(listed.stdout) if name.startswith(f"{NAME}.")]
        if not names:
            return {}
        told = self.run("ansible-doc", "--type", kind, "--json", *names)
        assert told.returncode == 0, told.stderr
        # ansible-core 2.21 warns about an internal collection.
        assert [line for line in told.stderr.splitlines() if "_protomatter" not in line] == []
        return dict(json.loads(told.stdout))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("installation")
    # From a clone, so that untracked files are not in the archive.
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", REPOSITORY.as_uri(), str(clone)], check=True)
    subprocess.run(
        [sys.executable, "-m", "ansible", "galaxy", "collection", "build", "--output-path", str(folder)],
        cwd=clone,
        check=True,
        capture_output=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    made = Installation(folder, archive)
    installed = made.run("python", "-m", "pip", "install", "--quiet", "--requirement", str(clone / "requirements.txt"))
    assert installed.returncode == 0, installed.stderr
    # Offline: whatever else it may need would have to come from Galaxy.
    installed = made.run(
        "ansible-galaxy", "collection", "install", "--offline", str(archive), "-p", str(folder / "collections")
    )
    assert installed.returncode == 0, installed.stderr
    return made


def test_the_archive_has_its_version_and_is_small(installation: Installation) -> None:
    assert installation.archive.name == f"kernelops-livepatch-{GALAXY['version']}.tar.gz"
    assert installation.archive.stat().st_size < _MEGABYTE


def test_the_archive_contains_no_development_files(installation: Installation) -> None:
    left_out = {"tests", "noxfile.py", "Makefile", "pyproject.toml", ".ci"}
    assert not left_out & {path.name for path in installation.collection.iterdir()}


def _gaps(place: str, described: dict[str, t.Any], needed: tuple[str, ...], below: tuple[str, ...]) -> list[str]:
    """Fields without text, of this option, return value or plugin and of all within."""
    found = [f"{place}: {field}" for field in needed if not described.get(field)]
    for field in below:
        for name, inner in (described.get(field) or {}).items():
            found += _gaps(f"{place}.{name}", inner, tuple(f for f in needed if f != "returned"), below)
    return found


def _gaps_of_plugin(name: str, plugin: dict[str, t.Any]) -> list[str]:
    doc = plugin["doc"]
    found = [f"{name}: {field}" for field in ("short_description", "description", "author") if not doc.get(field)]
    found += [] if plugin.get("examples", "").strip() else [f"{name}: examples"]
    for option, described in (doc.get("options") or {}).items():
        found += _gaps(f"{name}.{option}", described, ("description", "type"), ("suboptions",))
    for value, described in (plugin.get("return") or {}).items():
        found += _gaps(f"{name} returns {value}", described, ("description", "type", "returned"), ("contains",))
    return found


@pytest.mark.parametrize("kind", ["module", "inventory", "callback"])
def test_the_documentation_of_every_plugin_has_no_gap(installation: Installation, kind: str) -> None:
    documented = installation.documentation(kind)
    files = {path.stem for path in (installation.collection / "plugins" / _FOLDERS.get(kind, kind)).glob("[a-z]*.py")}
    assert {name.rpartition(".")[2] for name in documented} == files
    assert [gap for name, plugin in documented.items() for gap in _gaps_of_plugin(name, plugin)] == []


_FOLDERS = {"module": "modules"}


def test_the_documentation_of_every_role_has_no_gap(installation: Installation) -> None:
    roles = installation.documentation("role")
    assert {name.rpartition(".")[2] for name in roles} == {
        path.name for path in (installation.collection / "roles").iterdir()
    }
    found = []
    for name, role in roles.items():
        entry = role["entry_points"]["main"]
        found += [f"{name}: {field}" for field in ("short_description", "description") if not entry.get(field)]
        for option, described in entry.get("options", {}).items():
            found += _gaps(f"{name}.{option}", described, ("description", "type"), ("options",))
    assert found == []


def test_every_playbook_is_found_by_its_full_name(installation: Installation) -> None:
    for playbook in (installation.collection / "playbooks").glob("*.yml"):
        checked = installation.run("ansible-playbook", f"{NAME}.{playbook.stem}", "--syntax-check", "-i", "localhost,")
        assert checked.returncode == 0, f"{playbook.stem}: {checked.stderr}"


def test_the_demonstration_runs_from_the_installation(installation: Installation, tmp_path: Path) -> None:
    """It runs the playbooks by their full names on the fleet of the lab, which is not part of the archive."""
    shown = installation.run("python", str(REPOSITORY / "tests" / "lab" / "demo"), "--dir", str(tmp_path / "demo"))
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "protected" in shown.stdout
    assert "waived until" in shown.stdout
    assert "live_patched: " in shown.stdout
    assert "The server has enabled 3 machines" in shown.stdout
    assert (tmp_path / "demo" / "livepatch-report" / "fleet.html").as_uri() == shown.stdout.split()[-1]
    reports = {
        folder: json.loads((tmp_path / "demo" / folder / "fleet.json").read_text(encoding="utf-8"))["summary"]
        for folder in ("livepatch-report", "oddities/report")
    }
    states = reports["livepatch-report"]["states"]
    assert states["protected"] > 0.8 * reports["livepatch-report"]["hosts"]
    for state in ("failed", "held_back", "exposed", "stale", "no_answer"):
        assert states[state] > 0, state
    assert reports["oddities/report"]["hosts"] > 60
    assert list((tmp_path / "demo" / "livepatch-openvex").glob("*.json"))
    records = list((tmp_path / "demo" / "livepatch-records").glob("*.json"))
    versions = {
        json.loads(record.read_text(encoding="utf-8"))["collector"]["collection"]
        for record in records
        if not record.name.endswith(".unreachable.json")
    }
    assert versions == {GALAXY["version"]}
