# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Check a host: one round trip, one record. The tasks of `patch_info` and `eligibility_info`, and what others share."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import functools
import typing as t

from .._decisions.eligibility import KernelSupport, assess_eligibility
from .._decisions.policy import Policy
from .._decisions.record_builder import make_record, system_of
from .._errors import LivepatchError
from .._host.facts import HostFacts, read_facts
from .._record import Collector, Record
from .._records.postgresql.address import store_place
from .._records.store import open_store
from .._verify.trust import TrustAnchors
from .commands import Task, ask_service, read_clock, run_script, store_record


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    """Options of a check. `verify` is ``auto``, ``file`` or ``off``; no signature is verified without `anchors`.

    `host` is the name in the inventory. `alternative` is a policy that the result names if it covers a host that
    `policy` refuses, None for none. `server` is an address, None for the one that the client uses. `ca_path` and
    `proxy` are for the controller's question to it, None for those of the controller's environment. `record_dir` is
    the folder or the address of the store for the record, None for none. With `return_record`, the record is in the
    result, and only the state of the host otherwise. `groups` are the groups of the host by key, see `_fleet.groups`.
    """

    host: str
    policy: Policy
    collector: Collector
    server: str | None = None
    network: bool = True
    ask_server: bool = False
    ca_path: str | None = None
    proxy: str | None = None
    verify: str = "auto"
    anchors: TrustAnchors | None = None
    record_dir: str | None = None
    return_record: bool = True
    alternative: Policy | None = None
    groups: c.Mapping[str, str] = dataclasses.field(default_factory=dict)


def check_host(options: CheckOptions) -> Task[dict[str, t.Any]]:
    """Collect facts of the host and return its record (module `patch_info`)."""
    started = (yield from read_clock()).utc
    sections = yield from run_script("probe", probe_variables(options))
    return (yield from keep_record(options, read_facts(sections), started))


def check_eligibility(options: CheckOptions) -> Task[dict[str, t.Any]]:
    """Evaluate the policy for the host (module `eligibility_info`)."""
    started = (yield from read_clock()).utc
    sections = yield from run_script("probe", probe_variables(dataclasses.replace(options, verify="off")))
    facts = read_facts(sections, inventory_name=options.host)
    support = yield from kernel_support(options, facts)
    eligibility = assess_eligibility(
        facts, options.policy, support, collected_at=started, alternative=options.alternative
    )
    return {
        "eligible": eligibility["verdict"] == "eligible",
        "verdict": eligibility["verdict"],
        "checks": eligibility["checks"],
        "policy": eligibility["policy"],
        "system": system_of(facts),
    }


def probe_variables(options: CheckOptions) -> dict[str, str]:
    """Return the variables of the script ``probe``."""
    anchors = options.anchors
    return {
        "server": options.server or "",
        "network": "1" if options.network else "",
        "verify": "" if options.verify == "off" or anchors is None else options.verify,
        # The client's certificate is needed where a pin has no certificate on the controller.
        "certificate": "1" if anchors is not None and anchors.unmet_pins else "",
    }


def kernel_support(options: CheckOptions, facts: HostFacts) -> Task[KernelSupport | None]:
    """Ask the server about the host's kernel where the options say so."""
    if not options.ask_server:
        return None
    return (yield from ask_service(options.server, facts, ca_path=options.ca_path, proxy=options.proxy))


def build_record(options: CheckOptions, facts: HostFacts, collected_at: datetime.datetime) -> Task[Record]:
    """Return the record of facts that were collected at a time of the controller's clock."""
    answered_at = (yield from read_clock()).utc
    make = functools.partial(
        make_record,
        options.host,
        facts,
        options.policy,
        collector=options.collector,
        collected_at=collected_at,
        answered_at=answered_at,
        kernel_support=(yield from kernel_support(options, facts)),
        anchors=options.anchors,
        alternative=options.alternative,
    )
    record = make()
    if record["assessment"]["state"] == "applying" and options.record_dir:
        # Only the last record shows since when a host waits. It is not read for the other hosts.
        record = make(earlier=open_store(store_place(options.record_dir)).last_record(options.host))
    if options.groups:
        record["system"]["groups"] = dict(options.groups)
    return record


def keep_record(options: CheckOptions, facts: HostFacts, collected_at: datetime.datetime) -> Task[dict[str, t.Any]]:
    """Return ``record``, or only ``state`` if the record is not wanted, and ``record_file`` if a folder has it.

    Raises `LivepatchError` (``record_not_stored``), which has the record.
    """
    record = yield from build_record(options, facts, collected_at)
    result: dict[str, t.Any] = {"record": record} if options.return_record else {"state": record["assessment"]["state"]}
    if not options.record_dir:
        return result
    try:
        path = yield from store_record(record, options.record_dir)
    except LivepatchError as error:
        raise error.with_details(record=record) from error
    return result if path is None else {**result, "record_file": path}
