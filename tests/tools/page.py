# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Check the JavaScript of the report page: types with TypeScript, style and likely mistakes with ESLint.

Both check the one script that the page contains, because its files share one scope. Messages name the file and line.
A sample report is checked too, so that the types describe what Python writes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import trees

sys.path.insert(0, str(trees.ROOT))
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import html
from tests.samples import exposures, reports

SOURCES = trees.ROOT / "tests" / "page"
FOLDER = trees.BUILD / "page"
BINARIES = FOLDER / "node_modules" / ".bin"


def install() -> None:
    """Install the packages of the lock file, unless they are there."""
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    stamp = FOLDER / "node_modules" / "installed"
    FOLDER.mkdir(parents=True, exist_ok=True)
    for source in filter(Path.is_file, SOURCES.iterdir()):
        shutil.copy2(source, FOLDER)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != lock:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)
        stamp.write_text(lock, encoding="utf-8")


def write_script() -> list[str]:
    """Write the script as the page contains it, and return the place in its file of each line."""
    places = []
    with (FOLDER / "page.js").open("w", encoding="utf-8") as script:
        for name in html.SCRIPTS:
            source = html.PAGE / name
            text = source.read_text(encoding="utf-8")
            script.write(text)
            path = source.resolve().relative_to(trees.ROOT)
            places += [f"{path}:{number}" for number in range(1, len(text.splitlines()) + 1)]
    return places


def write_samples() -> None:
    """Write the data of reports as TypeScript, where it must have the type that the script reads."""
    every_state = dataclasses.replace(reports.a_report_with_every_state(), history=reports.a_history())
    lines = []
    for name, report in (
        ("states", every_state),
        ("waivers", reports.a_waived_report()),
        ("vulnerabilities", exposures.an_exposed_report()),
    ):
        page = "".join(html.render(report))
        found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
        assert found, "the page has no data"
        lines.append(f"export const {name}: ReportData = {found[1]};\n")
    (FOLDER / "sample.ts").write_text("".join(lines), encoding="utf-8")
    shutil.copy2(html.PAGE / "types.d.ts", FOLDER)


def check_types(places: list[str]) -> Iterator[str]:
    """Yield what TypeScript reports."""
    outcome = run("tsc", "--project", ".", "--pretty", "false")
    for line in outcome.splitlines():
        found = re.match(r"page\.js\((\d+),(\d+)\): (.*)", line)
        yield f"{places[int(found[1]) - 1]}:{found[2]}: {found[3]}" if found else line


def check_style(places: list[str]) -> Iterator[str]:
    """Yield what ESLint reports."""
    for file in json.loads(run("eslint", "--format", "json", "page.js")):
        for each in file["messages"]:
            yield f"{places[each['line'] - 1]}:{each['column']}: {each['message']} ({each['ruleId']})"


def run(tool: str, *arguments: str) -> str:
    """Return the output of a tool. It fails without output only where it does not work at all."""
    outcome = subprocess.run([BINARIES / tool, *arguments], cwd=FOLDER, stdout=subprocess.PIPE, text=True, check=False)
    if outcome.returncode and not outcome.stdout:
        raise SystemExit(f"{tool} failed with exit code {outcome.returncode}")
    return outcome.stdout


def main() -> int:
    """Return 0 if neither tool reports anything."""
    install()
    places = write_script()
    write_samples()
    complaints = [*check_types(places), *check_style(places)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
