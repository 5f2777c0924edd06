# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The callback `fleet_progress`, looked at as on a terminal, and in a log."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import typing as t
from pathlib import Path

import pyte
import pytest
import yaml

from tests.lab.fleet import Fleet

from .conftest import COLLECTIONS, Ansible

CALLBACK = "kernelops.livepatch.fleet_progress"
ROWS = 50
COUNTS = re.compile(r" *(\d+)/(\d+)( |$)")
SGR = re.compile(rb"\x1b\[[0-9;]*m")
HOSTS = (
    "xenial-generic:xenial-lowlatency:client-10:client-11:stale:tampered:mint:i386"
    ":hostile-values:upgrade-required:unreachable:not-enabled"
)
PLAY: dict[str, t.Any] = {
    "name": "Play",
    "hosts": HOSTS,
    "gather_facts": False,
    "tasks": [
        {
            "name": "Ask",
            "ansible.builtin.raw": "sleep 0.6; {{ 'exit 3' if inventory_hostname in ['mint', 'stale'] else 'exit 0' }}",
        },
        {"name": "Look", "kernelops.livepatch.patch_info": {"network": False}},
        {"name": "Wait", "ansible.builtin.raw": "sleep 1"},
    ],
}
Reply = t.Callable[["Terminal"], bytes]


@dataclasses.dataclass
class Terminal:
    """A terminal in which a command has run: the lines that it ends with, and what stood in the line of its cursor."""

    columns: int
    raw: bytes = b""
    live: list[str] = dataclasses.field(default_factory=list)
    code: int = 0

    def __post_init__(self) -> None:
        self._screen = pyte.HistoryScreen(self.columns, ROWS, history=100_000, ratio=0.1)
        self._stream = pyte.ByteStream(self._screen)

    def feed(self, data: bytes) -> None:
        self.raw += data
        self._stream.feed(data)
        line = self._screen.display[self._screen.cursor.y].rstrip()
        if not self.live or self.live[-1] != line:
            self.live.append(line)

    @property
    def lines(self) -> list[str]:
        above = ["".join(row[column].data for column in range(self.columns)) for row in self._screen.history.top]
        return [line.rstrip() for line in (*above, *self._screen.display)]

    @property
    def progress(self) -> list[str]:
        """The live lines, one after the other."""
        return [line for line in self.live if COUNTS.match(line)]


def run_on_terminal(
    ansible: Ansible, *words: str, columns: int = 100, reply: Reply | None = None, **variables: str
) -> Terminal:
    """Run ansible-playbook on a pseudo-terminal."""
    environment = ansible.environment(
        **{"ANSIBLE_CALLBACKS_ENABLED": CALLBACK, "TERM": "xterm", "LC_ALL": "C.UTF-8", **variables}
    )
    return run_python_on_terminal(ansible.folder, environment, ["-m", "ansible", "playbook", *words], columns, reply)


def run_python_on_terminal(
    folder: Path, environment: t.Mapping[str, str], words: list[str], columns: int, reply: Reply | None = None
) -> Terminal:
    """Run Python on a pseudo-terminal of its own. `reply` is asked again and again for what to type."""
    terminal = Terminal(columns)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_FOREGROUND, *words],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    deadline = time.monotonic() + 120
    # When the last process has closed the terminal, reading it is an error.
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.05)[0]:
                data = os.read(ours, 65536)
                if not data:
                    break
                terminal.feed(data)
            elif reply is not None:
                os.write(ours, reply(terminal))
    terminal.code = process.wait(30)
    os.close(ours)
    return terminal


# A shell would make the terminal the one that controls the command, so that Ctrl-C and prompts work.
_IN_FOREGROUND = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    # Tests that run in the background, as nohup's do, have it ignored.
    "signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def write_play(ansible: Ansible, **changes: t.Any) -> str:
    playbook = ansible.folder / "play.yml"
    playbook.write_text(yaml.safe_dump([{**PLAY, **changes}], sort_keys=False), encoding="utf-8")
    return str(playbook)


def told(lines: list[str]) -> collections.Counter[str]:
    """What was told, without order, banners and blank lines, which hang on who was first."""
    return collections.Counter(line for line in lines if line and not line.startswith("TASK ["))


