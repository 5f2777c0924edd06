# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Plan the waves in which hosts are enabled, patched or upgraded."""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import ipaddress
import re
import types

_PERCENT = re.compile(r"(\d{1,3})\s*%")
_NUMBER = re.compile(r"\d{1,9}")
_NAMED = 5
_DESCRIBED = 100


class WavesError(ValueError):
    """An option cannot be used: the size of a wave, or the canaries. `unknown` has names that are not in the run."""

    def __init__(self, message: str, unknown: c.Sequence[str] = ()) -> None:
        super().__init__(message)
        self.unknown = tuple(unknown)


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A host to upgrade. It is `unfinished` if an earlier run on it was interrupted."""

    name: str
    drain_group: str | None = None
    unfinished: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Waves:
    """The hosts in their `order`, the `sizes` of the waves, and the reason for each host that is left out."""

    order: tuple[str, ...]
    sizes: tuple[int, ...]
    left_out: c.Mapping[str, str]


def plan_waves(
    candidates: c.Sequence[Candidate],
    *,
    canaries: int | c.Sequence[str],
    serial: object,
    groups_down: c.Mapping[str, str],
) -> Waves:
    """Divide hosts into waves. Raises `WavesError`.

    Unfinished hosts come first, because their containers may be stopped. They are followed by the canaries (a number of
    hosts, or names), and then by waves of the sizes in `serial`: a number, a percentage of the remaining hosts, or a
    list of these whose last item repeats. A wave never contains two hosts of one drain group. `groups_down` maps each
    drain group with a host that is down to this host: the other hosts of the group are left out.
    """
    _check_names(candidates)
    left_out = {
        candidate.name: f"{groups_down[group]} of its drain group ({group}) is down"
        for candidate in candidates
        if (group := candidate.drain_group) is not None and group in groups_down and not candidate.unfinished
    }
    wanted = [candidate for candidate in candidates if candidate.name not in left_out]
    begun = [candidate for candidate in wanted if candidate.unfinished]
    first = _canaries([candidate for candidate in wanted if not candidate.unfinished], canaries)
    chosen = {candidate.name for candidate in first}
    rest = [candidate for candidate in wanted if not candidate.unfinished and candidate.name not in chosen]
    sizes = _sizes(serial, len(rest))
    waves = [*_fill(begun, [len(begun)]), *_fill(first, [len(first)]), *_fill(rest, sizes)]
    order = tuple(candidate.name for wave in waves for candidate in wave)
    return Waves(order, tuple(len(wave) for wave in waves), left_out)


def describe_waves(waves: Waves) -> list[str]:
    """Return a line for each of the first waves, with the number of its hosts and the first names."""
    lines, begin = [], 0
    for number, size in enumerate(waves.sizes[:_DESCRIBED], start=1):
        hosts = waves.order[begin : begin + size]
        more = f" and {size - _NAMED} more" if size > _NAMED else ""
        lines.append(f"wave {number}: {size} host{'' if size == 1 else 's'} ({', '.join(hosts[:_NAMED])}{more})")
        begin += size
    rest = waves.sizes[_DESCRIBED:]
    return [*lines, f"and {len(rest)} more waves with {sum(rest)} hosts"] if rest else lines


def read_canaries(
    value: object, known: c.Container[str], unfit: c.Mapping[str, str] = types.MappingProxyType({})
) -> int | list[str]:
    """Return the number of canaries, or their names, from an option: a number, a list, or a text with commas.

    `known` has the hosts of the run. `unfit` has the hosts that prove nothing as a canary, with the reason. Raises
    `WavesError` for the name of another host, and of an unfit one: no other host takes its place.
    """
    if isinstance(value, int):
        return int(value)
    items = value if isinstance(value, (list, tuple)) else str(value or "").split(",")
    names = [name for name in (str(item).strip() for item in items) if name]
    if len(names) == 1 and _NUMBER.fullmatch(names[0]) and names[0] not in known:
        return int(names[0])
    unknown = [name for name in names if name not in known]
    if unknown:
        raise WavesError(f"the canary {', '.join(unknown)} is not a host of this run", unknown)
    useless = [f"{name} {unfit[name]}" for name in names if name in unfit]
    if useless:
        raise WavesError(f"a canary proves nothing: {', '.join(useless)}")
    return names


def _check_names(hosts: c.Iterable[Candidate]) -> None:
    """Fail for names that a play cannot have as its hosts. Ansible would divide them, and leave out the host."""
    for name in (host.name for host in hosts):
        if "," in name or (":" in name and not _is_address(name)):
            raise WavesError(f"the name {name!r:.80} has a comma or a colon, so no play can select this host alone")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _canaries(hosts: c.Sequence[Candidate], canaries: int | c.Sequence[str]) -> list[Candidate]:
    if isinstance(canaries, int):
        if canaries < 0:
            raise WavesError(f"the number of canaries is {canaries}, but must be 0 or more")
        return list(hosts[:canaries])
    return [host for host in hosts if host.name in canaries]


def _sizes(serial: object, total: int) -> list[int]:
    items = list(serial) if isinstance(serial, (list, tuple)) else [serial]
    return [_size(item, total) for item in items] or [total]


def _size(item: object, total: int) -> int:
    text = str(item).strip()
    percent = _PERCENT.fullmatch(text)
    if percent is not None:
        return max(1, total * int(percent[1]) // 100)
    if not _NUMBER.fullmatch(text) or int(text) < 1:
        raise WavesError(f"the size of a wave is {text!r:.80}: use a number of hosts, or a percentage such as 10%")
    return int(text)


def _fill(hosts: c.Sequence[Candidate], sizes: c.Sequence[int]) -> list[list[Candidate]]:
    """Divide hosts into waves of at most these sizes. The last size repeats. Drain groups can change the order."""
    waves: list[list[Candidate]] = []
    waiting = collections.deque(hosts)
    while waiting:
        size = sizes[min(len(waves), len(sizes) - 1)]
        wave: list[Candidate] = []
        later: list[Candidate] = []
        taken: set[str] = set()
        while waiting and len(wave) < size:
            host = waiting.popleft()
            if host.drain_group in taken:
                later.append(host)
                continue
            wave.append(host)
            if host.drain_group is not None:
                taken.add(host.drain_group)
        waves.append(wave)
        waiting.extendleft(reversed(later))
    return waves
