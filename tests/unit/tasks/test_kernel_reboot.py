# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The task of `kernel_reboot`, on a simulated host whose clock only moves when the task waits."""

from __future__ import annotations

import datetime as dt
import math
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.drain_lock import DrainLock, lock_path
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks import commands
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.kernel_reboot import RebootOptions, reboot_host
from tests.lab.hosts.grub import UUID, grub_configuration
from tests.samples.answers import APPLYING, CLOCK, NEW, OLD, PROTECTED, answer, ok, probe
from tests.samples.facts import shipped
from tests.samples.replay import NOW, Answer, ConnectionLost, Replay

POLICY = shipped("current")
FIRST, SECOND = "0c5a3d2e-1111-2222-3333-444455556666", "9c5a3d2e-1111-2222-3333-444455556666"
CONTAINERS = "docker 1 registry\ndocker 2 proxy\nlxd db db\n"
SHOWN = [
    {"runtime": "docker", "name": "registry"},
    {"runtime": "docker", "name": "proxy"},
    {"runtime": "lxd", "name": "db"},
]


class Host:
    """A host that runs the old kernel, and has the new one installed.

    It goes down when the delay of the reboot is over, and is back `down` seconds later. It also is `unreachable` from
    one time to another. `answers` replaces the answers to the first scripts of a kind, where one is given.
    """

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self.answers = {task: given if isinstance(given, list) else [given] for task, given in answers.items()}
        self.kernel, self.newest, self.boots_into = OLD, NEW, NEW
        self.boot_id = FIRST
        self.foreign, self.environment = "", ""
        self.menu = [NEW, OLD]
        self.running = CONTAINERS
        self.further: list[Section] = []
        self.saved: tuple[str, str] | None = None
        self.livepatch: dict[str, str] | None = PROTECTED
        self.down = 10.0
        self.goes_down = True
        self.unreachable = (math.inf, math.inf)
        self.goes_down_at = math.inf
        self.replay = Replay(self.respond)
        self.times: list[tuple[str, float]] = []

    @property
    def tasks(self) -> list[str]:
        """The scripts that ran, in order; repeated ones once."""
        tasks = [task for task, _time in self.times]
        return [task for before, task in zip(["", *tasks], tasks, strict=False) if task != before]

    def times_of(self, wanted: str) -> list[float]:
        return [time for task, time in self.times if task == wanted]

    def script(self, wanted: str) -> t.Mapping[str, str]:
        """The variables of the first script of a kind."""
        return next(command.variables for command in self.replay.scripts if _task(command) == wanted)

    def reboot(self, **options: t.Any) -> dict[str, t.Any]:
        return self.replay.run(reboot_host(RebootOptions(policy=POLICY, **options)))

    def failure(self, **options: t.Any) -> dict[str, t.Any]:
        with pytest.raises(LivepatchError) as caught:
            self.reboot(**options)
        assert caught.value.remedy
        return caught.value.as_result()

    def respond(self, command: commands.RunScript) -> Answer:
        task, now = _task(command), self.replay.elapsed
        self.times.append((task, now))
        if self.goes_down_at <= now < self.goes_down_at + self.down or self.unreachable[0] <= now < self.unreachable[1]:
            return ConnectionLost()
        if now >= self.goes_down_at + self.down:
            self.boot_id, self.kernel, self.running, self.goes_down_at = SECOND, self.boots_into, "", math.inf
        if self.answers.get(task):
            return self.answers[task].pop(0)
        return getattr(self, f"answer_{task}")(command.variables)  # type: ignore[no-any-return]  # by name

    def _probe(self) -> list[Section]:
        clock = CLOCK + int(self.replay.elapsed)
        return probe(self.kernel, self.livepatch, installed=(self.newest,), clock=clock)

    def answer_probe(self, _variables: t.Mapping[str, str]) -> Answer:
        return answer(*self._probe())

    def answer_look(self, _variables: t.Mapping[str, str]) -> Answer:
        saved = self.saved or ("", "")
        found = 0 if self.saved else 1
        docker, lxd = ("".join(f"{line}\n" for line in _of(self.running, name)) for name in ("docker", "lxd"))
        return answer(
            *self._probe(),
            ok("boot_id", self.boot_id),
            ok("saved_boot_id", saved[0], found),
            ok("saved", saved[1], found),
            ok("running docker", docker),
            ok("auto_removed docker"),
            ok("running lxd", lxd),
            *self.boot_loader(),
            *self.further,
        )

    def boot_loader(self) -> list[Section]:
        """The packages of the kernels, and a menu that starts the newest one."""
        listed = "".join(f"linux-image-{release} {release[:9]}.1 install ok installed\n" for release in (OLD, NEW))
        return [
            ok("packages", listed + self.foreign),
            ok("boot_loader", "ok /boot/grub/grub.cfg\n"),
            ok("grub_cfg", grub_configuration(self.menu) if self.menu else ""),
            ok("grub_env", self.environment),
        ]

    def answer_drain(self, _variables: t.Mapping[str, str]) -> Answer:
        self.saved, self.running = self.saved or (self.boot_id, self.running), ""
        return answer(ok("lock"), ok("note"), ok("stop"), ok("saved", self.saved[1]))

    def answer_reboot(self, variables: t.Mapping[str, str]) -> Answer:
        assert variables["boot_id"] == self.boot_id
        if variables["boot_entry"]:
            self.boots_into = variables["boot_entry"].rpartition(">gnulinux-")[2].removesuffix(f"-advanced-{UUID}")
        if self.goes_down:
            self.goes_down_at = self.replay.elapsed + float(variables["delay"])
        return answer(ok("down"))

    def answer_alive(self, _variables: t.Mapping[str, str]) -> Answer:
        return answer(ok("boot_id", self.boot_id), ok("release", self.kernel))

    def answer_restore(self, _variables: t.Mapping[str, str]) -> Answer:
        if self.saved is not None:
            self.running, self.saved = self.saved[1], None
        return answer(ok("lock"), ok("not_running"))


