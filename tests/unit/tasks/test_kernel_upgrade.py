# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The task of `kernel_upgrade`, on a simulated host whose clock only moves when the task or the host waits."""

from __future__ import annotations

import dataclasses
import math
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import commands
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.kernel_upgrade import (
    UpgradeOptions,
    upgrade_kernel,
)
from tests.samples.answers import NEW, OLD, PROTECTED, UPGRADE_REQUIRED, answer, ok, probe
from tests.samples.replay import Answer, ConnectionLost, Replay

IMAGE = f"linux-image-{NEW}"
SIMULATION = f"Inst {IMAGE} (4.4.0-215.248 Ubuntu [amd64])\nInst linux-image-generic [1] (2 Ubuntu [amd64])\n"
CHANGES = [
    {"name": IMAGE, "old": None, "new": "4.4.0-215.248"},
    {"name": "linux-image-generic", "old": "1", "new": "2"},
]
FILES = (
    f"ok /boot/vmlinuz-{NEW}\ncontent /boot/vmlinuz-{NEW} 7000000 x4d5a x55aaeb6648647253\n"
    f"ok /boot/initrd.img-{NEW}\ncontent /boot/initrd.img-{NEW} 40000000 x1f8b0800 x00\nentry /vmlinuz\n"
)


class Host:
    """A host that needs a newer kernel, and has one in its archive.

    An installation takes `apt_takes` seconds. While `unreachable`, a pair of times, no connection is possible.
    `answers` replaces the answer to the first script of a kind.
    """

    def __init__(self, **answers: Answer) -> None:
        self.livepatch: dict[str, str] | None = UPGRADE_REQUIRED
        self.answers = answers
        self.installed = (
            f"linux-image-{OLD} 4.4.0-210.242 install ok installed\nlinux-image-generic 1 install ok installed\n"
        )
        self.available = f"{IMAGE}\n"
        self.interrupted = ""
        self.apt_takes = 5.0
        self.exit_code = 0
        self.files = FILES
        self.unreachable = (math.inf, math.inf)
        self.begun: float | None = None
        self.replay = Replay(self.respond)

    @property
    def tasks(self) -> list[str]:
        """The scripts that ran, in order."""
        return [command.variables["task"] for command in self.replay.scripts]

    @property
    def waits(self) -> list[str]:
        """The seconds that each ``wait`` may take on the host."""
        return [command.variables["wait"] for command in self.replay.scripts if command.variables["task"] == "wait"]

    def upgrade(self, **options: t.Any) -> dict[str, t.Any]:
        return self.replay.run(upgrade_kernel(UpgradeOptions(**options)))

    def failure(self, **options: t.Any) -> dict[str, t.Any]:
        with pytest.raises(LivepatchError) as caught:
            self.upgrade(**options)
        assert caught.value.remedy
        return caught.value.as_result()

    def respond(self, command: commands.RunScript) -> Answer:
        assert command.parts == ("probe", "kernel_upgrade")
        task = command.variables["task"]
        if self.unreachable[0] <= self.replay.elapsed < self.unreachable[1]:
            return ConnectionLost()
        if task in self.answers:
            return self.answers.pop(task)
        match task:
            case "look":
                return answer(*probe(OLD, self.livepatch), self.run_state(), *self.packages())
            case "refresh":
                return answer(ok("refresh", "Reading package lists..."), *self.packages())
            case "simulate":
                return answer(ok("simulation", SIMULATION))
            case "start":
                self.begun = self.replay.elapsed
                return answer(ok("simulation", SIMULATION), ok("start", "started"))
            case "wait":
                self.pass_time(float(command.variables["wait"]))
                return answer(self.run_state(), ok("log", "E: dpkg: error"), ok("kernel_files", self.files))
            case _:
                raise AssertionError(task)

    def packages(self) -> list[Section]:
        return [
            ok("packages", self.installed),
            ok("available", self.available),
            ok("metapackages", f"linux-image-generic\n  Depends: {self.available.strip()}\n"),
            ok("interrupted", self.interrupted),
        ]

    def pass_time(self, seconds: float) -> None:
        """Wait on the host until apt-get has ended, at most for these seconds."""
        left = math.inf if self.begun is None else self.begun + self.apt_takes - self.replay.elapsed
        self.replay.elapsed += min(seconds, max(left, 0))

    def run_state(self) -> Section:
        if self.begun is None:
            return Section("run", "absent")
        ended = self.replay.elapsed >= self.begun + self.apt_takes
        return ok("run", f"ended {self.exit_code}" if ended else "running")


