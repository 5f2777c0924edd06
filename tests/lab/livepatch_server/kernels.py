# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The support status of kernels."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("kernels.yml")
_FULL_NAME = re.compile(r"(?P<series>[0-9]+\.[0-9]+)\.[0-9]+-[0-9]+\.[^-]+-(?P<flavour>.+)")


class Kernels:
    """The server's table: the support status by release, architecture, series and flavour."""

    def __init__(self, table: Path = TABLE) -> None:
        self._statuses: dict[tuple[str, str, str, str], str] = {}
        for row in yaml.safe_load(table.read_text(encoding="utf-8")):
            for flavour in row["flavours"]:
                key = (row["codename"], row["architecture"], row["kernel"], flavour)
                self._statuses[key] = row.get("answer", "supported")

    def supported(self, codename: str, architecture: str, kernel: str, flavour: str) -> str:
        series = ".".join(kernel.split(".")[:2])
        return self._statuses.get((codename, architecture, series, flavour), "unsupported")

    def supported_by_name(self, architecture: str, kernel: str) -> str:
        """Return the same for the full name of a kernel (``4.4.0-168.197-generic``), of any release."""
        name = _FULL_NAME.fullmatch(kernel)
        if name is None:
            return "unknown"
        wanted = (architecture, name["series"], name["flavour"])
        statuses = {status for (_codename, *key), status in self._statuses.items() if tuple(key) == wanted}
        return "supported" if "supported" in statuses else min(statuses, default="unsupported")
