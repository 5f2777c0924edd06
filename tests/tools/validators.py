# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Check the report of a fleet with validators of others: HTML, accessibility and SARIF.

HTML is checked by html-validate and, where Java exists, by the Nu checker of the W3C. axe-core checks the rules of
WCAG 2.2 AA in Chromium, in both colour schemes, in wide and narrow windows, and with an open host. SARIF is checked by
the Multitool of Microsoft.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import trees
from selenium import webdriver

sys.path.insert(0, str(trees.ROOT))
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import html, sarif
from tests.samples.fleets import a_fleet_of_300

SOURCES = trees.ROOT / "tests" / "validators"
FOLDER = trees.BUILD / "validators"
PACKAGES = FOLDER / "node_modules"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ADDRESSES = ("", "#host=cache280", "#state=exposed")
AXE = """
const done = arguments[1];
const describe = ({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" ")}`;
axe.run(document, { runOnly: arguments[0] }).then(({ violations }) => done(violations.map(describe)));
"""


def install() -> None:
    """Install the packages of the lock file, unless they are there."""
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    stamp = PACKAGES / "installed"
    FOLDER.mkdir(parents=True, exist_ok=True)
    for source in filter(Path.is_file, SOURCES.iterdir()):
        shutil.copy2(source, FOLDER)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != lock:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)
        stamp.write_text(lock, encoding="utf-8")


def check_html(page: Path) -> Iterator[str]:
    """Yield the complaints of html-validate and of the Nu checker."""
    outcome = subprocess.run(
        ["node", PACKAGES / ".bin" / "html-validate", page], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        yield outcome.stdout + outcome.stderr
    if shutil.which("java") is None:
        print("The Nu checker was left out: there is no Java.")
        return
    checker = PACKAGES / "vnu-jar" / "build" / "dist" / "vnu.jar"
    command = ["java", "-jar", checker, "--errors-only", "--format", "gnu", page]
    yield from subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()


def check_accessibility(page: Path) -> Iterator[str]:
    """Yield the violations that axe-core finds."""
    program, service = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or service is None:
        print("axe-core was left out: there is no Chromium with chromedriver.")
        return
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"):
        options.add_argument(option)
    driver = webdriver.Chrome(options, webdriver.ChromeService(service))
    driver.set_script_timeout(300)
    axe = (PACKAGES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    for width in (1440, 375):
        for scheme in ("light", "dark"):
            for address in ADDRESSES:
                metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                colours = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
                driver.get("about:blank")
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
                driver.get(page.as_uri() + address)
                driver.execute_script(axe)
                found: list[str] = driver.execute_async_script(AXE, RULES)
                yield from (f"{width} pixels, {scheme}, {address or 'all hosts'}: {each}" for each in found)
    driver.quit()


def check_sarif(document: Path) -> Iterator[str]:
    """Yield the errors and warnings of Microsoft's validator."""
    tool = PACKAGES / "@microsoft" / "sarif-multitool-linux" / "Sarif.Multitool"
    tool.chmod(0o755)
    environment = {
        **os.environ,
        "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
        "DOTNET_BUNDLE_EXTRACT_BASE_DIR": str(FOLDER / "dotnet"),
    }
    command = [tool, "validate", document]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "Analysis completed successfully" not in outcome.stdout or re.search(r"\b(error|warning) ", outcome.stdout):
        yield outcome.stdout + outcome.stderr


def main() -> int:
    """Return 0 if no validator complains."""
    install()
    report = a_fleet_of_300()
    page, document = FOLDER / "fleet.html", FOLDER / "fleet.sarif"
    page.write_text("".join(html.render(report)), encoding="utf-8")
    document.write_text("".join(sarif.render(report)), encoding="utf-8")
    complaints = [*check_html(page), *check_sarif(document), *check_accessibility(page)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
