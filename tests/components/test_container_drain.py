# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Containers that `kernel_reboot.sh` notes, stops and starts again, with small doubles of their runtimes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import read_runtimes
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections, parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.integration.shells import SHELLS, each_shell

NONCE = "0123456789abcdef0123456789abcdef"
ENGINE = Path(__file__).with_name("container_engine")
VERSIONS = {"docker": "Docker version 20.10.24", "podman": "podman version 4.3.1"}
COMMANDS = ("docker", "podman", "systemctl")


class Host:
    """A host with a folder of runtimes, whose commands are logged."""

    def __init__(self, folder: Path, *commands: str) -> None:
        self.folder, self.state = folder, folder / "runtimes"
        (folder / "bin").mkdir()
        for name in commands:
            shutil.copy(ENGINE, folder / "bin" / name)
            (self.state / name).mkdir(parents=True)
            (self.state / f"{name}.version").write_text(VERSIONS.get(name, ""), encoding="ascii")
        (self.state / "active").touch()

    def add(
        self,
        engine: str,
        name: str,
        created: int,
        *,
        state: str = "running",
        removed: bool = False,
        infra: bool = False,
        unit: str = "",
        monitor: int = 0,
        limit: str = "/",
        service: str = "/",
        needed: str = "/",
    ) -> None:
        """Add a container with the id ``id-NAME``."""
        words = (created, name, str(removed).lower(), state, str(infra).lower(), monitor, limit, service, needed, unit)
        (self.state / engine / f"id-{name}").write_text(f"{' '.join(map(str, words))}\n", encoding="ascii")

    def run(self, task: str, shell: str = "sh", **policies: str) -> Sections:
        variables = {"task": task, "within": "20", "server": "", "network": "", "boot_entry": "", "boot_id": ""}
        policies = {"docker": "stop", "podman": "stop", "lxd": "stop", **policies}
        script = compose(("probe", "kernel_reboot"), NONCE, {**variables, **policies})
        script = script.replace("            probe\n", "").replace("/var/lib/kernelops", f"{self.folder}/kernelops")
        script = script.replace("/run/kernelops", f"{self.folder}/run").replace("PATH=$PATH:/snap/bin\n", "")
        script = script.replace("/proc/$", f"{self.folder}/proc/$")
        done = subprocess.run(
            [*shell.split(), "-s"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin", "HOST_STATE": str(self.state)},
        )
        return parse(done.stdout, done.stderr, NONCE)

    def drain(self, shell: str = "sh", **policies: str) -> list[str]:
        """Stop the containers; return those that were noted."""
        sections = self.run("drain", shell, **policies)
        assert (sections["note"].exit_code, sections["stop"].exit_code) == (0, 0), dict(sections)
        return sections["saved"].output.split("\n")[:-1]

    def restore(self, shell: str = "sh") -> list[str]:
        """Start the containers; return those that do not run."""
        return self.run("restore", shell)["not_running"].output.splitlines()

    def states(self) -> dict[str, str]:
        """The state of each container."""
        files = [path for engine in ("docker", "podman") for path in (self.state / engine).glob("*")]
        rows = [path.read_text(encoding="ascii").split() for path in files]
        return {row[1]: row[3] for row in rows}

    def log(self, *commands: str) -> list[str]:
        """The calls that begin with these words."""
        lines = (self.state / "log").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(commands)]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, *COMMANDS)


@each_shell
def test_containers_start_in_the_order_of_creation(shell: str, host: Host) -> None:
    """Docker lists the newest container first, and Podman the oldest one."""
    if shutil.which(SHELLS[shell].split()[0]) is None:
        pytest.skip(f"{shell} is not installed on this machine")
    for engine in ("docker", "podman"):
        for number, name in enumerate(("b", "c", "a"), start=10):
            host.add(engine, f"{engine}-{name}", number)
        host.add(engine, f"{engine}-stopped", 9, state="stopped")
    order = [f"{engine} id-{engine}-{name} {engine}-{name}" for engine in ("docker", "podman") for name in "bca"]
    assert host.drain(SHELLS[shell]) == order
    assert set(host.states().values()) == {"stopped"}
    assert host.restore(SHELLS[shell]) == []
    started = [line.split() for line in host.log("docker start", "podman start")]
    assert [f"{engine} {name}" for engine, _start, name in started] == [line.rpartition(" ")[0] for line in order]
    assert {name for name, state in host.states().items() if state == "stopped"} == {"docker-stopped", "podman-stopped"}


