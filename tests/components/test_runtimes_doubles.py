# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The doubles of `docker`, `podman` and `lxc` answer as the real ones do.

The machine is that of `test_container_runtimes.py`.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Workload
from tests.lab.runtimes.machine import Machine

pytestmark = pytest.mark.runtimes

HOST = "upgradable-container-host"
WORKLOADS = (
    *(Workload(f"{engine}-{name}", engine) for engine in ("docker", "podman") for name in ("one", "two", "three")),
    *(Workload(f"{engine}-job", engine, vanishes=True) for engine in ("docker", "podman")),
    *(Workload("first", "lxd", priority=10), Workload("second", "lxd")),
)
START = """\
for name in one two three; do
    docker run -d --network none --name "docker-$name" tiny:1
    podman run -d --network none --name "podman-$name" localhost/tiny:1
done
docker run -d --rm --network none --name docker-job tiny:1
podman run -d --rm --network none --name podman-job localhost/tiny:1
for name in first second; do
    lxc launch tiny "$name"
done
lxc config set first boot.autostart.priority 10
"""
LABEL = '{{with index .Config.Labels "com.docker.compose.project"}}{{urlquery .}}{{end}}'
COMMON = "{{.Id}} {{.HostConfig.AutoRemove}} {{.State.Paused}} {{.State.Status}} {{.Name}} /" + LABEL
FORMATS = {
    "docker": "{{.Created}} " + COMMON + '/{{with index .Config "StopTimeout"}}{{.}}{{end}}',
    "podman": "{{.Created.UnixNano}} {{.IsInfra}} " + COMMON + '/{{index .Config.Labels "PODMAN_SYSTEMD_UNIT"}}',
}


def engine_questions(engine: str, form: str) -> tuple[str, ...]:
    """Return what the scripts ask an engine, and the same about containers in another state or without one."""
    running, one, two = f"{engine} ps -q --no-trunc", f"{engine}-one", f"{engine}-two"
    return (
        *(f"{engine} --version", f"{engine} ps -q", running),
        f"{running} --filter status=running --filter status=paused" if engine == "podman" else running,
        f"{engine} inspect --type container --format '{form}' $({running})",
        f"{engine} inspect --type container --format '{form}' {one} missing {two}",
        f"{engine} inspect --type container --format '{form}' missing",
        *(f"{engine} stop {one}", f"{engine} stop {one}", running, f"{engine} start {one}", f"{engine} start {one}"),
        *(f"{engine} stop {one} missing {two}", running, f"{engine} start missing {two} {one}", running),
        *(f"{engine} stop missing", f"{engine} start missing"),
        f"{engine} stop $({running})",
        *(running, f"{engine} start {engine}-job", f"{engine} start {one} {two}", running),
    )


LXC_QUESTIONS = (
    *("lxc list -c ns", "lxc list -c ns,boot.autostart.priority", "lxc list -c nsL", "lxc info"),
    *("lxc start first", "lxc stop second", "lxc stop second", "lxc list -c ns", "lxc start second"),
    *("lxc stop missing", "lxc start missing", "lxc cluster evacuate one --force", "lxc cluster restore one --force"),
)


def comparable(question: str, code: int, output: str, errors: str) -> tuple[int, list[str], list[str]]:
    """Return an answer without identifiers and times, and of `lxc info` only what the scripts read."""
    if question == "lxc info":
        output = "\n".join(re.findall(r"^  server_(?:clustered: .*|name:)", output, re.MULTILINE))
    for found, name in ((r"\b[0-9a-f]{64}\b", "ID"), (r"\b[0-9a-f]{12}\b", "SHORT"), (r"\b[0-9]{19}\b", "TIME")):
        output = re.sub(found, name, output)
    output = re.sub(r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", output)
    # lxc may add a hint.
    return code, output.splitlines(), [line for line in errors.splitlines() if not line.startswith("Try `lxc info")]


def test_runtimes_answer_alike(tmp_path: Path, lab_processes: Fleet, machine: Machine) -> None:
    """In one test, because the containers are started once."""
    machine.read(START)
    questions = [*(each for engine, form in FORMATS.items() for each in engine_questions(engine, form)), *LXC_QUESTIONS]
    different = []
    with lab_processes.with_hosts(tmp_path / "lab", only=[HOST]) as lab:
        lab.change(HOST, lambda host: dataclasses.replace(host, workloads=WORKLOADS))
        for question in questions:
            double, real = lab.run(HOST, question), machine.run(question)
            answers = [
                comparable(question, double.returncode, double.stdout.decode(), double.stderr.decode()),
                comparable(question, real.returncode, real.stdout, real.stderr),
            ]
            if answers[0] != answers[1]:
                different.append(f"{question}\n  double {answers[0]}\n  real   {answers[1]}")
    machine.run("lxc delete -f first second")
    assert not different, "\n".join(different)
