# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the server says of kernels."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("kernels.yml")
_FULL_NAME = re.compile(r"(?P<series>[0-9]+\.[0-9]+)\.[0-9]+-[0-9]+\.[^-]+-(?P<flavour>.+)")


class Kernels:
    """The server's table of kernels: by release, architecture, series and flavour, the word that it answers."""

    def __init__(self, table: Path = TABLE) -> None:
        self._words: dict[tuple[str, str, str, str], str] = {}
        for row in yaml.safe_load(table.read_text(encoding="utf-8")):
            for flavour in row["flavours"]:
                key = (row["codename"], row["architecture"], row["kernel"], flavour)
                self._words[key] = row.get("answer", "supported")

    def supported(self, codename: str, architecture: str, kernel: str, flavour: str) -> str:
        series = ".".join(kernel.split(".")[:2])
        return self._words.get((codename, architecture, series, flavour), "unsupported")

    def supported_by_name(self, architecture: str, kernel: str) -> str:
        """The same for a kernel's full name (``4.4.0-168.197-generic``), in whichever release it is."""
        name = _FULL_NAME.fullmatch(kernel)
        if name is None:
            return "unknown"
        wanted = (architecture, name["series"], name["flavour"])
        words = {word for (_codename, *key), word in self._words.items() if tuple(key) == wanted}
        return "supported" if "supported" in words else min(words, default="unsupported")