def test_a_container_of_a_unit_is_left_to_systemd(host: Host) -> None:
    host.add("podman", "of-web", 10, removed=True, unit="web.service")
    host.add("podman", "plain", 11)
    (host.state / "active").write_text("web.service\n", encoding="ascii")
    runtime = read_runtimes(host.run("look"))["podman"]
    assert ([(each.handled_as, each.name) for each in runtime.running], runtime.auto_removed) == (
        [("unit", "of-web"), ("podman", "plain")],
        (),
    )
    assert host.drain() == ["unit web.service of-web", "podman id-plain plain"]
    assert host.log("podman stop", "systemctl stop") == ["systemctl stop web.service", "podman stop id-plain"]
    # Its identifier is another one after that.
    assert host.restore() == []
    assert host.log("systemctl start", "podman start") == ["systemctl start web.service", "podman start id-plain"]
    assert host.states() == {"of-web": "running", "plain": "running"}


LABELS = ("ssh.service", "ssh.socket", "multi-user.target", "-Hexample.service", "--now.service")


def test_the_label_of_an_image_stops_no_other_unit(host: Host) -> None:
    """Whoever builds an image sets its labels, and the container inherits them."""
    for number, label in enumerate((*LABELS, "x\\n1 --all false false false /a.service")):
        host.add("podman", f"c{number}", 10 + number, unit=f'"{label}"')
    (host.state / "active").write_text("".join(f"{label}\n" for label in LABELS), encoding="ascii")
    (host.state / "commands").write_text("ExecStart={ path=/usr/sbin/sshd ; }\n", encoding="ascii")
    assert host.drain() == [f"podman id-c{number} c{number}" for number in range(6)]
    assert host.log("systemctl") == [
        "systemctl is-active --quiet ssh.service",
        "systemctl show --property=ExecStart ssh.service",
    ]


def test_a_unit_of_podman_is_known_by_its_commands(host: Host) -> None:
    host.add("podman", "of-web", 10, removed=True, unit='"web.service"')
    (host.state / "active").write_text("web.service\n", encoding="ascii")
    (host.state / "commands").write_text("ExecStart={ path=/usr/bin/podman ; }\n", encoding="ascii")
    assert [each.handled_as for each in read_runtimes(host.run("look"))["podman"].running] == ["unit"]


def test_an_identifier_is_never_an_option(host: Host) -> None:
    host.add("podman", "web", 10)
    for identifier in ("--all", "-t0", "$(id)", "a;b"):
        (host.state / "podman" / identifier).write_text("11 odd false running false 0 / / /\n", encoding="ascii")
    assert host.drain() == ["podman id-web web"]
    assert host.log("podman stop") == ["podman stop id-web"]


def test_tasks_of_a_swarm_are_left_to_it(host: Host) -> None:
    """The swarm starts other containers for them after the reboot, which have other names."""
    host.add("docker", "web.1.x7k", 10, unit='"x7kq2"', state="paused")
    host.add("docker", "plain", 11, unit='""')
    runtime = read_runtimes(host.run("look"))["docker"]
    assert [(each.handled_as, each.runtime) for each in runtime.running] == [("swarm", "docker"), ("docker", "docker")]
    assert host.drain() == ["swarm id-web.1.x7k web.1.x7k", "docker id-plain plain"]
    assert host.log("docker stop", "docker unpause") == ["docker stop id-plain"]
    (host.state / "docker" / "id-web.1.x7k").unlink()
    assert host.restore() == []
    assert host.log("docker start") == ["docker start id-plain"]