class ReleasingReplay(Replay):
    """A replay in which something happens while the task sleeps; `happens` gets the seconds since its start."""

    def __init__(self, script: t.Callable[[commands.RunScript], Answer], happens: t.Callable[[float], object]) -> None:
        super().__init__(script)
        self._happens = happens

    def _perform(self, command: commands.Command) -> object:
        answer = super()._perform(command)
        if isinstance(command, commands.Sleep):
            self._happens(self.elapsed)
        return answer


def _task(command: commands.RunScript) -> str:
    """The name of a script; ``probe`` for a check of the host."""
    assert command.parts == (("probe", "kernel_reboot") if command.variables["task"] else ("probe",))
    return command.variables["task"] or "probe"


def _of(running: str, runtime: str) -> list[str]:
    return [line for line in running.splitlines() if line.startswith(f"{runtime} ")]


# --- order of steps


def test_a_reboot_has_its_steps_in_order() -> None:
    host = Host()
    result = host.reboot()
    assert host.tasks == ["look", "drain", "reboot", "alive", "restore", "probe"]
    assert result == {
        "rebooted": True,
        "changed": True,
        "containers": SHOWN,
        "from": OLD,
        "to": NEW,
        "boot_id": SECOND,
        "elapsed": 18,
        "state": "protected",
        "msg": f"rebooted into {NEW}",
    }
    assert host.running == CONTAINERS


def test_a_host_with_the_kernel_is_left_alone() -> None:
    host = Host()
    host.kernel = NEW
    result = host.reboot()
    assert host.tasks == ["look"]
    assert result == {
        "rebooted": False,
        "containers": [],
        "from": NEW,
        "to": NEW,
        "boot_id": FIRST,
        "msg": f"{NEW} is already running",
    }


def test_check_mode_only_checks() -> None:
    host = Host()
    result = host.reboot(check_mode=True, diff_mode=True)
    assert host.tasks == ["look"]
    assert (result["rebooted"], result["changed"], result["containers"]) == (False, True, SHOWN)
    assert result["diff"] == {"before": f"kernel {OLD}\n", "after": f"kernel {NEW}\n"}
    assert result["msg"] == f"would reboot into {NEW}"


def test_scripts_get_the_options() -> None:
    host = Host()
    host.reboot(
        pre_commands=["one", "two"],
        post_commands=["three"],
        docker="wait",
        lxd="ignore",
        message="Bye",
        delay=9,
        drain_timeout=77,
    )
    expected = {"pre_1": "one", "pre_2": "two", "post_1": "three", "docker": "wait", "podman": "stop", "lxd": "ignore"}
    for task in ("drain", "restore"):
        assert expected.items() <= host.script(task).items()
        assert host.script(task)["within"] == "77"
    limits = {command.variables["task"]: command.extra_seconds for command in host.replay.scripts}
    assert limits == {"look": 0, "drain": 77, "reboot": 0, "alive": 0, "restore": 77, "": limits[""]}
    assert limits[""] > 0
    assert (host.script("reboot")["message"], host.script("reboot")["delay"]) == ("Bye", "9")
    assert host.script("look")["within"] == "60"


def test_only_containers_that_are_stopped_are_returned() -> None:
    assert Host().reboot(docker="ignore")["containers"] == SHOWN[2:]
    assert Host().reboot(docker="wait", lxd="ignore")["containers"] == []


