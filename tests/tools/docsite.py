# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Build the documentation site in .build/site/html: the guide, and the reference of modules, plugins and roles.

    python tests/tools/docsite.py

A warning of any tool is an error: a broken link must not be published.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import trees

SITE = trees.BUILD / "site"
_DOCS = trees.ROOT / "docs"
_SETTINGS = "breadcrumbs = true\nindexes = true\nuse_html_blobs = false\n"


def lint() -> None:
    """Check the documentation of modules, plugins and roles with antsibull-docs."""
    command = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck"]
    command += ["--validate-collection-refs", "all", "--disallow-unknown-collection-refs"]
    collection = trees.link_collection() / "ansible_collections" / "kernelops" / "livepatch"
    subprocess.run([*command, str(collection)], check=True)


def collect_sources() -> None:
    """Collect the sources: the pages of docs/, and the generated reference."""
    shutil.rmtree(SITE, ignore_errors=True)
    source = SITE / "source"
    shutil.copytree(_DOCS, source)
    shutil.copyfile(_DOCS / "docsite" / "index.md", source / "index.md")
    reference = source / "reference"
    reference.mkdir(mode=0o755)
    # antsibull-docs refuses a folder that others may write to.
    source.chmod(0o755)
    settings = SITE / "antsibull-docs.cfg"
    settings.write_text(_SETTINGS, encoding="utf-8")
    command = ["antsibull-docs", "--config-file", str(settings), "collection", "--use-current", "--squash-hierarchy"]
    command += ["--fail-on-error", "--dest-dir", str(reference), "kernelops.livepatch"]
    subprocess.run(command, check=True)


def main() -> int:
    """Check, collect and build; return the exit code of the first failure."""
    try:
        lint()
        collect_sources()
        command = ["sphinx-build", "--builder", "html", "--fail-on-warning", "--keep-going", "--quiet"]
        command += ["--conf-dir", str(_DOCS / "docsite"), str(SITE / "source"), str(SITE / "html")]
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    print(f"The site is in {SITE.relative_to(trees.ROOT)}/html/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
