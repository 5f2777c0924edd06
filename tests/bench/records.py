# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Many records, created by the collection: assessed hosts of several kinds, with different names."""

from __future__ import annotations

import datetime
import itertools
import shutil
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ReportedFix
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import lines_of
from tests.samples.facts import a_client, a_host, a_kernel, a_patch, shipped, without_client

MACHINE_ID = str(a_host().machine_id_sha256)
FIXES = tuple(ReportedFix(f"CVE-2024-{number}", patched=True) for number in range(50000, 50014))


def kinds() -> list[HostFacts]:
    """Return hosts of several kinds, as in a fleet; most of them are protected."""
    protected = a_host(client=a_client(fixes=FIXES))
    return [
        *[protected] * 12,
        a_host(patches=(), client=a_client(patch_state="nothing-to-apply", patch_version=None)),
        without_client(),
        a_host(kernel=a_kernel("4.15.0-30-generic", "32~16.04.1")),
        a_host(client=a_client(patch_state="kernel-upgrade-required", fixes=FIXES)),
        a_host(client=a_client(check_state="check-failed", fixes=FIXES)),
        a_host(patches=(a_patch(taint="OEK"),), client=a_client(fixes=FIXES)),
        a_host(os_release={"ID": "linuxmint", "VERSION_ID": "18", "ID_LIKE": "ubuntu"}),
        a_host(root=False, patches=None, client=a_client(fixes=FIXES)),
    ]


def write_records(folder: Path, count: int) -> None:
    """Write this number of records to a folder, unless it holds them already."""
    stamp = folder.with_suffix(".count")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == str(count):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    collector = Collector(collection="1.0.0", ansible_core="2.19.0")
    policy = shipped("launch")
    now = datetime.datetime.now(datetime.timezone.utc)
    records = [make_record("HOSTNAME", facts, policy, collector=collector, collected_at=now) for facts in kinds()]
    # The layout of the store, without its wait for the disk.
    texts = ["{\n  " + b",\n  ".join(lines_of(record)).decode("ascii") + "\n}\n" for record in records]
    for number, text in zip(range(count), itertools.cycle(texts), strict=False):
        name = f"host-{number:06}.example.com"
        record = text.replace("HOSTNAME", name).replace(MACHINE_ID, f"{number:064x}")
        (folder / f"{name}.json").write_text(record, encoding="utf-8")
    stamp.write_text(str(count), encoding="utf-8")
