# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What the server says of a kernel, asked once a run and kernel, however many hosts run it.

Ansible works on hosts in processes of their own, so the answers lie in files, in the folder that Ansible makes for
each run and removes after it. A lock a kernel lets one process ask while the others wait for its answer.
"""

from __future__ import annotations

import fcntl
import hashlib
import pathlib

from ansible import constants

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import KernelSupport
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.kernel_support import (
    HOSTED,
    KernelQuestion,
    ServerError,
    ask_kernel_supported,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time


def service_word(server: str | None, facts: HostFacts) -> KernelSupport:
    """The server's word for the kernel of this host; without a word, the reason why there is none."""
    question = _question(facts)
    if question is None:
        return KernelSupport(None, "the server could not be asked: the kernel is not fully known")
    address = server or HOSTED
    key = hashlib.sha256(question.url(address).encode()).hexdigest()
    answer = pathlib.Path(constants.DEFAULT_LOCAL_TMP) / f"livepatch-kernel-{key}"
    with answer.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.exists():
            answer.write_text(_ask(address, question), encoding="utf-8")
    word, _newline, reason = answer.read_text(encoding="utf-8").partition("\n")
    return KernelSupport(word or None, reason)


def _ask(address: str, question: KernelQuestion) -> str:
    """The word on the first line, or an empty line and the reason: a server that is down is asked once, too."""
    try:
        return ask_kernel_supported(address, question)
    except ServerError as error:
        return f"\n{error}"


def _question(facts: HostFacts) -> KernelQuestion | None:
    kernel = facts.kernel
    known = (kernel.series, kernel.flavour, facts.architecture, facts.codename)
    if kernel.origin != "ubuntu" or not all(known):
        return None
    series, flavour, architecture, codename = (str(value) for value in known)
    built = "unknown" if kernel.build_date is None else format_time(kernel.build_date)
    return KernelQuestion(series, flavour, architecture, codename, built)
