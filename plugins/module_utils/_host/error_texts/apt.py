# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of apt and dpkg."""

from __future__ import annotations

import re

from .row import PRO, row

LOCK_TEXTS = (
    "could not get lock",
    "unable to lock directory",
    "unable to lock the download directory",
    "is another process using it",
    "locked by another",
    "lock was locked by",
    "held by process",
    "open (11: resource temporarily unavailable",
    "lock: resource temporarily unavailable",
    "another process is using the packaging system",
)
"""Parts of the messages of apt and dpkg while another process holds their lock, in lower case.

apt: ``Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 123 (apt)``, ``Unable to lock directory
/var/lib/apt/lists/``, ``Unable to acquire the dpkg frontend lock (…), is another process using it?``. dpkg: ``… is
locked by another process``, since Ubuntu 22.04 ``… was locked by another process with pid 1234``. debconf: ``config.dat
is locked by another process: Resource temporarily unavailable``. The function ``reports_lock`` of ``shell/sections.sh``
has the same list.
"""

LOCK_EXCEPTIONS = (
    "are you root",
    "permission denied",
    "read-only file system",
    "open (2: no such file",
    "open (28: no space left",
)
"""Parts of messages about a lock for which waiting does not help, in lower case."""

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
