# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Commands that a task yields, and the waits that are built from them.

A task is a generator: it yields a command, is sent the answer, and returns its result. It raises `LivepatchError` to
fail. The caller performs the commands: `plugin_utils/_driver.py` against a host, tests from recorded answers with
a simulated clock. A task itself never sleeps, reads a clock or uses a connection.

The functions here are what tasks use, as in ``sections = yield from run_script("probe", variables)``.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import typing as t

from .._decisions.eligibility import KernelSupport
from .._host.facts import HostFacts
from .._host.sections import Sections
from .._record import Record

ANSWER_TIMEOUT = 120
"""Seconds in which a host must answer by default. A script that waits on the host has some more."""

_SHORTEST_ANSWER_TIMEOUT = 10
_LONGEST_ANSWER_TIMEOUT = 3600

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
"""Seconds between two attempts of `poll`: the first pause is doubled up to the longest."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunScript:
    """Run the shell parts `parts` as one script on the host, with `variables` as ``lp_<name>``.

    Answer: `Sections`. With `secret`, a variable holds a secret, and the script never goes onto a command line. With
    `may_fail`, the answer is None where the host cannot be reached, refuses the login, or the answer is incomplete; the
    connection is then closed, so that the next script opens a new one. A round trip that takes longer than the option
    `answer_timeout` and the `extra_seconds` of this script together is interrupted, which is the error ``timed_out``.
    The text of the script `later` becomes the variable ``lp_later``, for work that the host does without a controller.
    """

    parts: tuple[str, ...]
    variables: c.Mapping[str, str]
    secret: bool = False
    may_fail: bool = False
    extra_seconds: float = 0
    later: RunScript | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ResetConnection:
    """Close the connection: the next script opens a new one. Answer: None."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for `seconds`. Answer: None."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class ReadClock:
    """Read the controller's clock. Answer: `Instant`."""


@dataclasses.dataclass(frozen=True, slots=True)
class AskService:
    """Ask the livepatch server whether it supports the kernel of `facts`. Answer: `KernelSupport`.

    `server` is the address of the server, None for the hosted one. `ca_path` and `proxy` say how the controller
    reaches it, None for the authorities and the proxy of its environment.
    """

    server: str | None
    facts: HostFacts
    ca_path: str | None = None
    proxy: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StoreRecord:
    """Store a record. `place` is a folder on the controller, or the address of a store.

    Answer: the path of the file as text, None for a store that has no files.
    """

    record: Record
    place: str


@dataclasses.dataclass(frozen=True, slots=True)
class ShowTable:
    """Print a table on the terminal. `render` takes ``columns`` and ``colour`` and returns the text. Answer: None."""

    render: t.Callable[..., t.Iterable[str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Warn:
    """Print a warning, once a run. Answer: None."""

    message: str


Command: t.TypeAlias = "RunScript | ResetConnection | Sleep | ReadClock | AskService | StoreRecord | ShowTable | Warn"


class Instant(t.NamedTuple):
    """A reading of the controller's clock: the time in UTC, and seconds of a clock that never goes back."""

    utc: datetime.datetime
    monotonic: float


def answer_timeout_fault(seconds: int) -> str | None:
    """Return what is wrong with a value of the option `answer_timeout`."""
    if _SHORTEST_ANSWER_TIMEOUT <= seconds <= _LONGEST_ANSWER_TIMEOUT:
        return None
    return f"{seconds} is not between {_SHORTEST_ANSWER_TIMEOUT} and {_LONGEST_ANSWER_TIMEOUT} seconds"


_T = t.TypeVar("_T")
Task: t.TypeAlias = c.Generator[Command, t.Any, _T]
"""A generator that yields commands, receives their answers, and returns a `_T`."""


def run_script(
    parts: str | c.Sequence[str], variables: c.Mapping[str, str], *, secret: bool = False, extra_seconds: float = 0
) -> Task[Sections]:
    """Run a script on the host. Raises `LivepatchError` where it could not be run."""
    answer = yield RunScript(_as_parts(parts), variables, secret, extra_seconds=extra_seconds)
    return t.cast("Sections", answer)


def try_script(
    parts: str | c.Sequence[str],
    variables: c.Mapping[str, str],
    *,
    extra_seconds: float = 0,
    later: RunScript | None = None,
) -> Task[Sections | None]:
    """Run a script on a host that may be down; None where there is no complete answer."""
    answer = yield RunScript(_as_parts(parts), variables, may_fail=True, extra_seconds=extra_seconds, later=later)
    return t.cast("Sections | None", answer)


def reset_connection() -> Task[None]:
    """Close the connection to the host."""
    yield ResetConnection()


def sleep(seconds: float) -> Task[None]:
    """Wait."""
    yield Sleep(seconds)


def read_clock() -> Task[Instant]:
    """Read the controller's clock."""
    answer = yield ReadClock()
    return t.cast("Instant", answer)


def ask_service(
    server: str | None, facts: HostFacts, *, ca_path: str | None = None, proxy: str | None = None
) -> Task[KernelSupport]:
    """Ask the livepatch server about the kernel of a host."""
    answer = yield AskService(server, facts, ca_path, proxy)
    return t.cast("KernelSupport", answer)


def store_record(record: Record, place: str) -> Task[str | None]:
    """Store a record and return the path of its file, if it has one. Raises `LivepatchError`."""
    answer = yield StoreRecord(record, place)
    return t.cast("str | None", answer)


def show_table(render: t.Callable[..., t.Iterable[str]]) -> Task[None]:
    """Print a table on the terminal."""
    yield ShowTable(render)


def warn(message: str) -> Task[None]:
    """Print a warning."""
    yield Warn(message)


def poll(seconds: float, attempt: c.Callable[[], Task[_T | None]]) -> Task[_T | None]:
    """Repeat `attempt` with growing pauses until it returns something, for at most `seconds`; None without success."""
    deadline = (yield from read_clock()).monotonic + seconds
    pause = FIRST_PAUSE
    while True:
        answer = yield from attempt()
        left = deadline - (yield from read_clock()).monotonic
        if answer is not None or left <= 0:
            return answer
        yield from sleep(min(pause, left))
        pause = min(pause * 2, LONGEST_PAUSE)


def _as_parts(parts: str | c.Sequence[str]) -> tuple[str, ...]:
    return (parts,) if isinstance(parts, str) else tuple(parts)
