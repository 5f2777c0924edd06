# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The evidence of a record for a vulnerability scanner: the packages and the live patch of the running kernel."""

from __future__ import annotations

import typing as t

from ..._kernel_name import module_name, parse_kernel_name
from ..._record import Record
from ..._vulnerabilities.exposure import KernelEvidence, kernel_evidence
from .purl import package_url, running_packages


class LoadedPatch(t.NamedTuple):
    """The module of a live patch that kernel and client confirm."""

    version: str
    module: str
    build_id: str | None
    result: str
    level: str
    signer: str | None
    key_id: str | None


class HostProof(t.NamedTuple):
    """A host at one time. `packages` are name and version of the packages of the running kernel.

    `patch` is the confirmed patch. Where it is ``None``, nothing proves that a patch runs.
    """

    evidence: KernelEvidence
    architecture: str | None
    packages: tuple[tuple[str, str], ...]
    patch: LoadedPatch | None
    booted_at: str | None
    collected_at: str

    def products(self) -> list[str]:
        """Return the package URLs of the packages."""
        found = (package_url(*package, self.architecture or "") for package in self.packages)
        return [url for url in found if url is not None]


def host_proof(record: Record, evidence: KernelEvidence | None = None) -> HostProof:
    """Return what a record proves. `evidence` is the evidence in it, if it is known."""
    evidence = evidence or kernel_evidence(record)
    name = parse_kernel_name(evidence.kernel or "")
    kernel = t.cast("dict[str, t.Any]", record["system"]["kernel"])
    installed = [(each["name"], each["version"]) for each in kernel.get("packages") or ()]
    return HostProof(
        evidence=evidence,
        architecture=record["system"]["architecture"],
        packages=() if name is None else running_packages(name, installed),
        patch=_loaded(record, evidence) if evidence.confirmed else None,
        booted_at=record["system"]["kernel"]["booted_at"],
        collected_at=record["collected_at"],
    )


def _loaded(record: Record, evidence: KernelEvidence) -> LoadedPatch | None:
    wanted = module_name(evidence.kernel or "", evidence.patch or "")
    for each in record["kernel_patches"]:
        if each["module"] == wanted and each["enabled"]:
            checked = each["verification"]
            return LoadedPatch(
                version=evidence.patch or "",
                module=each["module"],
                build_id=each["build_id"],
                result=checked["result"],
                level=checked["level"],
                signer=checked["signer"],
                key_id=checked["key_id"],
            )
    return None
