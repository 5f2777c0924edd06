# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Make the pictures of the report page in `docs/images` with Chromium.

The page is that of the demonstration, which runs first. Its history has one day only, so the picture of the history is
that of the sample fleet of the tests.
"""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import trees
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

sys.path.insert(0, str(trees.ROOT))
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats import html
from tests.samples.fleets import a_fleet_of_300

FOLDER = trees.BUILD / "screenshots"
IMAGES = trees.ROOT / "docs" / "images"
COLOURS = 64
"""Of a picture: enough for the marks of all states. The archive of a release must stay small."""


class Picture(t.NamedTuple):
    """A picture: the part of the page at an address that a window shows, or an element of it."""

    name: str
    page: str
    width: int
    height: int
    scheme: str = "light"
    address: str = ""
    element: str = ""


PICTURES = (
    Picture("report-page", "demonstration", 1280, 800),
    Picture("report-page-host", "demonstration", 1280, 800, "dark", "#host=app-prod-12"),
    Picture("report-page-phone", "demonstration", 390, 844),
    Picture("report-history", "sample", 1100, 800, element="#history"),
)


def pages() -> dict[str, Path]:
    """Run the demonstration, and return the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    demonstration = FOLDER / "demonstration"
    subprocess.run([sys.executable, "tests/lab/demo", "--dir", str(demonstration)], cwd=trees.ROOT, check=True)
    sample = FOLDER / "sample.html"
    sample.write_text("".join(html.render(a_fleet_of_300())), encoding="utf-8")
    return {"demonstration": demonstration / "livepatch-report" / "fleet.html", "sample": sample}


def start_browser() -> webdriver.Chrome:
    """Start the Chromium of the distribution."""
    program, service = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or service is None:
        sys.exit("There is no Chromium with chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"):
        options.add_argument(option)
    return webdriver.Chrome(options, webdriver.ChromeService(service))


def take(driver: webdriver.Chrome, picture: Picture, page: Path) -> bytes:
    """Return a picture as PNG, as the browser makes it."""
    metrics = {"width": picture.width, "height": picture.height, "deviceScaleFactor": 1, "mobile": False}
    colours = {"features": [{"name": "prefers-color-scheme", "value": picture.scheme}]}
    driver.get("about:blank")
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
    driver.get(page.as_uri() + picture.address)
    # The focus of an open host is on a button, and its frame distracts.
    shown = "document.activeElement.blur(); return document.fonts.ready.then(() => document.body.offsetHeight > 0)"
    WebDriverWait(driver, 30).until(lambda driver: driver.execute_script(shown))
    options: dict[str, t.Any] = {"format": "png"}
    if picture.element:
        place = f"const {{x, y, width, height}} = document.querySelector('{picture.element}').getBoundingClientRect();"
        clip = driver.execute_script(f"{place} return {{x, y: y + window.scrollY, width, height, scale: 1}}")
        options |= {"captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"])


def reduce(png: bytes) -> Image.Image:
    """Return a picture with few colours."""
    return (
        Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    )


def main() -> None:
    """Make all pictures."""
    found = pages()
    driver = start_browser()
    try:
        for picture in PICTURES:
            target = IMAGES / f"{picture.name}.png"
            reduce(take(driver, picture, found[picture.page])).save(target, optimize=True)
            print(f"{target.relative_to(trees.ROOT)}: {target.stat().st_size} bytes")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
