# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Coverage of the core by the unit tests, for lines and for branches.

    python tests/tools/core_coverage.py

Reads the data of `coverage run --branch`, prints both figures and the missing lines of the files with the most of them,
and fails when a figure is below its goal. A file that no test imports counts with all its lines.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import coverage

LINES, BRANCHES = 95.0, 90.0
_NAMED = 5


def main() -> int:
    measured = coverage.Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder, "coverage.json")
        measured.json_report(outfile=str(document))
        found = json.loads(document.read_text(encoding="utf-8"))
    totals = found["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    print(f"the core: {lines:.1f} % of {totals['num_statements']} lines (goal {LINES:g} %)", end=", ")
    print(f"{branches:.1f} % of {totals['num_branches']} branches (goal {BRANCHES:g} %)")
    missing = {
        path: file["summary"]["missing_lines"] + file["summary"]["missing_branches"]
        for path, file in found["files"].items()
    }
    least = [path for path in sorted(missing, key=lambda path: -missing[path])[:_NAMED] if missing[path]]
    if least:
        out = io.StringIO()
        measured.report(least, show_missing=True, file=out)
        print(out.getvalue())
    return 0 if lines >= LINES and branches >= BRANCHES else 1


if __name__ == "__main__":
    raise SystemExit(main())