def test_an_evacuated_container_is_one_of_lxd() -> None:
    host = Host()
    host.running = "lxd db db\n"
    running = ok("running lxd", "member node-1 node-1\nevacuated db db\n")
    host.answers["look"] = [answer(*probe(OLD, PROTECTED, installed=(NEW,)), ok("boot_id", FIRST), running)]
    assert host.reboot()["containers"] == [{"runtime": "lxd", "name": "db"}]


# --- the boot loader and the window

MAINLINE = "5.7.7-050707-generic"
MAINLINE_PACKAGE = f"linux-image-unsigned-{MAINLINE} 5.7.7-050707.202007010943 install ok installed\n"


def test_a_foreign_kernel_that_would_start_is_refused() -> None:
    for check_mode in (True, False):
        host = Host()
        host.menu, host.foreign = [MAINLINE, NEW, OLD], MAINLINE_PACKAGE
        failure = host.failure(check_mode=check_mode)
        assert (failure["error_id"], host.tasks) == ("boot_order", ["look"])
        assert f"would start {MAINLINE}, which Ubuntu did not build" in failure["msg"]
        assert f"apt-get purge linux-image-unsigned-{MAINLINE}" in failure["remedy"]
        assert host.running == CONTAINERS


def test_a_foreign_kernel_is_never_intended() -> None:
    host = Host()
    host.newest, host.foreign = MAINLINE, MAINLINE_PACKAGE
    assert host.reboot()["to"] == NEW
    refused = Host()
    assert refused.failure(kernel=MAINLINE)["error_id"] == "foreign_kernel"
    assert refused.tasks == ["look"]


def test_the_kernel_can_be_selected_for_one_boot() -> None:
    host = Host()
    host.menu, host.foreign = [MAINLINE, NEW, OLD], MAINLINE_PACKAGE
    result = host.reboot(boot_entry="set")
    assert (result["to"], result["rebooted"]) == (NEW, True)
    assert host.script("reboot")["boot_entry"] == f"gnulinux-advanced-{UUID}>gnulinux-{NEW}-advanced-{UUID}"
    # What GRUB starts anyway is not selected.
    host = Host()
    host.reboot(boot_entry="set")
    assert host.script("reboot")["boot_entry"] == ""


def test_an_entry_that_was_not_selected_prevents_the_reboot() -> None:
    host = Host(reboot=answer(ok("boot_entry", "", 1, "grub-reboot: error: environment block too small")))
    host.menu = [MAINLINE, NEW, OLD]
    failure = host.failure(boot_entry="set")
    assert (failure["error_id"], "too small" in failure["msg"]) == ("boot_entry_not_set", True)
    assert host.tasks == ["look", "drain", "reboot", "restore"]
    assert host.running == CONTAINERS


GONE = ok("missing_files", f"/boot/initrd.img-{NEW}\n", 1)


@pytest.mark.parametrize(
    ("section", "error_id", "words"),
    [
        (GONE, "kernel_files_missing", f"/boot/initrd.img-{NEW}"),
        (ok("obstacles", "dpkg 4711\ndpkg 4712\n", 1), "packages_changing", "4711,4712"),
        (ok("obstacles", "inhibitor fwupd\n", 1), "shutdown_blocked", "fwupd"),
        (ok("obstacles", "inhibitor a b\n$(reboot)\n", 1), "shutdown_blocked", "unknown"),
    ],
)
def test_an_obstacle_prevents_the_drain_and_the_reboot(section: Section, error_id: str, words: str) -> None:
    """A program can begin, and a kernel can be removed, while containers are being stopped."""
    for task in ("drain", "reboot"):
        host = Host(**{task: answer(ok("lock"), section)})
        failure = host.failure(pre_commands=["one"])
        assert (failure["error_id"], words in failure["msg"]) == (error_id, True)
        assert host.tasks == ["look", "drain", *(["reboot"] if task == "reboot" else []), "restore"]
        assert (host.running, failure["rebooted"]) == (CONTAINERS, False)
        assert host.script(task)["kernel"] == NEW


def test_the_wait_for_obstacles_ends_before_the_answer() -> None:
    host = Host()
    host.reboot(answer_timeout=30.0)
    assert host.script("reboot")["within"] == "15"


def test_a_kernel_that_is_loaded_for_kexec_is_refused() -> None:
    host = Host()
    loader = ok("boot_loader", "ok /boot/grub/grub.cfg\nkexec loaded\n")
    host.boot_loader = lambda: [*Host().boot_loader()[:1], loader]  # type: ignore[method-assign]  # another host
    failure = host.failure(boot_entry="set")
    assert (failure["error_id"], "kexec -u" in failure["remedy"], host.tasks) == ("boot_order", True, ["look"])


