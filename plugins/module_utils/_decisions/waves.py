# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Which hosts are taken out of service together, and when: waves, and the window in which they may begin."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re
import zoneinfo

_WINDOW = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)(?:\s+(\S+))?")
_PERCENT = re.compile(r"(\d{1,3})\s*%")


class WavesError(ValueError):
    """What was asked for is no size of a wave, no host, or no window; the message says so."""


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A host that is to be upgraded. `unfinished` is one on which an earlier run has begun, and not ended."""

    name: str
    drain_group: str | None = None
    unfinished: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Waves:
    """`order` holds the hosts, `sizes` how many of them each wave takes, `left_out` why a host is in no wave."""

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
    """Put hosts into waves.

    What an earlier run has begun comes first, for its containers may stand still; then the canaries (so many hosts, or
    those named), then waves of the sizes in `serial`: a number, a percentage of the hosts that are left, or a list of
    these whose last one repeats. No wave holds two hosts of one drain group; the second waits for the next wave.
    `groups_down` names the drain groups that have lost a host already, with that host: nothing more is taken from them.

    Raises `WavesError`.
    """
    left_out = {
        candidate.name: f"{groups_down[group]} of its drain group ({group}) is down"
        for candidate in candidates
        if (group := candidate.drain_group) is not None and group in groups_down and not candidate.unfinished
    }
    wanted = [candidate for candidate in candidates if candidate.name not in left_out]
    begun = [candidate for candidate in wanted if candidate.unfinished]
    first = _canaries([candidate for candidate in wanted if not candidate.unfinished], canaries)
    rest = [candidate for candidate in wanted if not candidate.unfinished and candidate not in first]
    sizes = _sizes(serial, len(rest))
    waves = [*_fill(begun, [len(begun)]), *_fill(first, [len(first)]), *_fill(rest, sizes)]
    order = tuple(candidate.name for wave in waves for candidate in wave)
    return Waves(order, tuple(len(wave) for wave in waves), left_out)


def _canaries(hosts: c.Sequence[Candidate], canaries: int | c.Sequence[str]) -> list[Candidate]:
    if isinstance(canaries, int):
        if canaries < 0:
            raise WavesError(f"{canaries} is no number of canaries")
        return list(hosts[:canaries])
    return [host for host in hosts if host.name in canaries]


def _sizes(serial: object, total: int) -> list[int]:
    said = list(serial) if isinstance(serial, (list, tuple)) else [serial]
    return [_size(item, total) for item in said] or [max(1, total)]


def _size(said: object, total: int) -> int:
    text = str(said).strip()
    percent = _PERCENT.fullmatch(text)
    if percent is not None:
        return max(1, total * int(percent[1]) // 100)
    if not text.isdecimal() or int(text) < 1:
        raise WavesError(f"{text!r} is no size of a wave: give a number of hosts, or a percentage such as 10%")
    return int(text)


def _fill(hosts: c.Sequence[Candidate], sizes: c.Sequence[int]) -> list[list[Candidate]]:
    """Waves of at most these sizes, the last one repeated, in the order of the hosts as far as drain groups allow."""
    waves: list[list[Candidate]] = []
    waiting = list(hosts)
    while waiting:
        size = sizes[min(len(waves), len(sizes) - 1)]
        wave: list[Candidate] = []
        later: list[Candidate] = []
        taken: set[str] = set()
        for host in waiting:
            if len(wave) < size and host.drain_group not in taken:
                wave.append(host)
                if host.drain_group is not None:
                    taken.add(host.drain_group)
            else:
                later.append(host)
        waves.append(wave)
        waiting = later
    return waves


def window_open(window: str, now: datetime.datetime) -> bool:
    """Whether a moment (aware) lies in a daily window such as ``22:00-04:00 Europe/Berlin``.

    The zone is a name of the IANA database; without one, the times are those of the zone in which `now` is given. The
    end does not belong to the window. Raises `WavesError`.
    """
    match = _WINDOW.fullmatch(window.strip())
    if match is None:
        raise WavesError(f"{window!r} is no window: write it as 22:00-04:00, with a time zone behind it if need be")
    if match[5]:
        try:
            now = now.astimezone(zoneinfo.ZoneInfo(match[5]))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise WavesError(f"the time zone {match[5]} is not known on this machine") from error
    begin, end = (datetime.time(int(match[hour]), int(match[hour + 1])) for hour in (1, 3))
    clock = now.time()
    if begin <= end:
        return begin <= clock < end
    return clock >= begin or clock < end
