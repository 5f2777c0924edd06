# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ask the server for the support of a kernel, once for each kernel in a run.

Ansible uses a process for each host, so the answers are stored in files, in the folder that Ansible creates for a run
and removes at its end. A lock for each kernel makes the other processes wait for the answer, for a limited time.
"""

from __future__ import annotations

import hashlib
import pathlib

from ansible import constants

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import KernelSupport
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import lock_within
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.kernel_support import (
    HOSTED,
    KernelQuestion,
    ask_kernel_supported,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time

# All hosts of the run with this kernel wait for the answer.
_TIMEOUT = 10.0
_RETRIES = 1
_LOCK_SECONDS = 60.0
"""More than a question takes if the server does not answer any attempt."""


def kernel_support(
    server: str | None,
    facts: HostFacts,
    ca_path: str | None = None,
    proxy: str | None = None,
    lock_seconds: float = _LOCK_SECONDS,
) -> KernelSupport:
    """Return the server's answer for the kernel of this host; without an answer, the reason.

    `ca_path` and `proxy` say how to reach the server, as in `DownloadOptions`. `lock_seconds` limits the time to wait
    for a process that asks the same question.
    """
    question = _question(facts)
    if question is None:
        return KernelSupport(None, "the release, architecture or kernel of the host is unknown")
    address = server or HOSTED
    options = DownloadOptions(ca_path, proxy, _TIMEOUT, _RETRIES)
    # Hosts can have different values of all options, and an answer counts only for the same way to the server.
    key = hashlib.sha256(repr((question.url(address), ca_path, proxy)).encode()).hexdigest()
    answer = pathlib.Path(constants.DEFAULT_LOCAL_TMP) / f"livepatch-kernel-{key}"
    with answer.with_suffix(".lock").open("w") as lock:
        if not lock_within(lock.fileno(), lock_seconds):
            return KernelSupport(
                None, f"another process did not get the server's answer within {lock_seconds:g} seconds"
            )
        if not answer.exists():
            answer.write_text(_ask(address, question, options), encoding="utf-8")
    status, _newline, reason = answer.read_text(encoding="utf-8").partition("\n")
    return KernelSupport(status or None, reason)


def _ask(address: str, question: KernelQuestion, options: DownloadOptions) -> str:
    """Return the status on the first line, or an empty line and the reason: a failed question is not repeated."""
    try:
        return ask_kernel_supported(Downloader(options), address, question)
    except LivepatchError as error:
        return f"\n{error.message}"


def _question(facts: HostFacts) -> KernelQuestion | None:
    kernel = facts.kernel
    known = (kernel.series, kernel.flavour, facts.architecture, facts.codename)
    if kernel.origin != "ubuntu" or not all(known):
        return None
    series, flavour, architecture, codename = (str(value) for value in known)
    built = "unknown" if kernel.build_date is None else format_time(kernel.build_date)
    return KernelQuestion(series, flavour, architecture, codename, built)