def test_an_unknown_boot_order_is_a_warning() -> None:
    host = Host()
    host.menu = []
    assert "has no menu" in host.reboot()["warnings"][0]
    host = Host()
    host.menu, host.foreign = [], MAINLINE_PACKAGE
    assert host.failure()["error_id"] == "boot_order"


def window(begin: int, end: int) -> str:
    """A window from one to another number of seconds after the start of the clock, in whole minutes."""
    times = [NOW + dt.timedelta(seconds=seconds) for seconds in (begin, end)]
    return "-".join(f"{time:%H:%M}" for time in times) + " UTC"


def test_a_closed_window_prevents_the_drain() -> None:
    host = Host()
    failure = host.failure(window=window(3600, 7200))
    assert (failure["error_id"], host.tasks, host.running) == ("window_closed", ["look"], CONTAINERS)
    assert Host().reboot(window=window(-3600, 3600))["rebooted"] is True
    assert Host().reboot(window=window(3600, 7200), check_mode=True)["changed"] is True


def test_a_window_that_closes_while_draining_prevents_the_reboot() -> None:
    host = Host()

    def respond(command: commands.RunScript) -> Answer:
        given = Host.respond(host, command)
        if command.variables["task"] == "drain":
            host.replay.elapsed += 3600
        return given

    host.replay.script = respond
    failure = host.failure(window=window(-1800, 1800))
    assert failure["error_id"] == "window_closed"
    assert host.tasks == ["look", "drain", "restore"]
    assert (host.running, host.saved) == (CONTAINERS, None)


@pytest.mark.parametrize("text", ["always", "25:00-26:00", "22:00-04:00 Nowhere/Atlantis"])
def test_a_window_must_be_valid(text: str) -> None:
    assert Host().failure(window=text)["error_id"] == "window_unusable"


def test_a_frozen_date_prevents_the_drain() -> None:
    host = Host()
    failure = host.failure(freeze=[f"{NOW:%Y-%m-%d}"], window="00:00-24:00 UTC")
    assert (failure["error_id"], host.tasks) == ("window_closed", ["look"])
    assert f"frozen dates: {NOW:%Y-%m-%d}" in failure["msg"]
    assert Host().failure(freeze="tomorrow")["error_id"] == "window_unusable"


def test_the_window_must_be_open_at_the_end_of_the_delay() -> None:
    host = Host()
    failure = host.failure(window=window(-1800, 1800), delay=1900)
    assert (failure["error_id"], host.tasks, host.running) == (
        "window_closed",
        ["look", "drain", "restore"],
        CONTAINERS,
    )


# --- the lock of the drain group


def lock(folder: Path, host: str = "db-01", run: str = "r1") -> DrainLock:
    return DrainLock(folder, "orders", host, run, f"anna@{run}")


def take(drain_lock: DrainLock, seconds: float = 3600) -> bool:
    return drain_lock.take(NOW, NOW + dt.timedelta(seconds=seconds)) is None


def is_free(folder: Path) -> bool:
    """Whether another host of the group may be drained."""
    return not list(folder.glob("*.drain-group"))


def test_the_lock_is_held_until_containers_run(tmp_path: Path) -> None:
    host = Host()
    free: dict[str, bool] = {}

    def respond(command: commands.RunScript) -> Answer:
        free.setdefault(_task(command), is_free(tmp_path))
        return Host.respond(host, command)

    host.replay.script = respond
    host.reboot(drain_lock=lock(tmp_path))
    assert free == {"look": True, "drain": False, "reboot": False, "alive": False, "restore": False, "probe": True}


def test_another_run_is_waited_for(tmp_path: Path) -> None:
    other = lock(tmp_path, "db-02", "r2")
    take(other)
    host = Host()
    host.replay = ReleasingReplay(host.respond, lambda elapsed: elapsed >= 42 and other.release())
    assert host.reboot(drain_lock=lock(tmp_path))["rebooted"]
    assert host.times_of("drain") == [45]
    (warning,) = host.replay.warnings
    assert warning.startswith("db-01 waits: host db-02 of the drain group orders is down for a reboot since 2026-03-01")
    assert warning.endswith("by a run of anna@r2.")


def test_the_next_run_does_not_wait_for_a_killed_one(tmp_path: Path) -> None:
    take(lock(tmp_path))
    host = Host()
    host.saved, host.running = (FIRST, CONTAINERS), ""
    assert host.reboot(drain_lock=lock(tmp_path, run="r2"))["rebooted"]
    assert host.times_of("drain") == [0]
    assert is_free(tmp_path)


