# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""OpenVEX documents (https://github.com/openvex/spec, 0.2.0) that let vulnerability scanners see live patches.

There is one document for each set of hosts with the same kernel, packages and confirmed patch, because a package URL
names no host. A vulnerability that the live patch fixes is ``not_affected``, and never ``fixed``: the installed package
is not. Of several statuses in a set, the most urgent counts. Times are those of the records.
"""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import functools
import json
import typing as t
import uuid

from ..._kernel_name import parse_kernel_name
from ..._text import visible
from ..._time import sort_key
from ..._vulnerabilities.exposure import STATUSES, Evaluator, Verdict
from ..._vulnerabilities.index import VulnerabilityIndex
from ..._vulnerabilities.notices import patch_major
from ..fleet_exposure import NO_RECORD, next_step
from .host_proof import HostProof, LoadedPatch

CONTEXT = "https://openvex.dev/ns/v0.2.0"
TOOLING = "kernelops.livepatch"
SUFFIX = ".openvex.json"
DEFAULT_AUTHOR = "Operator of the fleet"
JUSTIFICATION = "vulnerable_code_not_in_execute_path"

_ROLE = "Operator of the hosts"
_NAMESPACE = uuid.UUID("6c8cbfdc-5a3e-5a53-9e0c-6f2f4bb3a2a9")
_NAMED_HOSTS = 20
_PACKAGES_UNKNOWN = "packages_unknown"  # records of release 1 do not have the installed packages of the kernel
_STATED = ("open", "unknown", "live_patched")
"""Statuses with a statement. A scanner sees itself which packages have the fix, or are not affected."""


@dataclasses.dataclass(frozen=True)
class VexDocument:
    """One document without its version, the name of its file, and its hosts."""

    name: str
    content: dict[str, t.Any]
    hosts: list[str]


@dataclasses.dataclass(frozen=True)
class VexDocuments:
    """The documents of a fleet, and the hosts without one, by the reason."""

    documents: list[VexDocument]
    left_out: dict[str, list[str]]
    newest: str | None


class _Set(t.NamedTuple):
    kernel: str
    architecture: str | None
    packages: tuple[tuple[str, str], ...]
    patch: LoadedPatch | None


def vex_documents(
    proofs: c.Mapping[str, HostProof],
    missing: c.Iterable[str],
    indexes: c.Sequence[VulnerabilityIndex],
    cves: c.Sequence[str],
    author: str,
) -> VexDocuments:
    """Return the documents about these vulnerabilities, in the order of their names.

    `missing` are hosts without a usable record.
    """
    sets: dict[_Set, dict[str, HostProof]] = collections.defaultdict(dict)
    left_out = collections.defaultdict(list, {NO_RECORD["id"]: sorted(missing)})
    for host, proof in sorted(proofs.items()):
        if proof.evidence.kernel is None or not proof.products():
            left_out[_PACKAGES_UNKNOWN].append(host)
        else:
            sets[_Set(proof.evidence.kernel, *proof[1:4])][host] = proof
    evaluator = Evaluator(indexes, cves)
    notices = _Notices(indexes)
    found = (_document(of, hosts, evaluator, notices, author) for of, hosts in sets.items())
    documents = sorted((each for each in found if each is not None), key=lambda each: each.name)
    newest = max((proof.collected_at for proof in proofs.values()), key=sort_key, default=None)
    return VexDocuments(documents, {reason: hosts for reason, hosts in left_out.items() if hosts}, newest)


class _Notices:
    """The names of notices by vulnerability and patch."""

    def __init__(self, indexes: c.Iterable[VulnerabilityIndex]) -> None:
        self._names: dict[tuple[str, int], str] = {}
        for index in indexes:
            for notice in index.notices.notices:
                for patch in {int(module.version) for module in notice.modules}:
                    for cve in notice.cves:
                        self._names.setdefault((cve, patch), notice.id)

    def of(self, cve: str, patch: int | None) -> str | None:
        return self._names.get((cve, patch)) if patch is not None else None


def _document(
    of: _Set, hosts: dict[str, HostProof], evaluator: Evaluator, notices: _Notices, author: str
) -> VexDocument | None:
    urls = next(iter(hosts.values())).products()
    products = [{"@id": url, "identifiers": {"purl": url}} for url in urls]
    newest = max((proof.collected_at for proof in hosts.values()), key=sort_key)
    # Most statements of a document have one of a few long texts, which are kept once.
    explained = functools.lru_cache(maxsize=None)(functools.partial(_explained, _impact(of, hosts)))
    statements = []
    for cve, (verdict, proof) in zip(evaluator.cves, _worst(evaluator, hosts.values()), strict=True):
        if verdict.status not in _STATED:
            continue
        statement = {"vulnerability": {"name": cve}, "products": products, "timestamp": newest}
        statements.append({**statement, **_judgement(verdict, proof, explained(notices.of(cve, verdict.patch)))})
    if not statements:
        return None
    identifier = uuid.uuid5(_NAMESPACE, json.dumps([author, *of]))
    content = {
        "@context": CONTEXT,
        "@id": f"urn:uuid:{identifier}",
        "author": author,
        "role": _ROLE,
        "timestamp": newest,
        "tooling": TOOLING,
        "statements": statements,
    }
    patch = f"patch-{patch_major(of.patch.version)}" if of.patch else "no-patch"
    # The name of a kernel has no characters that a file name cannot have: a set without a valid one has no packages.
    return VexDocument(f"{parse_kernel_name(of.kernel)}-{patch}-{identifier.hex[:12]}{SUFFIX}", content, list(hosts))


def _worst(evaluator: Evaluator, proofs: c.Collection[HostProof]) -> c.Iterator[tuple[Verdict, HostProof]]:
    """Yield the most urgent verdict for each vulnerability, and a host that it is about."""
    different = list({proof.evidence: proof for proof in proofs}.values())
    order = {status: rank for rank, status in enumerate(STATUSES)}
    columns = zip(*(evaluator.verdicts(proof.evidence) for proof in different), strict=True)
    for verdicts in columns:
        yield min(zip(verdicts, different, strict=True), key=lambda pair: order[pair[0].status])


def _explained(impact: str | None, notice: str | None) -> str | None:
    return f"{impact} The notice is {notice}." if impact and notice else impact


def _judgement(verdict: Verdict, proof: HostProof, impact: str | None) -> dict[str, str]:
    if verdict.status == "live_patched" and impact is not None:
        return {
            "status": "not_affected",
            "justification": JUSTIFICATION,
            "impact_statement": impact,
            "status_notes": "The installed package is not fixed: the running kernel is.",
        }
    if verdict.status == "open":
        evidence = proof.evidence
        step = next_step(verdict, evidence.source, enabled=evidence.enabled, policy=evidence.policy)
        return {"status": "affected", "action_statement": visible(step or "")}
    reason = verdict.reason["message"] if verdict.reason else "nothing confirms the live patch"
    return {"status": "under_investigation", "status_notes": visible(reason)}


def _impact(of: _Set, hosts: dict[str, HostProof]) -> str | None:
    if of.patch is None:
        return None
    patch = of.patch
    signed = f"signature {patch.result.replace('_', ' ')}"
    if patch.result == "verified":
        signer = ", ".join(filter(None, (patch.signer, patch.key_id and f"key {patch.key_id}")))
        signed += f" (level {patch.level}{', ' + signer if signer else ''})"
    named = [
        f"{host} (booted {proof.booted_at or 'at an unknown time'}, collected {proof.collected_at})"
        for host, proof in list(hosts.items())[:_NAMED_HOSTS]
    ]
    more = f" and {len(hosts) - _NAMED_HOSTS} more" if len(hosts) > _NAMED_HOSTS else ""
    return visible(
        f"Live patch {patch.version} runs in kernel {of.kernel} of {', '.join(named)}{more}: module {patch.module}, "
        f"build ID {patch.build_id or 'unknown'}, {signed}. It replaces the vulnerable functions in memory. "
        "This ends with the next boot."
    )
