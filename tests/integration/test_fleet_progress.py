# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The callback `fleet_progress`, on a terminal and in a log."""

from __future__ import annotations

import collections
import re
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.lab.fleet import Fleet

from .conftest import Ansible
from .terminal import COUNTS, Reply, Terminal, run_python_on_terminal

CALLBACK = "kernelops.livepatch.fleet_progress"
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


def run_on_terminal(
    ansible: Ansible, *words: str, columns: int = 100, reply: Reply | None = None, **variables: str
) -> Terminal:
    """Run ansible-playbook on a pseudo-terminal."""
    environment = ansible.environment(
        **{"ANSIBLE_CALLBACKS_ENABLED": CALLBACK, "TERM": "xterm", "LC_ALL": "C.UTF-8", **variables}
    )
    return run_python_on_terminal(ansible.folder, environment, ["-m", "ansible", "playbook", *words], columns, reply)


def write_play(ansible: Ansible, **changes: t.Any) -> str:
    playbook = ansible.folder / "play.yml"
    playbook.write_text(yaml.safe_dump([{**PLAY, **changes}], sort_keys=False), encoding="utf-8")
    return str(playbook)


def content(lines: list[str]) -> collections.Counter[str]:
    """Return the lines without order, banners and blank lines: these depend on the first host that ends."""
    return collections.Counter(line for line in lines if line and not line.startswith("TASK ["))


@pytest.mark.matrix
@pytest.mark.parametrize("strategy", ["linear", pytest.param("free", marks=pytest.mark.terminal)])
def test_the_status_line_leaves_no_trace(strategy: str, fleet: Fleet, ansible: Ansible) -> None:
    """The terminal ends with the same lines, errors included, as without the status line."""
    playbook = write_play(ansible, strategy=strategy)
    plain = run_on_terminal(ansible, playbook, "--forks", "50", ANSIBLE_CALLBACKS_ENABLED="task_results")
    live = run_on_terminal(ansible, playbook, "--forks", "50")
    assert live.progress, live.lines
    assert plain.progress == []
    assert content(live.lines) == content(plain.lines)
    assert live.code == plain.code != 0
    text = "\n".join(live.lines)
    for error in (
        "fatal: [unreachable]: UNREACHABLE!",
        "connect to host unreachable port 22: No route to host",
        "fatal: [mint]: FAILED!",
        "fatal: [stale]: FAILED!",
    ):
        assert error in text.replace("\n", "") or error in text


@pytest.mark.terminal
@pytest.mark.matrix
def test_the_line_counts_states(fleet: Fleet, ansible: Ansible) -> None:
    extra = '{"livepatch_fail_on": []}'
    terminal = run_on_terminal(ansible, "kernelops.livepatch.check", "-e", extra, columns=150)
    assert terminal.code == 0, "\n".join(terminal.lines)
    # A wide line begins with the name of the task.
    lines = [line for line in terminal.live if re.match(rf"\w.* \d+/{len(fleet.hosts)}  ", line)]
    done = [int(line.partition("/")[0].split()[-1]) for line in lines]
    assert done
    assert done == sorted(done)
    assert any("1 tampered" in line for line in lines)
    assert any("1 no_answer" in line for line in lines)
    assert any(re.search(r" \d+ protected  .*\d:\d\d left$", line) for line in lines)
    assert not [line for line in terminal.lines if line in lines], "the line is removed at the end"


@pytest.mark.terminal
def test_the_line_is_shorter_than_the_terminal(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, write_play(ansible, tasks=[PLAY["tasks"][1]]), columns=60)
    assert terminal.progress
    assert max(len(line) for line in terminal.progress) < 60


@pytest.mark.terminal
def test_the_line_counts_results_of_other_tasks(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, write_play(ansible), "--forks", "3")
    assert any(re.match(r" *\d+/12  .* \d ok  .*\d failed", line) for line in terminal.progress), terminal.progress
    # Three hosts have failed before, and are not counted.
    assert any(re.match(r"\d/9  .* \d ok", line) for line in terminal.progress), terminal.progress


@pytest.mark.terminal
def test_colours_follow_the_settings(fleet: Fleet, ansible: Ansible) -> None:
    playbook = write_play(ansible, tasks=PLAY["tasks"][:1])
    plain = run_on_terminal(ansible, playbook, ANSIBLE_NOCOLOR="1")
    coloured = run_on_terminal(ansible, playbook, ANSIBLE_NOCOLOR="0")
    assert plain.progress
    assert coloured.progress
    assert not SGR.search(plain.raw)
    assert re.search(rb"\x1b\[32m\d+ ok\x1b\[0m", coloured.raw)


