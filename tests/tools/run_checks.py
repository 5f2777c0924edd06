# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run sessions of the noxfile, and print the time of each and the number of tests.

    python tests/tools/run_checks.py NAME…

A name is that of a session, or a tag. Sessions that use one processor run at the same time, and the output of each is
printed at its end. After them, sessions with the tag `pair` run two at a time, and then those with the tag `alone` one
after the other. The exit code is 1 if a session failed, or if sessions that have tests ran none.
"""

from __future__ import annotations

import collections
import json
import shutil
import subprocess
import sys
import time
import typing as t
import xml.etree.ElementTree as ET
from pathlib import Path

import trees

REPORTS = trees.BUILD / "reports"
WAYS = {"together": ("--parallel", "auto"), "pair": ("--parallel", "2"), "alone": ()}
"""The ways in which sessions run, in this order, and the options of nox for each. All but the first are tags."""
NOX = (sys.executable, "-m", "nox")


def find_sessions(names: list[str]) -> dict[str, list[str]]:
    """Return the sessions that are named or have a tag that is named, by the way in which they run."""
    listed = subprocess.run([*NOX, "--list", "--json"], cwd=trees.ROOT, check=True, stdout=subprocess.PIPE)
    sessions = [each for each in json.loads(listed.stdout) if {each["name"], *each["tags"]} & set(names)]
    found: dict[str, list[str]] = {way: [] for way in WAYS}
    for each in sessions:
        found[next((way for way in WAYS if way in each["tags"]), "together")].append(each["session"])
    return found


def run_sessions(sessions: list[str], *options: str) -> tuple[int, list[dict[str, t.Any]]]:
    """Run nox; return its exit code, and what it reports on each session."""
    if not sessions:
        return 0, []
    report = REPORTS / "sessions.json"
    report.unlink(missing_ok=True)
    command = [*NOX, "--report", str(report), *options, "--sessions", *sessions]
    code = subprocess.run(command, cwd=trees.ROOT, check=False).returncode
    if not report.is_file():
        return code or 1, []
    return code, json.loads(report.read_text(encoding="utf-8"))["sessions"]


def count_tests(reports: Path) -> collections.Counter[str]:
    """Add up the JUnit files of pytest: `passed`, `failed` (errors too) and `skipped`."""
    counts: collections.Counter[str] = collections.Counter(passed=0, failed=0, skipped=0)
    for report in reports.glob("*.xml"):
        for suite in ET.parse(report).iter("testsuite"):  # noqa: S314  (this run wrote the file)
            tests, failures, errors, skipped = (
                int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
            )
            counts.update(passed=tests - failures - errors - skipped, failed=failures + errors, skipped=skipped)
    return counts


def table(sessions: list[dict[str, t.Any]], total: float) -> list[str]:
    """Return a line for each session: name, result, seconds, and why it did not run."""
    lines = []
    for session in sessions:
        seconds, reason = session["duration"], session["reason"] or ""
        lines.append(f"{session['name']:<14} {session['result']:<8} {seconds:>6.0f} s  {reason}".rstrip())
    return [*lines, f"{'all':<23} {total:>6.0f} s"]


def main(names: list[str]) -> int:
    """Run the sessions, print the table, return the exit code."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    start = time.monotonic()
    found = find_sessions(names)
    if not any(found.values()):
        raise SystemExit(f"no session has one of these names or tags: {' '.join(names)}")
    code = 0
    sessions: dict[str, dict[str, t.Any]] = {}
    for way, options in WAYS.items():
        code_of_way, sessions_of_way = run_sessions(found[way], *options)
        code = code or code_of_way
        for session in sessions_of_way:
            # A session that others require is in each; its first run counts.
            sessions.setdefault(session["name"], session)
    print("", *table(list(sessions.values()), time.monotonic() - start), sep="\n")
    if any(REPORTS.glob("*.xml")):
        counts = count_tests(REPORTS)
        print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
        if not counts["passed"] and not counts["failed"]:
            print("No test ran.", file=sys.stderr)
            return code or 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
