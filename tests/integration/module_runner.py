# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Runs of an ordinary module as Ansible starts it on a host: a process that gets its arguments on standard input.

Without the controller, a run takes a twentieth of the time.
"""

from __future__ import annotations

import json
import os
import typing as t

from .ansible_parent import AnsibleParent, ForkedAnsible
from .conftest import Ansible, Started

_MODULES = "ansible_collections.kernelops.livepatch.plugins.modules"
_SOURCE = """
import sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
from {package} import {name}
{name}.main()
"""


class ModuleRunner:
    """Runs of one module, forked from a process that has imported it."""

    def __init__(self, name: str) -> None:
        self._parent = AnsibleParent(f"{_MODULES}.{name}")
        self._source = _SOURCE.format(package=_MODULES, name=name)

    def close(self) -> None:
        """End the process."""
        self._parent.close()

    def run(self, ansible: Ansible, options: dict[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
        """Run the module; return its result, with its ``kind`` (ok or failed)."""
        with open(os.memfd_create("output"), "r+b") as output, open(os.memfd_create("errors"), "r+b") as errors:
            self._start(ansible, options, check, output.fileno(), errors.fileno()).wait(300)
            output.seek(0)
            errors.seek(0)
            assert errors.read() == b""
            result: dict[str, t.Any] = json.loads(output.read())
        return {"kind": "failed" if result.get("failed") else "ok", **result}

    def start(self, ansible: Ansible, options: dict[str, t.Any]) -> Started:
        """Start the module, without waiting for its end."""
        log = ansible.folder / "started.log"
        with log.open("wb") as output:
            return Started(self._start(ansible, options, False, output.fileno(), output.fileno()), log)

    def _start(
        self, ansible: Ansible, options: dict[str, t.Any], check: bool, output: int, errors: int
    ) -> ForkedAnsible:
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
        given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        return self._parent.start_source(self._source, given, ansible.folder, ansible.environment(), output, errors)