# --- order of steps


def test_a_host_may_need_no_kernel() -> None:
    host = Host()
    host.livepatch = PROTECTED
    result = host.upgrade()
    assert host.tasks == ["look"]
    assert result == {
        "needed": False,
        "reasons": [],
        "packages": [],
        "unfinished": False,
        "from": OLD,
        "to": OLD,
        "reboot_needed": False,
        "msg": f"{OLD} does not need an upgrade",
    }


def test_lists_are_refreshed_before_apt_starts() -> None:
    host = Host()
    result = host.upgrade()
    assert host.tasks == ["look", "refresh", "start", "wait"]
    assert host.replay.scripts[2].variables["packages"] == "linux-image-generic"
    assert result["changed"] is True
    assert result["packages"] == CHANGES
    assert (result["from"], result["to"], result["reboot_needed"]) == (OLD, NEW, True)
    assert (result["needed"], result["repaired"]) == (True, False)
    assert [reason["id"] for reason in result["reasons"]] == ["kernel_upgrade_required"]
    assert "warnings" not in result


def test_check_mode_only_simulates() -> None:
    host = Host()
    result = host.upgrade(check_mode=True, diff_mode=True)
    assert host.tasks == ["look", "simulate"]
    assert (result["changed"], result["packages"], result["to"]) == (True, CHANGES, NEW)
    assert result["msg"] == f"{NEW} would be installed; {OLD} runs until a reboot"
    assert result["diff"] == {
        "before_header": "packages",
        "after_header": "packages",
        "before": "linux-image-generic 1\n",
        "after": f"{IMAGE} 4.4.0-215.248\nlinux-image-generic 2\n",
    }


def test_an_installed_kernel_is_only_verified() -> None:
    host = Host()
    host.installed += f"{IMAGE} 4.4.0-215.248 install ok installed\n"
    result = host.upgrade()
    assert host.tasks == ["look", "refresh", "wait"]
    assert host.waits == ["0"]
    assert (result["to"], result["reboot_needed"], result["packages"]) == (NEW, True, [])
    assert "changed" not in result
    host.files = f"absent /boot/initrd.img-{NEW}\n"
    assert host.failure()["error_id"] == "kernel_incomplete"


def test_every_script_gets_the_lock_timeout() -> None:
    host = Host()
    host.upgrade(lock_timeout=7)
    limits = {command.variables["task"]: command.extra_seconds for command in host.replay.scripts}
    assert limits == {"look": 307, "refresh": 307, "start": 307, "wait": 20}
    assert {command.variables["lock_wait"] for command in host.replay.scripts} == {"7"}


@pytest.mark.parametrize("user", ["0", "1000"])
def test_only_root_can_upgrade(user: str) -> None:
    host = Host(look=answer(*probe(OLD, UPGRADE_REQUIRED, user=user), Section("run", "absent")))
    if user == "0":
        host.upgrade()
    else:
        assert host.failure()["error_id"] == "not_root"
        assert host.tasks == ["look"]


def test_an_unfinished_reboot_is_reported() -> None:
    for output, expected in (("ok /var/lib/kernelops-livepatch/kernel_reboot", True), ("absent /var/lib/x", False)):
        look = answer(*probe(OLD, PROTECTED), ok("unfinished", output))
        assert Host(look=look).upgrade()["unfinished"] is expected


# --- waits


def test_one_script_waits_for_twenty_seconds() -> None:
    host = Host()
    host.apt_takes = 50
    assert host.upgrade()["reboot_needed"] is True
    assert host.waits == ["20", "20", "20"]
    assert host.replay.sleeps == []
    assert host.replay.elapsed == 50


def test_the_deadline_ends_the_wait_exactly() -> None:
    host = Host()
    host.apt_takes = 3600
    failure = host.failure(timeout=55)
    assert failure["error_id"] == "upgrade_timed_out"
    assert "within 55 s; it is still running" in failure["msg"]
    assert host.waits == ["20", "20", "15"]
    assert host.replay.elapsed == 55
    assert (failure["packages"], failure["to"]) == (CHANGES, NEW)


def test_a_lost_connection_does_not_end_the_wait() -> None:
    host = Host()
    host.apt_takes, host.unreachable = 100, (20, 50)
    assert host.upgrade()["reboot_needed"] is True
    # The pauses of an outage of 30 seconds, then the next script.
    assert host.replay.sleeps == [0.5, 1, 2, 4, 8, 15]
    assert host.replay.elapsed == 100
    assert host.tasks.count("start") == 1


