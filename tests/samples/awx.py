# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The configuration of AWX, and what AWX does with a credential: awx/main/models/credential in its sources."""

from __future__ import annotations

import typing as t
from pathlib import Path

import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

AWX = Path(__file__).resolve().parents[2] / "docs" / "platforms" / "awx"
CONFIGURATION = AWX / "configure.yml"
PROJECT = AWX / "project"
Arguments = dict[str, t.Any]


class _Loader(yaml.SafeLoader):
    """A loader that reads ``!unsafe`` as plain text."""


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def the_play() -> dict[str, t.Any]:
    """Return the play that configures AWX."""
    [play] = yaml.load(CONFIGURATION.read_text(encoding="utf-8"), _Loader)  # noqa: S506  (a safe one)
    return t.cast("dict[str, t.Any]", play)


def objects() -> list[tuple[str, Arguments]]:
    """Return the objects that the play creates, each with the name of its module."""
    found = [(key, task[key]) for task in the_play()["tasks"] for key in task if key.startswith("awx.awx.")]
    return [(key.removeprefix("awx.awx."), arguments) for key, arguments in found]


def inject(kind: Arguments, inputs: dict[str, str], folder: Path) -> tuple[dict[str, str], Arguments]:
    """Return the environment and the extra variables of a job with a credential. Its files are in the folder."""
    environment = ImmutableSandboxedEnvironment()
    files: dict[str, str] = {}
    # An empty answer is no answer.
    namespace: Arguments = {name: value for name, value in inputs.items() if value}
    namespace["tower"] = {"filename": files}

    def render(node: t.Any) -> t.Any:
        if isinstance(node, dict):
            return {render(key): render(value) for key, value in node.items()}
        if isinstance(node, list):
            return [render(value) for value in node]
        return environment.from_string(node).render(namespace)

    injectors = kind["injectors"]
    for label, template in injectors.get("file", {}).items():
        path = folder / label.removeprefix("template.")
        path.write_text(render(template), encoding="utf-8")
        files[path.name] = str(path)
    return render(injectors.get("env", {})), render(injectors.get("extra_vars", {}))