def test_the_wait_for_another_run_ends(tmp_path: Path) -> None:
    take(lock(tmp_path, "db-02", "r2"))
    host = Host()
    failure = host.failure(drain_lock=lock(tmp_path), drain_group_timeout=60)
    assert (failure["error_id"], host.tasks, host.replay.elapsed) == ("drain_group_busy", ["look"], 60)
    assert "db-02 of the drain group orders is down" in failure["msg"]


def test_a_lost_run_is_not_waited_for(tmp_path: Path) -> None:
    take(lock(tmp_path, "db-02", "r2"), seconds=0)
    host = Host()
    failure = host.failure(drain_lock=lock(tmp_path))
    assert (failure["error_id"], host.tasks, host.replay.elapsed) == ("drain_group_busy", ["look"], 0)
    assert f"rm {lock_path(tmp_path, lock(tmp_path).group)}" in failure["remedy"]


def test_the_window_is_checked_again_after_the_wait(tmp_path: Path) -> None:
    other = lock(tmp_path, "db-02", "r2")
    take(other)
    host = Host()
    host.replay = ReleasingReplay(host.respond, lambda elapsed: elapsed >= 90 and other.release())
    failure = host.failure(drain_lock=lock(tmp_path), window=window(-60, 60))
    assert (failure["error_id"], host.tasks, is_free(tmp_path)) == ("window_closed", ["look"], True)


def test_a_failed_drain_releases_the_lock(tmp_path: Path) -> None:
    host = Host(drain=answer(ok("lock"), ok("pre 1", exit_code=1)))
    assert host.failure(drain_lock=lock(tmp_path))["error_id"] == "pre_command_failed"
    assert is_free(tmp_path)


def test_a_host_that_does_not_return_keeps_the_lock(tmp_path: Path) -> None:
    host = Host()
    host.down = math.inf
    assert host.failure(drain_lock=lock(tmp_path))["error_id"] == "host_did_not_return"
    # The next run does not wait for the lost one.
    other = Host()
    other.replay.elapsed = host.replay.elapsed
    failure = other.failure(drain_lock=lock(tmp_path, "db-02", "r2"))
    assert other.replay.elapsed == host.replay.elapsed
    assert "was lost before its containers ran again" in failure["msg"]
    host.goes_down_at, host.boot_id, host.kernel, host.running = math.inf, SECOND, NEW, ""
    host.reboot(drain_lock=lock(tmp_path, run="r3"))
    assert (is_free(tmp_path), host.running) == (True, CONTAINERS)


def test_containers_that_do_not_start_keep_the_lock(tmp_path: Path) -> None:
    host = Host(restore=answer(ok("lock"), ok("not_running", "docker 1 registry\n")))
    assert host.failure(drain_lock=lock(tmp_path))["error_id"] == "containers_not_restored"
    assert not is_free(tmp_path)


def test_a_lock_that_was_removed_prevents_the_reboot(tmp_path: Path) -> None:
    host = Host()

    def respond(command: commands.RunScript) -> Answer:
        if command.variables["task"] == "drain":
            lock_path(tmp_path, lock(tmp_path).group).unlink()
        return Host.respond(host, command)

    host.replay.script = respond
    assert host.failure(drain_lock=lock(tmp_path))["error_id"] == "drain_lock_lost"
    assert (host.tasks, host.running) == (["look", "drain", "restore"], CONTAINERS)


def test_stopped_containers_start_while_another_host_is_down(tmp_path: Path) -> None:
    take(lock(tmp_path, "db-02", "r2"))
    host = Host()
    host.saved, host.running, host.boot_id, host.kernel = (FIRST, CONTAINERS), "", SECOND, NEW
    host.reboot(drain_lock=lock(tmp_path))
    assert host.running == CONTAINERS
    assert not is_free(tmp_path), "the lock of the other host"


def test_check_mode_and_a_current_host_take_no_lock(tmp_path: Path) -> None:
    assert Host().reboot(drain_lock=lock(tmp_path), check_mode=True)["changed"]
    current = Host()
    current.kernel = NEW
    assert not current.reboot(drain_lock=lock(tmp_path))["rebooted"]
    assert list(tmp_path.iterdir()) == []


# --- the timer on the host


def test_the_host_gets_a_timer() -> None:
    host = Host()
    host.reboot(restore_after=100, drain_timeout=70, delay=5, reboot_timeout=300, post_commands=["one"])
    timers = {_task(command): command.later for command in host.replay.scripts if command.later is not None}
    assert set(timers) == {"drain", "reboot"}
    assert timers["drain"].parts == ("kernel_reboot",)
    expected = {"task": "timer", "within": "70", "post_1": "one"}
    for task, seconds in (("drain", "100"), ("reboot", "405")):
        assert {**expected, "restore_after": seconds}.items() <= timers[task].variables.items()