def test_a_host_that_stays_unreachable_times_out() -> None:
    host = Host()
    host.apt_takes, host.unreachable = 100, (20, math.inf)
    failure = host.failure(timeout=60)
    assert failure["error_id"] == "upgrade_timed_out"
    assert "the host does not answer" in failure["msg"]
    assert host.replay.elapsed == 60
    assert host.replay.sleeps == [0.5, 1, 2, 4, 8, 15, 9.5]


def test_a_script_waits_until_the_deadline_at_most() -> None:
    host = Host()
    host.apt_takes, host.unreachable = 100, (20, 50)
    assert host.failure(timeout=60)["error_id"] == "upgrade_timed_out"
    # The host answers again after 50.5 seconds. The shortest wait is a second.
    assert host.waits[-2:] == ["9", "1"]
    assert host.replay.elapsed == 60.5


def test_a_run_that_does_not_start_is_lost() -> None:
    host = Host()
    run = answer(ok("run", "starting"))

    def respond(command: commands.RunScript) -> Answer:
        if command.variables["task"] != "wait":
            return Host.respond(host, command)
        host.replay.elapsed += float(command.variables["wait"])
        return run

    host.replay.script = respond
    assert host.failure()["error_id"] == "run_lost"
    assert host.waits == ["20", "20", "20", "20"]


@pytest.mark.parametrize("run", [ok("run", "lost"), Section("run", "absent")])
def test_a_run_without_a_result_is_lost(run: Section) -> None:
    assert Host(wait=answer(run)).failure()["error_id"] == "run_lost"


# --- a run that another task started


def test_an_earlier_run_is_waited_for() -> None:
    host = Host()
    host.begun, host.apt_takes = 0, 30
    host.upgrade()
    assert host.tasks == ["look", "wait", "wait", "look", "refresh", "start", "wait", "wait"]
    assert [command.variables["release"] for command in host.replay.scripts[1:3]] == ["", ""]


def test_check_mode_waits_for_no_earlier_run() -> None:
    host = Host()
    host.begun, host.apt_takes = 0, 30
    assert host.failure(check_mode=True)["error_id"] == "run_in_progress"
    assert host.tasks == ["look"]


def test_the_next_run_completes_an_interrupted_one() -> None:
    host = Host()
    host.apt_takes = 100
    assert host.failure(timeout=20)["error_id"] == "upgrade_timed_out"
    host.installed += f"{IMAGE} 4.4.0-215.248 install ok installed\n"
    result = host.upgrade()
    assert host.tasks[4:] == ["look", "wait", "wait", "wait", "wait", "look", "refresh", "wait"]
    assert host.tasks.count("start") == 1
    assert (result["to"], result["reboot_needed"]) == (NEW, True)


# --- answers that are incomplete


@pytest.mark.parametrize(
    ("script", "check_mode"), [("look", False), ("look", True), ("refresh", False), ("simulate", True)]
)
def test_an_incomplete_answer_is_a_failure(script: str, check_mode: bool) -> None:
    host = Host(**{script: answer(*probe(OLD, PROTECTED), complete=False)})
    assert host.failure(check_mode=check_mode)["error_id"] == "interrupted"
    assert host.tasks[-1] == script


@pytest.mark.parametrize("start", [answer(complete=False), answer(Section("simulation", "lost"), complete=False)])
def test_an_incomplete_start_is_waited_for(start: Sections) -> None:
    host = Host(start=start)
    host.begun = 0
    host.answers["look"] = answer(*probe(OLD, UPGRADE_REQUIRED), *host.packages())
    result = host.upgrade()
    assert host.tasks == ["look", "refresh", "start", "wait"]
    assert (result["changed"], result["reboot_needed"]) == (True, True)


def test_an_incomplete_start_without_a_run_is_lost() -> None:
    assert Host(start=answer(complete=False), wait=answer(Section("run", "absent"))).failure()["error_id"] == "run_lost"


@pytest.mark.parametrize("script", ["look", "refresh", "start"])
def test_a_lost_connection_ends_the_other_steps(script: str) -> None:
    host = Host(**{script: ConnectionLost()})
    with pytest.raises(ConnectionLost):
        host.upgrade()


# --- failures


