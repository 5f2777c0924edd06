# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Many runs of a module in one play, and the shells that run its scripts on a host."""

from __future__ import annotations

import json
import shutil
import typing as t
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.integration.conftest import Ansible
from tests.lab.fleet import Fleet

_KEYWORDS = ("check_mode", "diff")

Results = dict[str, dict[str, t.Any]]
"""Results of a task by host, each with its ``kind``: ok or ignored (failed)."""


class EachHost(dict[str, t.Any]):
    """A case with separate options for each host."""


def write_play(folder: Path, module: str, hosts: Iterable[str], *cases: Mapping[str, t.Any]) -> str:
    """Write a playbook with a task for each case, and return its path.

    A case holds options of the module, and the keywords ``check_mode`` and ``diff``; or it is an `EachHost`.
    """
    tasks, options = [], []
    for number, case in enumerate(cases):
        keywords = {name: case[name] for name in _KEYWORDS if name in case}
        same = {name: value for name, value in case.items() if name not in keywords}
        options.append(case if isinstance(case, EachHost) else dict.fromkeys(hosts, same))
        arguments = f"{{{{ cases[{number}][inventory_hostname] }}}}"
        tasks.append({"name": f"Case {number}", module: {}, "args": arguments, "ignore_errors": True, **keywords})
    play = {"hosts": ",".join(hosts), "gather_facts": False, "vars": {"cases": options}, "tasks": tasks}
    path = folder / "cases.yml"
    path.write_text(json.dumps([play]), encoding="utf-8")
    return str(path)


def run_cases(ansible: Ansible, module: str, hosts: Iterable[str], *cases: Mapping[str, t.Any]) -> list[Results]:
    """Run a module on hosts, once for each case, in one play. Return the results of each case."""
    hosts = tuple(hosts)
    run = ansible.command("playbook", write_play(ansible.folder, module, hosts, *cases))
    found: list[Results] = [{} for _case in cases]
    for line in run.results:
        found[int(line["task"].removeprefix("Case "))][line["host"]] = {"kind": line["kind"], **line["result"]}
    assert all(set(results) == set(hosts) for results in found), run.output
    return found


def change_session(fleet: Fleet, host: str, *, binds: Mapping[str, str], path: str = "") -> None:
    """Bind files of this machine into a host, by their places there, and put a folder of the host first in its PATH."""
    session = fleet.root(host).parent / "session.json"
    content = json.loads(session.read_text(encoding="utf-8"))
    words = [word for place, source in binds.items() for word in ("--ro-bind", source, place)]
    end = content["command"].index("--chdir")
    content["command"][end:end] = words
    if path:
        content["environment"]["PATH"] = f"{path}:{content['environment']['PATH']}"
    session.write_text(json.dumps(content), encoding="utf-8")


def use_shell(fleet: Fleet, host: str, shell: str) -> None:
    """Make a shell of this machine the ``/bin/sh`` of a host."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed on this machine")
    change_session(fleet, host, binds={"/usr/bin/sh": str(Path(found).resolve())})