@pytest.mark.terminal
def test_other_encodings_get_other_characters(fleet: Fleet, ansible: Ansible) -> None:
    # Ansible requires a UTF-8 locale, but streams can have another encoding.
    terminal = run_on_terminal(ansible, write_play(ansible), "--forks", "2", PYTHONIOENCODING="latin-1")
    assert any(re.search(r" #+\.+ ", line) for line in terminal.progress), terminal.progress


@pytest.mark.terminal
def test_a_prompt_is_not_drawn_over(fleet: Fleet, ansible: Ansible) -> None:
    ask = {"name": "Stop", "ansible.builtin.pause": {"prompt": "Go on, with this word"}}
    typed: list[float] = []

    def reply(terminal: Terminal) -> bytes:
        if not typed and any("Go on" in line for line in terminal.lines):
            typed.append(time.monotonic())
            return b"willingly"
        # By now, the line would have been drawn over the input.
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
        # Ansible's own handler can fail while workers are forked, so only one of them is left.
        if not interrupted and any(re.search(r"\b11/12\b", line) for line in terminal.progress):
            interrupted.append(True)
            return b"\x03"
        return b""

    slow = {"name": "Sleep", "ansible.builtin.raw": "sleep {{ 30 if inventory_hostname == 'client-10' else 0 }}"}
    terminal = run_on_terminal(ansible, write_play(ansible, tasks=[slow]), reply=reply)
    assert interrupted
    assert terminal.code != 0
    assert any("User interrupted execution" in line for line in terminal.lines), "\n".join(terminal.lines)
    assert not [line for line in terminal.lines if COUNTS.match(line)]


@pytest.mark.terminal
def test_slow_hosts_are_named(fleet: Fleet, ansible: Ansible) -> None:
    hosts = "xenial-generic:client-10:client-11"
    slow = {"name": "Sleep", "ansible.builtin.raw": "sleep {{ 7 if inventory_hostname == 'client-10' else 0 }}"}
    terminal = run_on_terminal(ansible, write_play(ansible, hosts=hosts, tasks=[slow]))
    assert any(re.match(r"2/3 .*2 ok  0:0\d waiting for client-10$", line) for line in terminal.progress)


@pytest.mark.terminal
def test_one_host_gets_no_line(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, write_play(ansible, hosts="xenial-generic"))
    assert terminal.code == 0
    assert terminal.progress == []


# --- without a terminal ---


def run_in_log(ansible: Ansible, *words: str, **variables: str) -> tuple[str, list[str]]:
    """Run ansible-playbook without a terminal; return its output, and the lines of progress among its errors."""
    ended = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words],
        cwd=ansible.folder,
        env=ansible.environment(ANSIBLE_CALLBACKS_ENABLED=CALLBACK, **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return ended.stdout, [line for line in ended.stderr.splitlines() if re.search(r"\bhosts (\(|in \d)", line)]


@pytest.mark.terminal
@pytest.mark.matrix
def test_a_log_gets_milestones(fleet: Fleet, ansible: Ansible, tmp_path: Path) -> None:
    play = write_play(ansible, hosts="all:!unreachable", tasks=[PLAY["tasks"][1]])
    output, milestones = run_in_log(ansible, play, "--forks", "3", ANSIBLE_LOG_PATH=str(tmp_path / "ansible.log"))
    total = len(fleet.hosts) - 1
    assert 2 <= len(milestones) <= 5, milestones
    assert re.fullmatch(rf"Look: \d+ of {total} hosts \(\d+ %\): .*\d+ protected.*", milestones[0])
    assert re.fullmatch(rf"Look: {total} hosts in \d:\d\d: .*, 1 tampered, .*", milestones[-1])
    assert "\x1b" not in "".join(milestones)
    assert not any(line in output for line in milestones), "standard output is unchanged"
    assert milestones[-1] in (tmp_path / "ansible.log").read_text(encoding="utf-8")


@pytest.mark.terminal
def test_a_short_play_writes_no_milestones(fleet: Fleet, ansible: Ansible) -> None:
    output, milestones = run_in_log(ansible, write_play(ansible), "--forks", "12")
    assert "fatal: [mint]" in output
    assert milestones == []


@pytest.mark.terminal
def test_a_dumb_terminal_gets_no_line(fleet: Fleet, ansible: Ansible) -> None:
    terminal = run_on_terminal(ansible, write_play(ansible, tasks=PLAY["tasks"][:1]), TERM="dumb")
    assert b"\x1b" not in terminal.raw
    assert terminal.progress == []