def test_a_failure_has_the_keys_that_are_known() -> None:
    assert Host(look=LivepatchError("sudo_requires_tty", "m", "r")).failure() == {
        "msg": "M. R.",
        "error_id": "sudo_requires_tty",
        "remedy": "r",
        "needed": False,
        "reasons": [],
        "packages": [],
        "unfinished": False,
    }
    host = Host()
    host.installed = host.installed.replace("generic 1 install", "generic 1 hold")
    failure = host.failure()
    assert failure["error_id"] == "packages_held"
    assert (failure["needed"], failure["from"], failure["to"], failure["reboot_needed"]) == (True, OLD, NEW, False)


def test_a_failed_simulation_starts_nothing() -> None:
    refused = answer(ok("simulation", "", 100, "E: Held packages were changed and -y was used"))
    host = Host(start=refused)
    assert host.failure()["error_id"] == "packages_held"
    assert host.tasks == ["look", "refresh", "start"]
    assert Host(simulate=refused).failure(check_mode=True)["error_id"] == "packages_held"


def test_a_repair_ignores_the_simulation() -> None:
    host = Host(start=answer(ok("simulation", "", 100, "E: dpkg was interrupted"), ok("start", "started")))
    host.interrupted = "/var/lib/dpkg/updates/0000\n"
    host.begun = 0
    host.answers["look"] = answer(*probe(OLD, UPGRADE_REQUIRED), *host.packages())
    result = host.upgrade()
    assert host.replay.scripts[2].variables["repair"] == "1"
    assert (result["repaired"], result["packages"]) == (True, [])


def test_an_interrupted_dpkg_fails_without_repair() -> None:
    host = Host()
    host.interrupted = "/var/lib/dpkg/updates/0000\n"
    assert host.failure(repair=False)["error_id"] == "dpkg_interrupted"
    assert "start" not in host.tasks


def test_a_failed_installation_is_reported_with_its_log() -> None:
    host = Host()
    host.exit_code = 100
    failure = host.failure()
    assert failure["error_id"] == "dpkg_failed"
    assert "E: dpkg: error" in failure["msg"]
    assert failure["changed"] is True


def test_an_installed_kernel_must_be_bootable() -> None:
    host = Host()
    host.files = FILES.replace("entry", "link")
    assert host.failure()["error_id"] == "no_boot_entry"
    for damaged in (FILES.replace("7000000", "0"), FILES.replace("x1f8b0800", "x00000000")):
        broken = Host()
        broken.files = damaged
        assert broken.failure()["error_id"] == "kernel_incomplete"


# --- repairs and their causes

UNMET = answer(ok("simulation", "", 100, "E: Unmet dependencies. Try 'apt --fix-broken install' with no packages"))


def test_unmet_dependencies_are_repaired() -> None:
    host = Host(start=UNMET)
    result = host.upgrade()
    assert host.tasks == ["look", "refresh", "start", "start", "wait"]
    assert [command.variables["repair"] for command in host.replay.scripts[2:4]] == ["", "1"]
    assert (result["repaired"], result["packages"], result["reboot_needed"]) == (True, CHANGES, True)
    checked = Host(simulate=UNMET).upgrade(check_mode=True)
    assert (checked["changed"], checked["repaired"]) == (True, True)


def test_unmet_dependencies_fail_without_repair() -> None:
    failure = Host(start=UNMET).failure(repair=False)
    assert (failure["error_id"], "apt-get -f install" in failure["remedy"]) == ("apt_broken", True)


def test_a_foreign_kernel_beside_the_new_one_is_a_warning() -> None:
    host = Host()
    host.installed += "linux-image-unsigned-4.8.7-040807-generic 4.8.7-040807.201611100339 install ok installed\n"
    host.installed += "linux-image-unsigned-3.8.7-030807-generic 3.8.7-030807.201611100339 install ok installed\n"
    (warning,) = host.upgrade()["warnings"]
    assert f"GRUB sorts 4.8.7-040807-generic before {NEW}" in warning


def test_nothing_held_is_an_impossible_request() -> None:
    refused = answer(
        ok("simulation", " a : Depends: b but it is not installable", 100, "E: you have held broken packages.")
    )
    assert Host(start=refused).failure()["error_id"] == "impossible_request"
    host = Host(start=refused)
    host.installed += "linux-tools-generic 1 hold ok installed\n"
    failure = host.failure()
    assert (failure["error_id"], "linux-tools-generic" in failure["msg"]) == ("packages_held", True)
    other = Host(start=refused)
    other.answers["refresh"] = answer(ok("refresh"), *other.packages(), ok("held", "initramfs-tools\n$(x)\n"))
    assert "held packages prevent the installation: initramfs-tools: " in other.failure()["msg"].lower()


