# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fuzzing of everything that reads untrusted input, for a limited time.

``python -m tests.fuzz --seconds 60`` divides the time between all targets. ``--target list --seed 7`` repeats the
cases of a run for one of them, and ``--target list --input FILE`` reads one input. A reader may refuse an input only
with the errors of its target, within `CASE_SECONDS`, and with less than `MEMORY` more than before. Inputs with other
results are stored in ``.build/fuzz``, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from tests.fuzz.mutation import mutated  # noqa: E402  (found by the path above)
from tests.fuzz.targets import TARGETS, Target  # noqa: E402  (found by the path above)

FOUND = REPOSITORY / ".build" / "fuzz"
CASE_SECONDS = 10
"""Seconds of processor time of one input."""
MEMORY = 300 << 20


class TooSlowError(BaseException):
    """An input takes more than `CASE_SECONDS`. Not an `Exception`, because a reader could catch that."""


class Fault(t.NamedTuple):
    """A fault: its exception with the place in the code, and the first input that shows it."""

    text: str
    path: str


def fuzz(name: str, target: Target, seed: int, seconds: float) -> dict[str, t.Any]:
    """Read changed inputs for some seconds. Return the figures."""
    chance = random.Random(f"{seed} {name}")  # noqa: S311  (not a secret)
    faults: dict[str, Fault] = {}
    refused: collections.Counter[str] = collections.Counter()
    cases, slowest = 0, 0.0
    signal.signal(signal.SIGPROF, _raise_too_slow)
    before = _peak_memory()
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while time.monotonic() < end:
            data = mutated(chance.choice(target.seeds), target.seeds, chance)
            started = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)
            try:
                target.run(data, Path(folder))
            except target.errors as error:
                refused[type(error).__name__] += 1
            except (Exception, TooSlowError) as error:
                place = _place_of(error)
                if place not in faults:
                    faults[place] = Fault(place, _store(name, data))
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, time.process_time() - started)
            cases += 1
    grown = _peak_memory() - before
    if grown > MEMORY:
        faults["memory"] = Fault(f"uses {grown >> 20} MiB", "")
    return {
        "cases": cases,
        "refused": sum(refused.values()),
        "slowest": round(slowest, 2),
        "memory_mib": grown >> 20,
        "faults": [fault._asdict() for fault in faults.values()],
    }


def _raise_too_slow(_signal: int, _frame: object) -> None:
    raise TooSlowError(f"more than {CASE_SECONDS} s")


def _place_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "module_utils" in frame.filename] or frames
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
    return (
        f"{type(error).__name__} in {where}: {str(error)[:100]!a}"
        if isinstance(error, Exception)
        else f"{error} in {where}"
    )


def _store(name: str, data: bytes) -> str:
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return str(path.relative_to(REPOSITORY))


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _in_process(name: str, seed: int, seconds: float) -> dict[str, t.Any]:
    """Fuzz a target in a process of its own, so that its memory can be measured and its crash noticed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with open(write, "w", encoding="utf-8") as answer:
            json.dump(fuzz(name, TARGETS[name], seed, seconds), answer)
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as answer:
        text = answer.read()
    _pid, status = os.waitpid(child, 0)
    if status:
        return {"faults": [Fault(f"the process ended with {os.waitstatus_to_exitcode(status)}", "")._asdict()]}
    found: dict[str, t.Any] = json.loads(text)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="seconds for all targets together")
    seed = random.randrange(1 << 32)  # noqa: S311  (not a secret)
    parser.add_argument("--seed", type=int, default=seed, help="number that repeats a run")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one, repeatable")
    parser.add_argument("--input", type=Path, help="read only this file, with the given target")
    options = parser.parse_args()
    names = options.target or sorted(TARGETS)
    if options.input:
        with tempfile.TemporaryDirectory() as folder:
            TARGETS[names[0]].run(options.input.read_bytes(), Path(folder))
        return 0
    print(f"seed {options.seed}, {options.seconds:g} s for {len(names)} targets", flush=True)
    failed = False
    for name in names:
        found = _in_process(name, options.seed, options.seconds / len(names))
        failed = failed or bool(found["faults"])
        print(f"{name:14}", *(f"{key} {value}" for key, value in found.items() if key != "faults"), flush=True)
        for fault in found["faults"]:
            print(f"    FAULT {fault['text']}  {fault['path']}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
