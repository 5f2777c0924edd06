# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Build the record of a host from its facts."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import datetime

from .._host.client_status import CUTOFF_DATE, ClientStatus
from .._host.facts import HostFacts
from .._kernel_name import module_name
from .._record import (
    SCHEMA,
    Blocking,
    Client,
    Collector,
    Containers,
    Fix,
    Kernel,
    KernelPackage,
    Patch,
    Record,
    RecordedMode,
    System,
    limit_record,
)
from .._server.kernel_support import HOSTED
from .._time import format_time
from .._verify import trust
from . import causes
from .eligibility import KernelSupport, assess_eligibility
from .host_state import assess
from .patch_verification import VerifiedPatch, verified_patches
from .policy import Policy
from .states.evidence import Evidence
from .states.waiting import waiting_since


def make_record(
    host: str,
    facts: HostFacts,
    policy: Policy,
    *,
    collector: Collector,
    collected_at: datetime.datetime,
    answered_at: datetime.datetime | None = None,
    kernel_support: KernelSupport | None = None,
    anchors: trust.TrustAnchors | None = None,
    alternative: Policy | None = None,
    earlier: Record | None = None,
) -> Record:
    """Assess a host and return its record.

    `collected_at` is the time by the controller's clock when the host was asked, `answered_at` when it had answered.
    `kernel_support` is the server's answer for the running kernel. Without `anchors`, only the kernel's result of
    verifying a patch counts. `alternative` is a policy that the record names if it covers a host that `policy` refuses.
    `earlier` is the last record of the host, which shows since when the host waits for a patch.
    The record is within `RECORD_LIMIT`, whatever the host has sent.
    """
    facts = dataclasses.replace(facts, inventory_name=host, asked_at=collected_at)
    eligibility = assess_eligibility(facts, policy, kernel_support, collected_at=collected_at, alternative=alternative)
    verified = _verified(facts, anchors)
    evidence = Evidence(facts, policy, eligibility, verified, collected_at, answered_at, earlier)
    skew = evidence.clock_skew
    record = Record(
        schema=SCHEMA,
        host=host,
        collected_at=format_time(collected_at),
        collector=collector,
        system=system_of(facts),
        eligibility=eligibility,
        client=_client(facts),
        patch=_patch(facts.client, waiting_since(evidence)),
        kernel_patches=[each.patch for each in verified],
        assessment=assess(evidence),
        clock_skew_seconds=None if skew is None else round(skew.total_seconds()),
    )
    limited, incomplete = limit_record(record)
    return _incomplete(limited) if incomplete else limited


def _incomplete(record: Record) -> Record:
    """Return a record with the reason that entries are missing. A host with such a record is never protected."""
    reason, assessment = causes.RECORD_TRUNCATED.reason(), record["assessment"]
    if assessment["state"] == "protected":
        record["assessment"] = {**assessment, "state": "unknown", "reasons": [reason, *assessment["reasons"]]}
    else:
        record["assessment"] = {**assessment, "reasons": [*assessment["reasons"], reason]}
    return record


def system_of(facts: HostFacts) -> System:
    """Return the part of the record that does not depend on Livepatch."""
    counts: c.Mapping[str, int] = facts.containers or {}
    identity, packages = facts.kernel, facts.kernel_packages
    return System(
        distribution=facts.distribution,
        release=facts.release,
        codename=facts.codename,
        architecture=facts.architecture,
        virtualization="wsl" if facts.wsl else facts.virtualization,
        containers=Containers(
            docker=counts.get("docker"),
            lxd=counts.get("lxd"),
            podman=counts.get("podman"),
            kubernetes=counts.get("kubernetes"),
            containerd=counts.get("containerd"),
        ),
        machine_id_sha256=facts.machine_id_sha256,
        secure_boot=facts.secure_boot,
        kernel=Kernel(
            release=identity.release,
            full=identity.full,
            series=identity.series,
            flavour=identity.flavour,
            origin=identity.origin,
            build_date=_optional_timestamp(identity.build_date),
            booted_at=_optional_timestamp(facts.booted_at),
            newest_installed=facts.newest_installed,
            source_package=packages.source,
            source_version=packages.source_version,
            packages=[KernelPackage(name=package.name, version=package.version) for package in packages.installed],
            packages_problem=packages.problem,
        ),
    )


def _optional_timestamp(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _client(facts: HostFacts) -> Client:
    client = facts.client
    configured = (facts.config or {}).get("remote-server")
    return Client(
        installed=facts.client_installed,
        snapd_version=facts.snapd.version,
        version=client.version if client else None,
        generation=client.generation if client else None,
        # A client that is not installed is not enabled.
        enabled=client.enabled if client else (False if facts.client_installed is False else None),
        tier=client.tier if client else None,
        server=configured or (HOSTED if facts.config is not None else None),
        check_state=client.check_state if client else None,
        last_check=_optional_timestamp(client.last_check) if client else None,
        mode=RecordedMode(
            value=facts.mode.value if facts.mode else None, source=facts.mode.source if facts.mode else None
        ),
        blocking=Blocking(
            options=list(client.blocked.options) if client else [],
            excluded_notices=list(client.blocked.excluded_notices) if client else [],
            cutoff_date=(facts.config or {}).get(CUTOFF_DATE) or None,
        ),
        recent_log=list(facts.client_log),
    )


def _patch(client: ClientStatus | None, waiting: datetime.datetime | None) -> Patch:
    client = client or ClientStatus()
    due = client.upgrade_required_by
    return Patch(
        kernel=client.kernel,
        state=client.patch_state,
        version=client.patch_version,
        fixes=[Fix(cve=fix.cve, patched=fix.patched) for fix in client.fixes],
        support=client.supported,
        upgrade_required_by=None if due is None else due.isoformat(),
        waiting_since=_optional_timestamp(waiting),
    )


def _verified(facts: HostFacts, anchors: trust.TrustAnchors | None) -> list[VerifiedPatch]:
    if anchors is not None and facts.certificate is not None and anchors.unmet_pins:
        with contextlib.suppress(trust.TrustError):
            anchors = anchors.with_offered(trust.read_certificate(facts.certificate))
    return verified_patches(facts.patches or (), facts.kernel_keys, claimed=_claimed_module(facts), anchors=anchors)


def _claimed_module(facts: HostFacts) -> str | None:
    client, full = facts.client, facts.kernel.full
    if client is None or client.patch_state != "applied" or client.patch_version is None or full is None:
        return None
    return module_name(full, client.patch_version)
