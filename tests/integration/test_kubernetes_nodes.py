# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Nodes of Kubernetes, drained and uncordoned with the tasks of the guide, and with a strict double of `kubectl`."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet
from tests.lab.hosts.description import Workload

from .conftest import Ansible, Run
from .upgrading import LIKE, NEW, Hosts

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "container-hosts.md"
KUBECTL = Path(__file__).with_name("kubectl")
PODS = {"kubernetes": 3}
"""Containers of daemon sets, which a drained node still has."""
STEPS = (("drain", 0), ("uncordon", 1))
"""Commands, each with the boots of the machine at that time."""
DRAINED: dict[str, t.Any] = {
    "livepatch_pre_tasks": "drain.yml",
    "livepatch_post_tasks": "uncordon.yml",
    "livepatch_allow_running": ["kubernetes"],
    "livepatch_serial": 1,
}


@dataclasses.dataclass
class Cluster:
    """A cluster whose nodes are hosts of the lab, with a controller that has the files of the guide."""

    hosts: Hosts
    folder: Path
    ansible: Ansible

    def node(self, *, protected: str = "", **options: t.Any) -> str:
        """Return a node. A `protected` pod cannot be evicted."""
        name = self.hosts.take(lambda host: dataclasses.replace(host, containers=PODS), **options)
        (self.folder / "cluster" / name).write_text("ready", encoding="ascii")
        if protected:
            (self.folder / "cluster" / f"{name}.protected").write_text(protected, encoding="ascii")
        return name

    def upgrade(self, *names: str, **extra: t.Any) -> Run:
        options = {"livepatch_delay": 0, "livepatch_network": False, **extra}
        return self.ansible.playbook("kernelops.livepatch.upgrade", livepatch_hosts=list(names), **options)

    def state(self, name: str) -> str:
        return (self.folder / "cluster" / name).read_text(encoding="ascii")

    def log(self) -> list[str]:
        """The commands that reached the cluster, each with the node and the boots of its machine."""
        log = self.folder / "cluster" / "log"
        return log.read_text(encoding="ascii").splitlines() if log.exists() else []


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lab_processes: Fleet) -> Iterator[Hosts]:
    with lab_processes.with_hosts(tmp_path_factory.mktemp("lab"), 5, LIKE) as fleet:
        yield Hosts(fleet, iter(fleet.hosts))


@pytest.fixture
def cluster(hosts: Hosts, tmp_path: Path) -> Cluster:
    for name in ("bin", "cluster"):
        (tmp_path / name).mkdir()
    shutil.copy(KUBECTL, tmp_path / "bin")
    for content in re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        named = re.match(r"# ((?:drain|uncordon)\.yml)\n", content)
        if named:
            (tmp_path / named[1]).write_text(content, encoding="utf-8")
    variables = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "CLUSTER": str(tmp_path / "cluster"),
        "MACHINES": str(hosts.fleet.directory / "hosts"),
    }
    return Cluster(hosts, tmp_path, Ansible(tmp_path, {**hosts.fleet.variables, **variables}))


def test_a_node_is_not_rebooted_with_its_pods(cluster: Cluster) -> None:
    name = cluster.node(workloads=(Workload("registry"),))
    run = cluster.upgrade(name)
    assert run.code != 0
    assert "3 containers of Kubernetes run on this host" in run.result(name)["msg"]
    assert "kubectl drain" in run.result(name)["msg"]
    assert (cluster.hosts.reboots(name), cluster.hosts.running(name), cluster.log()) == (0, ["registry"], [])


def test_nodes_are_drained_one_after_the_other(cluster: Cluster) -> None:
    names = [cluster.node(), cluster.node()]
    run = cluster.upgrade(*names, **DRAINED)
    assert run.code == 0, run.output
    assert [cluster.hosts.kernel(name) for name in names] == [NEW, NEW]
    # Drained before the reboot of the node, and uncordoned after it, before the next node.
    assert cluster.log() == [f"{command} {name} {boots}" for name in names for command, boots in STEPS]
    assert [cluster.state(name) for name in names] == ["ready", "ready"]


def test_a_failed_drain_stops_the_run(cluster: Cluster) -> None:
    names = [cluster.node(protected="web-0"), cluster.node()]
    run = cluster.upgrade(*names, **DRAINED)
    assert run.code != 0
    assert "disruption budget" in run.output
    assert [cluster.hosts.reboots(name) for name in names] == [0, 0]
    assert cluster.log() == [f"drain {names[0]} 0"]
    assert [cluster.state(name) for name in names] == ["cordoned", "ready"]