def test_the_timer_can_be_disabled() -> None:
    host = Host()
    host.reboot(restore_after=0)
    for task in ("drain", "reboot"):
        assert host.script(task)["restore_after"] == "0"


def test_a_host_that_has_restored_itself_is_not_rebooted() -> None:
    host = Host(reboot=answer(ok("lock"), ok("drained", exit_code=1)))
    failure = host.failure(restore_after=7)
    assert failure["error_id"] == "drain_expired"
    assert "7 s after they were stopped" in failure["msg"]
    assert host.tasks == ["look", "drain", "reboot", "restore"]


def test_a_reboot_beside_another_run_is_refused() -> None:
    host = Host(reboot=answer(ok("lock", exit_code=1)))
    assert host.failure()["error_id"] == "run_in_progress"


# --- the wait for the reboot


def test_the_host_is_asked_with_growing_pauses() -> None:
    host = Host()
    host.reboot(delay=3)
    # Down from 3 to 13 seconds.
    assert host.times_of("alive") == [3, 3.5, 4.5, 6.5, 10.5, 18.5]
    assert host.replay.sleeps == [3, 0.5, 1, 2, 4, 8]


def test_the_connection_is_closed_before_the_first_question() -> None:
    host = Host(alive=[ConnectionLost()])
    resets: list[int] = []

    def respond(command: commands.RunScript) -> Answer:
        resets.append(host.replay.resets)
        return Host.respond(host, command)

    host.replay.script = respond
    host.reboot(require_protected=False)
    assert resets[:4] == [0, 0, 0, 1]


def test_a_host_may_not_return() -> None:
    host = Host()
    host.down = math.inf
    failure = host.failure(delay=3, reboot_timeout=40)
    assert failure["error_id"] == "host_did_not_return"
    assert "within 40 s" in failure["msg"]
    assert host.times_of("alive") == [3, 3.5, 4.5, 6.5, 10.5, 18.5, 33.5, 43]
    assert (failure["rebooted"], failure["containers"], failure["boot_id"]) == (False, SHOWN, FIRST)
    assert "restore" not in host.tasks
    assert host.saved == (FIRST, CONTAINERS)


def test_a_return_at_the_deadline_counts() -> None:
    host = Host()
    host.down = 40
    assert host.reboot(delay=3, reboot_timeout=40)["elapsed"] == 43


def test_a_host_may_ignore_the_reboot() -> None:
    host = Host()
    host.goes_down = False
    failure = host.failure(delay=3, reboot_timeout=40)
    assert failure["error_id"] == "reboot_did_not_happen"
    assert host.times_of("alive")[-1] == host.times_of("restore")[0] == 43
    assert (host.running, host.saved) == (CONTAINERS, None)
    # An open connection could lead to the machine that goes down, so none is kept.
    assert host.replay.resets == 1 + len(host.times_of("alive"))
    assert failure["rebooted"] is False


def test_a_failed_restore_hides_no_other_failure() -> None:
    host = Host(restore=answer(ok("not_running", "docker 1 registry\n")))
    host.goes_down = False
    assert host.failure()["error_id"] == "reboot_did_not_happen"


def test_half_an_answer_is_no_reboot() -> None:
    host = Host(alive=[answer(ok("boot_id", "")), answer(ok("boot_id", "half"))])
    assert host.reboot()["boot_id"] == SECOND


@pytest.mark.parametrize("lost", [ConnectionLost(), answer(complete=False), LivepatchError("script_did_not_run", "m")])
def test_a_reboot_command_may_have_no_answer(lost: t.Any) -> None:
    host = Host(reboot=lost)
    host.goes_down_at = 3
    assert host.reboot()["rebooted"] is True


def test_a_reboot_command_may_be_lost() -> None:
    host = Host(reboot=ConnectionLost())
    assert host.failure(reboot_timeout=100)["error_id"] == "reboot_did_not_happen"
    assert host.running == CONTAINERS


# --- drains that fail


HANGING = answer(ok("lock"), ok("note"), Section("stop", "timeout", "", "no answer", exit_code=124), ok("saved"))
DRAINS = [
    (HANGING, "drain_failed"),
    (answer(ok("lock"), ok("pre 1", "", 3, "not today")), "pre_command_failed"),
    (answer(ok("lock"), ok("ended docker", "docker 1 job\n", 1)), "containers_did_not_end"),
    (answer(ok("lock"), complete=False), "drain_failed"),
    (ConnectionLost(), "drain_failed"),
    (LivepatchError("script_did_not_run", "m"), "drain_failed"),
]


