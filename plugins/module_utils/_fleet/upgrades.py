# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Select the hosts to upgrade by their state, and plan their waves."""

from __future__ import annotations

import collections.abc as c
import dataclasses

from .._decisions import causes
from .._record import STATES
from .waves import Candidate, Waves, WavesError, plan_waves, read_canaries

UPGRADED_STATES = ("upgrade_required", "end_of_life")
"""The states of hosts that are upgraded by default."""
_WITHOUT_STATE = (causes.UPGRADE_DUE_SOON.id, causes.SERIES_ENDED.id)
"""Reasons for an upgrade that the state of a host does not show."""


@dataclasses.dataclass(frozen=True, slots=True)
class CheckedHost:
    """A host after its check. `state` and `reason` are those of its record, None without a record.

    `needs` has the ids of the reasons for another kernel, empty for none. `failure` is the reason why the host, or the
    kernel that it needs, could not be checked.
    """

    name: str
    drain_group: str | None = None
    state: str | None = None
    reason: str | None = None
    running: str | None = None
    target: str | None = None
    needs: tuple[str, ...] = ()
    unfinished: bool = False
    failure: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class UpgradeRun:
    """The `waves`, the `plan` with a line for each host in them, and the reasons for those that are `not_selected`.

    `by_state` has the hosts that their state selects.
    """

    waves: Waves
    plan: tuple[str, ...]
    by_state: tuple[str, ...]
    not_selected: c.Mapping[str, str]


def plan_upgrades(
    hosts: c.Sequence[CheckedHost], *, states: object, force: bool, canaries: object, serial: object
) -> UpgradeRun:
    """Plan the upgrade of the hosts in these states (a list, or a text with commas), or of all with `force`.

    A host whose reboot is unfinished is always selected. Raises `WavesError`.
    """
    wanted = read_states(states)
    groups_down = {
        host.drain_group: host.name for host in hosts if host.failure is not None and host.drain_group is not None
    }
    selected = {host.name: host for host in hosts if host.unfinished or is_selected(host, wanted, force=force)}
    names = {host.name for host in hosts}
    unfit = {host.name: "could not be checked" for host in hosts if host.failure is not None}
    waves = plan_waves(
        [Candidate(host.name, host.drain_group, host.unfinished) for host in selected.values()],
        canaries=read_canaries(canaries, names, unfit),
        serial=serial,
        groups_down=groups_down,
    )
    others = {
        host.name: f"{host.state}, and needs a newer kernel; to select it, add {host.state} to livepatch_upgrade_states"
        for host in hosts
        if host.needs and host.failure is None and host.name not in selected
    }
    by_state = tuple(name for name in waves.order if selected[name].state in wanted)
    return UpgradeRun(waves, _lines(waves, selected), by_state, others)


def read_states(value: object) -> tuple[str, ...]:
    """Return the states of an option. Raises `WavesError` for one that does not exist."""
    items = value if isinstance(value, (list, tuple)) else str(value or "").split(",")
    states = tuple(state for state in (str(item).strip() for item in items) if state)
    unknown = [state for state in states if state not in STATES]
    if unknown:
        raise WavesError(f"the state {', '.join(unknown)} does not exist: use some of {', '.join(STATES)}")
    return states


def is_selected(host: CheckedHost, states: c.Collection[str], *, force: bool) -> bool:
    """Return True if a host is upgraded: its state is one of `states`, or its kernel ends soon."""
    if host.failure is not None:
        return False
    if force or host.state in states:
        return True
    return host.state != "ineligible" and any(need in _WITHOUT_STATE for need in host.needs)


def _lines(waves: Waves, hosts: c.Mapping[str, CheckedHost]) -> tuple[str, ...]:
    order = iter(waves.order)
    return tuple(
        f"wave {number}: {_line(hosts[next(order)])}"
        for number, size in enumerate(waves.sizes, start=1)
        for _host in range(size)
    )


def _line(host: CheckedHost) -> str:
    kernels = host.running or "unknown kernel"
    if host.target not in (None, host.running):
        kernels = f"{kernels} to {host.target}"
    elif not host.unfinished:
        kernels = f"{kernels} (no newer kernel is known yet)"
    reason = "an earlier run was interrupted" if host.unfinished else host.reason or ", ".join(host.needs) or "forced"
    return f"{host.name}: {host.state or 'unknown'}, {kernels}: {reason}"