@pytest.mark.matrix
@pytest.mark.parametrize("strategy", ["linear", "free"])
def test_nothing_is_lost_or_garbled(strategy: str, fleet: Fleet, ansible: Ansible) -> None:
    """With the live line, a terminal ends with exactly what it shows without it, errors included."""
    playbook = write_play(ansible, strategy=strategy)
    plain = run_on_terminal(ansible, playbook, "--forks", "50", ANSIBLE_CALLBACKS_ENABLED="task_results")
    live = run_on_terminal(ansible, playbook, "--forks", "50")
    assert live.progress, live.lines
    assert plain.progress == []
    assert told(live.lines) == told(plain.lines)
    assert live.code == plain.code != 0
    text = "\n".join(live.lines)
    for error in (
        "fatal: [unreachable]: UNREACHABLE!",
        "connect to host unreachable port 22: No route to host",
        "fatal: [mint]: FAILED!",
        "fatal: [stale]: FAILED!",
    ):
        assert error in text.replace("\n", "") or error in text


@pytest.mark.matrix
def test_the_line_counts_states(fleet: Fleet, ansible: Ansible) -> None:
    hosts = "all:!unreachable"
    terminal = run_on_terminal(ansible, write_play(ansible, hosts=hosts, tasks=[PLAY["tasks"][1]]), columns=150)
    looks = [line for line in terminal.live if re.match(rf"Look +\d+/{len(fleet.hosts) - 1}  ", line)]
    assert looks, terminal.lines
    assert any("1 tampered" in line for line in looks)
    assert any(re.search(r" \d+ protected  .*\d:\d\d left$", line) for line in looks)
    done = [int(line.removeprefix("Look").split("/")[0]) for line in looks]
    assert done == sorted(done)


def test_the_line_counts_how_other_tasks_end(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, write_play(ansible), "--forks", "3")
    assert any(re.match(r" *\d+/12  .* \d ok  .*\d failed", line) for line in terminal.progress), terminal.progress
    # Three hosts have failed by then, and are not waited for.
    assert any(re.match(r"\d/9  .* \d ok", line) for line in terminal.progress), terminal.progress


@pytest.mark.matrix
def test_the_check_playbook_over_the_whole_fleet(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, "kernelops.livepatch.check", "-e", '{"livepatch_fail_on": []}', columns=80)
    assert terminal.code == 0, "\n".join(terminal.lines)
    counts = [match for line in terminal.progress if (match := COUNTS.match(line))]
    assert {int(match[2]) for match in counts} == {len(fleet.hosts)}
    assert any("unreachable" in line for line in terminal.progress)
    assert not [line for line in terminal.lines if COUNTS.match(line)], "the line is gone when the run is"
    assert max(len(line) for line in terminal.progress) < 80


def test_colours_only_where_wanted(fleet: Fleet, ansible: Ansible) -> None:
    playbook = write_play(ansible, tasks=PLAY["tasks"][:1])
    plain = run_on_terminal(ansible, playbook, ANSIBLE_NOCOLOR="1")
    coloured = run_on_terminal(ansible, playbook, ANSIBLE_NOCOLOR="0")
    assert plain.progress
    assert coloured.progress
    assert not SGR.search(plain.raw)
    assert re.search(rb"\x1b\[32m\d+ ok\x1b\[0m", coloured.raw)


def test_a_terminal_without_these_characters_gets_others(fleet: Fleet, ansible: Ansible) -> None:
    # Ansible itself refuses to run where the encoding is not UTF-8; streams may have another one all the same.
    terminal = run_on_terminal(ansible, write_play(ansible), "--forks", "2", PYTHONIOENCODING="latin-1")
    assert any(re.search(r" #+\.+ ", line) for line in terminal.progress), terminal.progress


ASK = """
import sys, termios, threading, time
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.status_line import StatusLine, can_be_shown

assert can_be_shown()
line = StatusLine(lambda columns: f"1/2 {columns}", threading.RLock())
time.sleep(0.6)
WAY
time.sleep(0.6)
line.close()
print("!")
"""
SECRETLY = """
mode = termios.tcgetattr(0)
mode[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, mode)
open("/dev/tty", "w").write("Password: ")
"""
OPENLY = """
print("Word: ", end="", flush=True)
"""


@pytest.mark.parametrize(("way", "end"), [(SECRETLY, "Password: !"), (OPENLY, "Word: !")], ids=["secretly", "openly"])
def test_a_question_is_not_drawn_over(way: str, end: str, tmp_path: Path) -> None:
    """A child asks on the terminal itself, without echo, or this process without the end of a line."""
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(COLLECTIONS)}
    terminal = run_python_on_terminal(tmp_path, environment, ["-c", ASK.replace("WAY", way)], 60)
    assert terminal.progress[0] == "1/2 59", terminal.lines
    assert terminal.code == 0, "\n".join(terminal.lines)
    assert terminal.lines[0].endswith(end)