@pytest.mark.parametrize(("drain", "error_id"), DRAINS)
def test_containers_start_again_after_a_failed_drain(drain: t.Any, error_id: str) -> None:
    host = Host(drain=drain)
    host.running, host.saved = "", (FIRST, CONTAINERS)
    failure = host.failure()
    assert failure["error_id"] == error_id
    assert host.tasks == ["look", "drain", "restore"]
    assert (host.running, host.saved) == (CONTAINERS, None)
    assert (failure["rebooted"], failure["containers"], failure["to"]) == (False, SHOWN, NEW)


def test_a_lost_host_is_asked_until_the_timeout() -> None:
    host = Host(drain=ConnectionLost())
    host.unreachable = (0.25, math.inf)
    host.answers["restore"] = [ConnectionLost()]
    assert host.failure(drain_timeout=30)["error_id"] == "drain_failed"
    assert host.times_of("restore") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 30]


def test_a_drain_beside_another_run_changes_nothing() -> None:
    host = Host(drain=answer(ok("lock", "", 1)))
    assert host.failure()["error_id"] == "run_in_progress"
    assert host.tasks == ["look", "drain"]


@pytest.mark.parametrize("counted", [True, False])
def test_a_container_that_would_be_lost_is_kept(counted: bool) -> None:
    listed = ok("auto_removed docker", "true /job\n") if counted else ok("auto_removed docker")
    look = answer(*probe(OLD, None, installed=(NEW,)), ok("boot_id", FIRST), ok("running docker"), listed)
    host = Host(look=look)
    if counted:
        assert host.failure()["error_id"] == "containers_would_vanish"
        assert host.tasks == ["look"]
    else:
        host.reboot()


def test_containers_of_kubernetes_must_be_allowed() -> None:
    refused, allowed = Host(), Host()
    for host in (refused, allowed):
        host.further = [ok("containers", f"group - kubepods.slice/cri-containerd-{'a' * 12}.scope\ncontainerd ok")]
    failure = refused.failure()
    assert (failure["error_id"], refused.tasks) == ("kubernetes_running", ["look"])
    assert "kubectl drain" in failure["remedy"]
    assert allowed.reboot(allow_running=["kubernetes"])["rebooted"] is True


def test_a_silent_runtime_without_containers_is_not_asked_again() -> None:
    host = Host()
    host.further = [Section("running podman", "timeout", exit_code=124)]
    host.reboot()
    assert (host.script("drain")["podman"], host.script("drain")["docker"]) == ("ignore", "stop")


# --- after the reboot


def test_a_host_may_be_unreachable_again() -> None:
    host = Host()
    host.unreachable = (18.75, 60)
    host.answers["restore"] = [ConnectionLost()]
    host.reboot(drain_timeout=60)
    assert host.times_of("restore") == [18.5, 19, 20, 22, 26, 34, 49, 64]


def test_containers_are_awaited_for_the_drain_timeout() -> None:
    host = Host()
    host.unreachable = (18.75, math.inf)
    host.answers["restore"] = [ConnectionLost()]
    failure = host.failure(drain_timeout=20)
    assert failure["error_id"] == "host_did_not_return"
    assert host.times_of("restore") == [18.5, 19, 20, 22, 26, 34, 38.5]
    assert (failure["rebooted"], failure["elapsed"]) == (True, 18)


def test_the_last_check_waits_for_two_minutes() -> None:
    host = Host(probe=[ConnectionLost()])
    host.unreachable = (18.75, math.inf)
    assert host.failure()["error_id"] == "host_did_not_return"
    times = host.times_of("probe")
    assert (times[0], times[-1]) == (18.5, 138.5)


@pytest.mark.parametrize(
    ("restored", "error_id", "text"),
    [
        (
            [ok("not_running", "podman 9 metrics\n"), ok("start_output", "no\n such image")],
            "containers_not_restored",
            "metrics (podman): no such image",
        ),
        ([ok("not_running"), ok("post 1"), ok("post 2", "bad", 4)], "post_command_failed", "exit code 4: bad"),
        ([ok("lock", "", 1)], "run_in_progress", "Another run"),
    ],
)
def test_a_host_must_be_restored(restored: list[Section], error_id: str, text: str) -> None:
    host = Host(restore=answer(*restored))
    failure = host.failure()
    assert (failure["error_id"], failure["rebooted"]) == (error_id, True)
    assert text in failure["msg"]
    assert host.tasks[-1] == "restore"


