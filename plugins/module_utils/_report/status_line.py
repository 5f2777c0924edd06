# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Draw a status line at the bottom of a terminal, and erase it before any other output appears."""

from __future__ import annotations

import atexit
import os
import sys
import termios
import threading
import time
import typing as t

_PERIOD = 0.25  # seconds between two updates
_CLOSEST = 0.1  # seconds between two drawings
_ERASE = b"\r\x1b[2K"  # ECMA-48: to the first column, and erase all of the line
_USUAL_COLUMNS = 80

Text = t.Callable[[int], str]
"""Returns the line for a terminal with this number of columns, or an empty text for no line."""


class StatusLine:
    """Draws the line from `text` on standard output, which must be a terminal (see `can_be_shown`).

    Everything that this process writes to the terminal passes through the buffers of standard output and error.
    Their ``write`` is wrapped as ansible-core's own display wraps it for forks, and with the same `lock`: while a
    worker is forked no other thread holds it, and no output can appear between erasing the line and the text that
    replaces it.
    """

    def __init__(self, text: Text, lock: threading.RLock) -> None:
        self._text = text
        self._lock = lock
        self._process = os.getpid()
        self._terminal = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding
        self._shown = ""
        self._drawn_at = 0.0
        self._at_line_start = True
        self._restore: list[t.Callable[[], None]] = []
        self._write = sys.stdout.buffer.write
        self._flush = sys.stdout.buffer.flush
        for stream in (sys.stdout, sys.stderr):
            if stream.isatty():
                self._guard(stream.buffer)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="fleet_progress", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def refresh(self) -> None:
        """Draw the current line, unless it was drawn very recently: the next update then draws it."""
        with self._lock:
            if not self._shown or time.monotonic() - self._drawn_at >= _CLOSEST:
                self._show()

    def close(self) -> None:
        """Erase the line permanently, and restore the streams."""
        if os.getpid() != self._process or self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        with self._lock:
            self._erase()
            for restore in self._restore:
                restore()
        atexit.unregister(self.close)

    def _keep_up(self) -> None:
        while not self._closed.wait(_PERIOD):
            with self._lock:
                self._show()

    def _show(self) -> None:
        if not _is_at_rest(self._terminal):
            # Erasing now could erase a prompt.
            self._shown = ""
            return
        # The last column stays free: a line that fills it is wrapped by some terminals.
        text = self._text(_columns(self._terminal) - 1) if self._at_line_start else ""
        if text == self._shown:
            return
        if not text:
            self._erase()
            return
        self._drawn_at = time.monotonic()
        self._shown = text
        self._put(_ERASE + text.encode(self._encoding, "replace"))

    def _erase(self) -> None:
        if self._shown:
            self._shown = ""
            self._put(_ERASE)

    def _put(self, data: bytes) -> None:
        try:
            self._write(data)
            self._flush()
        except OSError:
            # The terminal is gone or blocked. Later output reports the error.
            self._closed.set()

    def _guard(self, buffer: t.Any) -> None:
        write = buffer.write

        def erase_and_write(data: t.Any) -> t.Any:
            with self._lock:
                if os.getpid() == self._process and len(data):
                    self._erase()
                    self._at_line_start = bytes(data[-1:]) == b"\n"
                return write(data)

        def restore() -> None:
            if buffer.write is erase_and_write:
                buffer.write = write

        buffer.write = erase_and_write
        self._restore.append(restore)


def can_be_shown() -> bool:
    """Return True if standard output is a terminal in its usual mode on which a line can be erased."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and _is_at_rest(sys.stdout.fileno())


def shows(characters: str) -> bool:
    """Return True if standard output can encode these characters."""
    try:
        characters.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _is_at_rest(terminal: int) -> bool:
    """Return True if no prompt is active: prompts switch off the echo or the line mode of the terminal."""
    try:
        flags = termios.tcgetattr(terminal)[3]
    except termios.error:
        return False
    return bool(flags & termios.ECHO and flags & termios.ICANON)


def _columns(terminal: int) -> int:
    try:
        return os.get_terminal_size(terminal).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS
