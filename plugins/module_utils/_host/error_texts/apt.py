# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of apt and dpkg."""

from __future__ import annotations

import re

from ..apt import LOCK_EXCEPTIONS, LOCK_TEXTS
from .row import PRO, row

ROWS = (
    row(
        "apt_locked",
        "apt pro",
        [*map(re.escape, LOCK_TEXTS), r"another process is running apt"],
        ("apt", "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1234 (apt-get)", "apt"),
        ("apt", "dpkg: error: dpkg frontend lock was locked by another process with pid 1234", "dpkg"),
        ("pro", "APT install failed. Another process is running APT.", PRO),
        unless=[*map(re.escape, LOCK_EXCEPTIONS)],
    ),
    row(
        "snapd_not_in_archive",
        "apt",
        [r"unable to locate package|has no installation candidate"],
        ("apt", "E: Unable to locate package snapd", "apt"),
    ),
    row(
        "dpkg_interrupted",
        "apt",
        [r"dpkg was interrupted|dpkg --configure -a"],
        (
            "apt",
            "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
            "apt",
        ),
    ),
    row(
        "archive_unreachable",
        "apt",
        [r"(?:failed|unable) to fetch|could not (?:resolve|connect)|unable to connect|temporary failure resolving"],
        (
            "apt",
            (
                "E: Failed to fetch http://archive.example.com/ubuntu/pool/main/s/snapd/snapd_2.58_amd64.deb  Could not"
                " connect to archive.example.com:80"
            ),
            "apt",
        ),
    ),
)