@pytest.mark.parametrize(
    ("main", "words", "handled"),
    [
        # podman generate systemd: the main process is the monitor of the container.
        (41, ["conmon", "-n", "web"], "unit"),
        # A unit that waits for the container.
        (42, ["/usr/bin/podman", "start", "-a", "web"], "unit"),
        (42, ["podman", "run", "--name=web", "image"], "unit"),
        (42, ["sh", "-c", "podman run --name web image; :"], "unit"),
        # Services that started it and do other work.
        (42, ["podman", "system", "service"], "podman"),
        (42, ["podman", "start", "-a", "web-2"], "podman"),
        (42, ["agent", "web"], "podman"),
        (0, [], "podman"),
    ],
)
def test_a_unit_that_starts_a_container_stops_it(main: int, words: list[str], handled: str, host: Host) -> None:
    """Such a container has no label. Podman could stop it, but the unit would start it again."""
    host.add("podman", "web", 10, monitor=41)
    for process in {41, main} - {0}:
        (host.folder / f"proc/{process}").mkdir(parents=True)
        (host.folder / f"proc/{process}/cgroup").write_text("1:cpu:/\n0::/system.slice/site.service\n", "ascii")
    if main:
        (host.folder / f"proc/{main}/cmdline").write_text("".join(f"{word}\0" for word in words), "ascii")
    (host.state / "main.site.service").write_text(str(main), encoding="ascii")
    (host.state / "active").write_text("site.service\n", encoding="ascii")
    (found,) = read_runtimes(host.run("look"))["podman"].running
    assert (found.handled_as, found.name) == (handled, "web")


def test_a_pod_of_a_unit_is_left_to_systemd(host: Host) -> None:
    host.add("podman", "pod-infra", 10, infra=True, unit="pod.service")
    host.add("podman", "of-web", 11, removed=True, unit="web.service")
    (host.state / "active").write_text("pod.service\nweb.service\n", encoding="ascii")
    assert [each.name for each in read_runtimes(host.run("look"))["podman"].running] == ["of-web"]
    assert host.drain() == ["pod_unit pod.service pod-infra", "unit web.service of-web"]
    assert host.log("systemctl stop") == ["systemctl stop web.service", "systemctl stop pod.service"]
    assert host.restore() == []
    assert host.log("systemctl start") == ["systemctl start pod.service", "systemctl start web.service"]


def test_a_kube_unit_has_a_container_that_only_keeps_it_active(host: Host) -> None:
    """Podman creates it for `podman kube play --service-container`, as Quadlet does, and names it after the file."""
    host.add("podman", "a1549503a3db-service", 10, unit="mail.service")
    host.add("podman", "mail-sender", 11, unit="mail.service")
    host.add("podman", "notification-service", 12, unit="other.service")
    (host.state / "active").write_text("mail.service\nother.service\n", encoding="ascii")
    found = [each.name for each in read_runtimes(host.run("look"))["podman"].running]
    assert found == ["mail-sender", "notification-service"]
    assert "pod_unit mail.service a1549503a3db-service" in host.drain()
    assert set(host.log("systemctl stop")) == {"systemctl stop other.service", "systemctl stop mail.service"}


def test_a_container_starts_after_those_that_it_depends_on(host: Host) -> None:
    """Compose created the database again, so that it is the youngest container of its project."""
    host.add("docker", "web", 10, service="shop/web", needed="/queue%3Aservice_started%3Afalse%2Cdb%3Aservice_healthy")
    host.add("docker", "other-web", 11, service="other/web", needed="/db%3Aservice_started%3Afalse")
    host.add("docker", "plain", 12)
    host.add("docker", "queue", 13, service="shop/queue", needed="/db%3Aservice_started%3Afalse%2Cgone%3A")
    host.add("docker", "db-1", 14, service="shop/db")
    host.add("docker", "db-2", 15, service="shop/db")
    # Compose refuses such a project.
    host.add("docker", "egg", 16, service="loop/egg", needed="/hen%3A")
    host.add("docker", "hen", 17, service="loop/hen", needed="/egg%3A")
    order = ["other-web", "plain", "db-1", "db-2", "queue", "web", "egg", "hen"]
    assert [line.split()[2] for line in host.drain()] == order
    assert host.restore() == []
    assert host.log("docker start") == [f"docker start id-{name}" for name in order]


def test_a_container_that_may_stop_late_is_named(host: Host) -> None:
    host.add("docker", "db", 10, limit="/600")
    host.add("docker", "web", 11)
    assert read_runtimes(host.run("look"))["docker"].stop_limits == {"db": 600}


def test_the_label_of_an_inactive_unit_is_ignored(host: Host) -> None:
    host.add("podman", "job", 10, removed=True, unit="job.service")
    runtime = read_runtimes(host.run("look"))["podman"]
    assert ([each.handled_as for each in runtime.running], runtime.auto_removed) == (["podman"], ("job",))


def test_a_unit_that_systemd_starts_is_not_started_again(host: Host) -> None:
    host.add("podman", "of-web", 10, removed=True, unit="web.service")
    (host.state / "active").write_text("web.service\n", encoding="ascii")
    host.drain()
    (host.state / "active").write_text("web.service\n", encoding="ascii")
    assert host.restore() == []
    assert host.log("systemctl start") == []