def test_a_refused_archive_explains_a_missing_kernel() -> None:
    refused = ok("refresh", "Err:1 https://esm.ubuntu.com/infra/ubuntu focal InRelease\n  401  Unauthorized", 100)
    host = Host()
    host.available = ""
    host.answers["refresh"] = answer(refused, *host.packages())
    failure = host.failure()
    assert (failure["error_id"], "pro refresh" in failure["remedy"]) == ("pro_credentials", True)


def test_a_series_that_has_ended_needs_an_upgrade() -> None:
    host = Host()
    host.livepatch = PROTECTED
    target = "4.15.0-142-generic"
    metapackages = ok("metapackages", f"linux-image-generic\n  Depends: linux-image-{target}\n")
    files = ok("kernel_files", FILES.replace(NEW, target))
    packages = [ok("packages", host.installed), metapackages]
    without_support = [
        dataclasses.replace(
            section, output=section.output.replace('"Supported": "supported"', '"Supported": "unknown"')
        )
        for section in probe(OLD, PROTECTED)
    ]
    host.answers |= {
        "look": answer(*without_support, Section("run", "absent"), *packages),
        "refresh": answer(ok("refresh"), *packages),
        "wait": answer(ok("run", "ended 0"), ok("log"), files),
    }
    result = host.upgrade()
    assert ([reason["id"] for reason in result["reasons"]], result["to"]) == (["series_ended"], target)
    assert result["reboot_needed"] is True


UNREACHABLE = """\
Err:1 http://archive.lab.test/ubuntu xenial InRelease
  Could not resolve 'archive.lab.test'
Reading package lists...
W: Failed to fetch http://archive.lab.test/ubuntu/dists/xenial/InRelease  Could not resolve 'archive.lab.test'
W: Some index files failed to download. They have been ignored, or old ones used instead."""


# Without a connection to the archive, apt-get update ends with 0, because a later attempt may succeed.
@pytest.mark.parametrize(("output", "code"), [("W: Failed to\n fetch http://x", 100), (UNREACHABLE, 0)])
def test_a_failed_refresh_is_a_warning(output: str, code: int) -> None:
    host = Host()
    host.answers["refresh"] = answer(ok("refresh", output, code), *host.packages())
    result = host.upgrade()
    assert "Failed to fetch http://" in result["warnings"][0]
    assert result["to"] == NEW


def test_an_unreachable_archive_explains_a_missing_kernel() -> None:
    host = Host()
    host.available = ""
    host.answers["refresh"] = answer(ok("refresh", UNREACHABLE), *host.packages())
    failure = host.failure()
    assert (failure["error_id"], "Could not resolve" in failure["msg"]) == ("archive_unreachable", True)


def test_a_host_without_apt_is_refused() -> None:
    host = Host(refresh=answer(Section("packages", "absent")))
    assert host.failure()["error_id"] == "no_apt"


def test_a_needed_kernel_must_exist() -> None:
    host = Host()
    host.available = f"linux-image-{OLD}\n"
    failure = host.failure(series=None)
    assert failure["error_id"] == "no_newer_kernel"
    assert "series 4.4 and flavour generic" in failure["msg"]
    # The standard support of Ubuntu 16.04 has ended.
    assert "pro attach" in failure["remedy"]
    result = host.upgrade(check_mode=True, flavour="lowlatency")
    assert (result["needed"], result["reboot_needed"]) == (True, False)
    assert "flavour lowlatency" in result["warnings"][0]


def test_a_required_kernel_that_does_not_exist_is_a_failure() -> None:
    host = Host()
    host.livepatch = PROTECTED
    host.available = f"linux-image-{OLD}\n"
    assert host.failure(required=True)["error_id"] == "no_newer_kernel"
    result = host.upgrade(check_mode=True, required=True)
    assert ([reason["id"] for reason in result["reasons"]], result["reboot_needed"]) == (["required"], False)


def test_the_newest_kernel_may_be_forced() -> None:
    host = Host()
    host.livepatch = PROTECTED
    assert host.upgrade(force=True)["to"] == NEW
    host.available = f"linux-image-{OLD}\n"
    result = host.upgrade(force=True)
    assert result["msg"] == f"{OLD} is the newest kernel to which this host's packages lead"
    assert (result["needed"], result["to"]) == (True, OLD)