def test_a_prompt_is_left_alone(fleet: Fleet, ansible: Ansible) -> None:
    ask = {"name": "Stop", "ansible.builtin.pause": {"prompt": "Go on, with this word"}}
    typed: list[float] = []

    def reply(terminal: Terminal) -> bytes:
        if not typed and any("Go on" in line for line in terminal.lines):
            typed.append(time.monotonic())
            return b"willingly"
        # Time enough for the line to be drawn over what was typed.
        if len(typed) == 1 and time.monotonic() - typed[0] > 1.5:
            typed.append(0)
            assert any("willingly" in line for line in terminal.lines)
            return b"\r"
        return b""

    hosts = "xenial-generic:client-10:client-11"
    play = write_play(ansible, hosts=hosts, tasks=[PLAY["tasks"][2], ask])
    terminal = run_on_terminal(ansible, play, reply=reply)
    assert terminal.code == 0, "\n".join(terminal.lines)
    assert len(typed) == 2
    assert terminal.progress


@pytest.mark.matrix
def test_an_interrupted_run_leaves_a_clean_terminal(fleet: Fleet, ansible: Ansible) -> None:
    interrupted: list[bool] = []

    def reply(terminal: Terminal) -> bytes:
        if terminal.progress and not interrupted:
            interrupted.append(True)
            return b"\x03"
        return b""

    slow = {"name": "Sleep", "ansible.builtin.raw": "sleep 3"}
    terminal = run_on_terminal(ansible, write_play(ansible, tasks=[slow]), reply=reply)
    assert interrupted
    assert terminal.code != 0
    assert any("User interrupted execution" in line for line in terminal.lines), "\n".join(terminal.lines)
    assert not [line for line in terminal.lines if COUNTS.match(line)]


def test_slow_hosts_are_named(fleet: Fleet, ansible: Ansible) -> None:
    hosts = "xenial-generic:client-10:client-11"
    slow = {"name": "Sleep", "ansible.builtin.raw": "sleep {{ 7 if inventory_hostname == 'client-10' else 0 }}"}
    terminal = run_on_terminal(ansible, write_play(ansible, hosts=hosts, tasks=[slow]))
    assert any(re.match(r"2/3 .*2 ok  0:0\d waiting for client-10$", line) for line in terminal.progress)


def test_a_play_of_one_host_shows_nothing(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, write_play(ansible, hosts="xenial-generic"))
    assert terminal.code == 0
    assert terminal.progress == []


# --- without a terminal ---


def run_in_log(ansible: Ansible, *words: str, **variables: str) -> tuple[str, list[str]]:
    """Run ansible-playbook without a terminal: its standard output, and the lines of progress in its standard error."""
    ended = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words],
        cwd=ansible.folder,
        env=ansible.environment(ANSIBLE_CALLBACKS_ENABLED=CALLBACK, **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return ended.stdout, [line for line in ended.stderr.splitlines() if re.search(r"\bhosts (\(|in \d)", line)]


@pytest.mark.matrix
def test_a_log_gets_milestones(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    play = write_play(ansible, hosts="all:!unreachable", tasks=[PLAY["tasks"][1]])
    output, milestones = run_in_log(ansible, play, "--forks", "3", ANSIBLE_LOG_PATH=str(tmp_path / "ansible.log"))
    total = len(fleet.hosts) - 1
    assert 2 <= len(milestones) <= 5, milestones
    assert re.fullmatch(rf"Look: \d+ of {total} hosts \(\d+ %\): .*\d+ protected.*", milestones[0])
    assert re.fullmatch(rf"Look: {total} hosts in \d:\d\d: .*, 1 tampered, .*", milestones[-1])
    assert "\x1b" not in "".join(milestones)
    assert not any(line in output for line in milestones), "standard output stays as it is, for whatever reads it"
    assert milestones[-1] in (tmp_path / "ansible.log").read_text(encoding="utf-8")


def test_a_short_play_of_few_hosts_leaves_a_log_alone(fleet: Fleet, ansible: Ansible) -> None:
    output, milestones = run_in_log(ansible, write_play(ansible), "--forks", "12")
    assert "fatal: [mint]" in output
    assert milestones == []


def test_a_dumb_terminal_is_no_terminal(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, write_play(ansible, tasks=PLAY["tasks"][:1]), TERM="dumb")
    assert b"\x1b" not in terminal.raw
    assert terminal.progress == []