def test_a_pod_stops_last_and_starts_first(host: Host) -> None:
    host.add("podman", "pod-infra", 10, infra=True)
    host.add("podman", "pod-web", 11)
    host.add("podman", "pod-unused", 12, state="stopped")
    runtime = read_runtimes(host.run("look"))["podman"]
    assert [each.name for each in runtime.running] == ["pod-web"]
    host.drain()
    assert host.restore() == []
    assert host.log("podman stop", "podman start") == [
        "podman stop id-pod-web",
        "podman stop id-pod-infra",
        "podman start id-pod-infra",
        "podman start id-pod-web",
    ]
    assert host.states() == {"pod-infra": "running", "pod-web": "running", "pod-unused": "stopped"}


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_paused_container_is_paused_again(engine: str, host: Host) -> None:
    host.add(engine, "held", 10, state="paused")
    host.add(engine, "web", 11)
    assert host.drain() == [f"{engine} id-held held paused", f"{engine} id-web web"]
    assert set(host.states().values()) == {"stopped"}
    assert host.restore() == []
    assert host.states() == {"held": "paused", "web": "running"}


def test_a_container_that_was_created_again_counts(host: Host) -> None:
    host.add("docker", "web", 10)
    host.drain()
    (host.state / "docker" / "id-web").unlink()
    assert host.restore() == ["docker id-web web"]
    (host.state / "docker" / "another").write_text("20 web false running false 0 / / /\n", encoding="ascii")
    assert host.restore() == []


def test_a_docker_command_of_podman_is_no_docker(host: Host) -> None:
    (host.state / "docker.version").write_text("podman version 4.3.1\n", encoding="ascii")
    host.add("docker", "web", 10)
    host.add("podman", "web", 10)
    assert list(read_runtimes(host.run("look"))) == ["podman"]
    assert host.drain() == ["podman id-web web"]


def test_a_daemon_that_ends_while_draining_stops_nothing(host: Host) -> None:
    """It answered when the drain was planned."""
    host.add("docker", "web", 10)
    host.add("podman", "db", 10)
    (host.state / "docker.dead").touch()
    sections = host.run("drain")
    assert sections["note"].exit_code != 0
    assert "stop" not in sections
    assert host.states() == {"web": "running", "db": "running"}
    # One that is not asked cannot prevent the drain.
    assert host.drain(docker="ignore") == ["podman id-db db"]


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_the_others_stop_if_a_container_has_ended(engine: str, host: Host) -> None:
    """It ends after it was listed. Podman then stops no container of the same command."""
    host.add(engine, "job", 10, removed=True)
    host.add(engine, "web", 11)
    (host.state / f"{engine}.ends").write_text("id-job", encoding="ascii")
    assert host.drain() == [f"{engine} id-job job", f"{engine} id-web web"]
    assert host.states() == {"web": "stopped"}


def test_a_runtime_is_awaited_until_it_answers_that_nothing_runs(host: Host) -> None:
    """A paused container has not ended, and a daemon that does not answer may have containers."""
    host.add("podman", "held", 10, state="paused")
    (host.state / "docker.dead").touch()
    paused = host.run("drain", docker="ignore", podman="wait", within="1")["ended podman"]
    assert (paused.exit_code, paused.output.split()) == (1, ["podman", "id-held", "held", "paused"])
    silent = host.run("drain", docker="wait", podman="ignore", within="1")["ended docker"]
    assert (silent.exit_code, silent.output.split()) == (1, [])
    assert host.states() == {"held": "paused"}
    (host.state / "podman" / "id-held").unlink()
    host.add("podman", "pod-infra", 10, infra=True)
    assert host.run("drain", docker="ignore", podman="wait", within="1")["ended podman"].exit_code == 0


@pytest.mark.parametrize("command", ["lxc", "incus"])
def test_incus_takes_the_commands_of_lxd(command: str, tmp_path: Path) -> None:
    host = Host(tmp_path, command)
    (host.state / "one").write_text("RUNNING", encoding="ascii")
    assert host.drain() == ["lxd one one"]
    assert (host.state / "one").read_text(encoding="ascii") == "STOPPED"
    assert host.restore() == []
    assert (host.state / "one").read_text(encoding="ascii") == "RUNNING"
