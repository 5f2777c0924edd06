# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The table for scanners without VEX."""

from __future__ import annotations

import csv
import datetime
import io

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waiver, Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Record
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.scanners import scanner_csv
from tests.samples.proofs import CVES, KERNEL_ONLY, PATCHED, UNDECIDED, VERSION, a_record, an_index, proofs
from tests.samples.records import make_record

TODAY = datetime.date(2031, 6, 1)


def rows(*records: Record, missing: tuple[str, ...] = (), waivers: Waivers | None = None) -> list[dict[str, str]]:
    text = "".join(scanner_csv.render(proofs(*records), missing, [an_index()], CVES, waivers or Waivers()))
    return list(csv.DictReader(io.StringIO(text)))


def test_each_host_and_vulnerability_is_a_row() -> None:
    first, second, third = rows(a_record())
    evidence = f"by notice, module lkp_Ubuntu_4_4_0_168_197_generic_65, build ID {'ab' * 20}, signature verified"
    assert first == {
        "host": "web1",
        "cve": PATCHED,
        "status": "live_patched",
        "package": "linux-image-4.4.0-168-generic",
        "installed_version": VERSION,
        "fixed_version": "4.4.0-200.232",
        "patch": "65.1",
        "evidence": f"{evidence}, booted 2026-01-01T00:00:00Z",
        "collected_at": "2026-01-10T06:00:00Z",
        "waived_until": "",
    }
    assert (second["cve"], second["status"], second["evidence"]) == (KERNEL_ONLY, "open", "by package_data")
    assert (third["cve"], third["status"]) == (UNDECIDED, "unknown")


def test_hosts_without_a_record_are_unknown() -> None:
    found = rows(missing=("gone",))
    assert [(row["host"], row["cve"], row["status"]) for row in found] == [("gone", cve, "unknown") for cve in CVES]
    assert {row["evidence"] for row in found} == {"no usable record"}


def test_a_record_of_release_1_has_the_source_package() -> None:
    row = rows(make_record(patch__fixes=[]))[0]
    assert (row["package"], row["installed_version"]) == ("linux", VERSION)


def test_a_waiver_has_its_last_day() -> None:
    waivers = Waivers([Waiver("a", "b", TODAY, cve=KERNEL_ONLY)], TODAY)
    assert [row["waived_until"] for row in rows(a_record(), waivers=waivers)] == ["", "2031-06-01", ""]


def test_no_cell_is_a_formula() -> None:
    text = "".join(scanner_csv.render(proofs(a_record("=cmd()")), ("@x",), [an_index()], CVES, Waivers()))
    assert {row[0] for row in csv.reader(io.StringIO(text))} == {"host", "'=cmd()", "'@x"}
