# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerabilities of a fleet as comma-separated values, for scanners that read no VEX documents.

There is a row for each host and vulnerability that is open, unknown or live patched.
"""

from __future__ import annotations

import collections.abc as c

from ..._fleet.waivers import Waivers
from ..._kernel_name import parse_kernel_name
from ..._vulnerabilities.exposure import Evaluator, IdentifiedKernel, Verdict
from ..._vulnerabilities.index import VulnerabilityIndex
from ..formats.csv_table import csv_rows
from ..report import Report
from .host_proof import HostProof

COLUMNS = (
    "host",
    "cve",
    "status",
    "package",
    "installed_version",
    "fixed_version",
    "patch",
    "evidence",
    "collected_at",
    "waived_until",
)
_SHOWN = ("open", "unknown", "live_patched")
_WAIVABLE = ("open", "unknown")


def render(
    proofs: c.Mapping[str, HostProof],
    missing: c.Iterable[str],
    indexes: c.Sequence[VulnerabilityIndex],
    cves: c.Sequence[str],
    waivers: Waivers,
) -> c.Iterator[str]:
    """Yield the rows, the names of the columns first. `missing` are hosts without a usable record."""
    return csv_rows(_rows(proofs, missing, Evaluator(indexes, cves), waivers))


def render_report(report: Report) -> c.Iterator[str]:
    """Yield the rows for a report with vulnerabilities and the proofs of its hosts."""
    exposure = report.vulnerabilities
    return render(*report.proofs(), exposure.indexes, exposure.chosen, exposure.waivers)


def _rows(
    proofs: c.Mapping[str, HostProof], missing: c.Iterable[str], evaluator: Evaluator, waivers: Waivers
) -> c.Iterator[tuple[str | None, ...]]:
    yield COLUMNS
    found: dict[str, HostProof | None] = {**dict.fromkeys(missing), **proofs}
    nothing_known = [Verdict("unknown")] * len(evaluator.cves)
    for host, proof in sorted(found.items()):
        verdicts = evaluator.verdicts(proof.evidence) if proof else nothing_known
        package = _package(proof, evaluator) if proof else (None, None)
        for cve, verdict in zip(evaluator.cves, verdicts, strict=True):
            if verdict.status in _SHOWN:
                waiver = waivers.find(host, cve=cve) if verdict.status in _WAIVABLE else None
                collected = proof.collected_at if proof else None
                until = waiver.expires.isoformat() if waiver else None
                yield (
                    host,
                    cve,
                    verdict.status,
                    *package,
                    verdict.fixed_in,
                    *_evidence(verdict, proof),
                    collected,
                    until,
                )


def _package(proof: HostProof, evaluator: Evaluator) -> tuple[str | None, str | None]:
    """Return the image of the running kernel and its version. Without it, the source package."""
    image = next((each for each in proof.packages if each[0].startswith("linux-image-")), None)
    if image is not None:
        return image
    name, kernel = parse_kernel_name(proof.evidence.kernel or ""), evaluator.identify(proof.evidence)
    source = kernel.source if isinstance(kernel, IdentifiedKernel) else None
    return source, name.package_version if name is not None else proof.evidence.kernel


def _evidence(verdict: Verdict, proof: HostProof | None) -> tuple[str | None, str]:
    """Return the version of the patch that fixes a vulnerability, and what shows the status."""
    if proof is None:
        return None, "no usable record"
    if verdict.status == "live_patched" and proof.patch is not None:
        patch = proof.patch
        signed = f"signature {patch.result.replace('_', ' ')}"
        shown = (f"by {verdict.evidence}", f"module {patch.module}", f"build ID {patch.build_id or 'unknown'}", signed)
        return patch.version, ", ".join((*shown, f"booted {proof.booted_at or 'unknown'}"))
    if verdict.reason is not None:
        return None, verdict.reason["message"]
    return None if verdict.patch is None else str(verdict.patch), f"by {verdict.evidence}"