def test_an_old_kernel_is_reported_after_the_restore() -> None:
    host = Host()
    host.boots_into = OLD
    failure = host.failure()
    assert failure["error_id"] == "old_kernel"
    assert f"booted {OLD} instead of {NEW}" in failure["msg"]
    assert (host.running, failure["boot_id"]) == (CONTAINERS, SECOND)


def test_the_client_is_checked_every_five_seconds() -> None:
    host = Host()
    host.livepatch = APPLYING
    failure = host.failure(protected_timeout=12)
    assert (failure["error_id"], failure["state"], failure["rebooted"]) == ("not_protected", "applying", True)
    assert host.times_of("probe") == [18.5, 23.5, 28.5, 30.5]
    assert "applying, and not protected, after 12 s" in failure["msg"]


def test_a_check_that_fails_is_repeated() -> None:
    host = Host(probe=[answer(*probe(NEW, APPLYING)), ConnectionLost(), answer(complete=False)])
    result = host.reboot(protected_timeout=60)
    assert result["state"] == "protected"
    assert host.times_of("probe") == [18.5, 23.5, 28.5, 33.5]


def test_no_protection_is_waited_for_without_a_client() -> None:
    host = Host()
    host.livepatch = None
    result = host.reboot()
    assert result["rebooted"] is True
    assert "state" not in result
    host = Host()
    host.livepatch = APPLYING
    assert "state" not in host.reboot(require_protected=False)


def test_a_client_that_was_enabled_before_must_return() -> None:
    host = Host(probe=[answer(*probe(NEW, None))])
    result = host.reboot()
    assert result["state"] == "protected"
    assert host.times_of("probe") == [18.5, 23.5]


# --- runs that were interrupted


def test_the_next_run_completes_without_a_second_reboot() -> None:
    host = Host()
    host.down = 500
    assert host.failure(reboot_timeout=20)["error_id"] == "host_did_not_return"
    host.replay.elapsed = 600
    host.times.clear()
    result = host.reboot()
    assert host.tasks == ["look", "restore", "probe"]
    assert (result["rebooted"], result["changed"], result["containers"]) == (False, True, SHOWN)
    assert result["msg"] == f"completed an interrupted run on {NEW}"
    assert "elapsed" not in result
    assert host.running == CONTAINERS
    assert host.reboot()["msg"] == f"{NEW} is already running"


def test_force_does_not_reboot_a_rebooted_host() -> None:
    host = Host()
    host.kernel, host.boot_id, host.saved = NEW, SECOND, (FIRST, CONTAINERS)
    assert host.reboot(force=True)["rebooted"] is False
    assert "reboot" not in host.tasks


def test_an_interrupted_drain_is_repeated() -> None:
    host = Host()
    host.running, host.saved = "docker 1 registry\n", (FIRST, CONTAINERS)
    result = host.reboot()
    assert host.tasks == ["look", "drain", "reboot", "alive", "restore", "probe"]
    assert [each["name"] for each in result["containers"]] == ["registry", "proxy", "db"]


def test_an_interrupted_run_fails_with_the_old_kernel() -> None:
    host = Host()
    host.boot_id, host.saved = SECOND, (FIRST, CONTAINERS)
    assert host.failure()["error_id"] == "old_kernel"
    assert host.running == CONTAINERS


def test_check_mode_shows_what_would_be_completed() -> None:
    host = Host()
    host.kernel, host.boot_id, host.saved = NEW, SECOND, (FIRST, CONTAINERS)
    result = host.reboot(check_mode=True)
    assert (result["changed"], host.tasks) == (True, ["look"])
    assert result["msg"].startswith("would complete an interrupted run")


# --- hosts that cannot be rebooted


def test_an_incomplete_answer_is_a_failure() -> None:
    look = answer(*probe(OLD, PROTECTED, installed=(NEW,)), ok("boot_id", FIRST), complete=False)
    failure = Host(look=look).failure()
    assert (failure["error_id"], failure["rebooted"], failure["containers"]) == ("interrupted", False, [])


def test_a_lost_connection_ends_the_first_check() -> None:
    with pytest.raises(ConnectionLost):
        Host(look=ConnectionLost()).reboot()


def test_only_root_can_reboot() -> None:
    host = Host(look=answer(*probe(OLD, PROTECTED, user="1000"), ok("boot_id", FIRST)))
    assert host.failure(force=True)["error_id"] == "not_root"
    assert host.tasks == ["look"]


def test_a_missing_boot_id_prevents_a_reboot() -> None:
    host = Host(look=answer(*probe(OLD, PROTECTED, installed=(NEW,)), ok("boot_id", "")))
    assert host.failure()["error_id"] == "boot_unknown"
