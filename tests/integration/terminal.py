# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Commands on a pseudo-terminal, and what a terminal shows of their output."""

from __future__ import annotations

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

ROWS = 50
COUNTS = re.compile(r" *(\d+)/(\d+)( |$)")
Reply = t.Callable[["Terminal"], bytes]


@dataclasses.dataclass
class Terminal:
    """A terminal on which a command ran: its last lines, and each content of the line with the cursor."""

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
        """Return the status lines in their order."""
        return [line for line in self.live if COUNTS.match(line)]


def run_python_on_terminal(
    folder: Path, environment: t.Mapping[str, str], words: list[str], columns: int, reply: Reply | None = None
) -> Terminal:
    """Run Python on a new pseudo-terminal. `reply` returns the next input, or nothing."""
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
    deadline = time.monotonic() + 300
    # Reading is an error after the last process has closed the terminal.
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.05)[0]:
                data = os.read(ours, 65536)
                if not data:
                    break
                terminal.feed(data)
            elif reply is not None:
                os.write(ours, reply(terminal))
    terminal.code = process.wait(60)
    os.close(ours)
    return terminal


# Like a shell, makes the terminal control the command, so that Ctrl-C and prompts work.
_IN_FOREGROUND = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    # A test that runs in the background, for instance with nohup, ignores it.
    "signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
