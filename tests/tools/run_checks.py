# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run sessions of the noxfile and close with the time of each and the number of tests.

    python tests/tools/run_checks.py [words for nox]

The exit code is nox's, or 1 when sessions that hold tests ran none.
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
SESSIONS = REPORTS / "sessions.json"


def count_tests(reports: Path) -> collections.Counter[str]:
    """Add up pytest's JUnit files: `passed`, `failed` (errors too) and `skipped`."""
    counts: collections.Counter[str] = collections.Counter(passed=0, failed=0, skipped=0)
    for report in reports.glob("*.xml"):
        for suite in ET.parse(report).iter("testsuite"):  # noqa: S314  (this run wrote the file)
            tests, failures, errors, skipped = (
                int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
            )
            counts.update(passed=tests - failures - errors - skipped, failed=failures + errors, skipped=skipped)
    return counts


def table(sessions: list[dict[str, t.Any]], total: float) -> list[str]:
    """One line a session: name, result, seconds, and why it did not run."""
    lines = []
    for session in sessions:
        seconds, reason = session["duration"], session["reason"] or ""
        lines.append(f"{session['name']:<14} {session['result']:<8} {seconds:>6.0f} s  {reason}".rstrip())
    return [*lines, f"{'all':<23} {total:>6.0f} s"]


def main(arguments: list[str]) -> int:
    """Run nox, print the closing lines, return the exit code."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    start = time.monotonic()
    command = [sys.executable, "-m", "nox", "--report", str(SESSIONS), *arguments]
    code = subprocess.run(command, cwd=trees.ROOT, check=False).returncode
    if not SESSIONS.is_file():
        return code or 1
    print("", *table(json.loads(SESSIONS.read_text(encoding="utf-8"))["sessions"], time.monotonic() - start), sep="\n")
    if any(REPORTS.glob("*.xml")):
        counts = count_tests(REPORTS)
        print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
        if not counts["passed"] and not counts["failed"]:
            print("No test ran.", file=sys.stderr)
            return code or 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
