# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Waves, with tables of cases."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waves import (
    Candidate,
    WavesError,
    describe_waves,
    plan_waves,
    read_canaries,
)


def waves_of(candidates: list[Candidate], canaries: object = 1, serial: object = 2, **down: str) -> list[list[str]]:
    planned = plan_waves(candidates, canaries=canaries, serial=serial, groups_down=down)  # type: ignore[arg-type]  # as from a playbook
    order = list(planned.order)
    return [[order.pop(0) for _host in range(size)] for size in planned.sizes]


def plain(names: str) -> list[Candidate]:
    return [Candidate(name) for name in names]


@pytest.mark.parametrize(
    ("canaries", "serial", "expected"),
    [
        (1, 2, ["a", "bc", "de", "fg"]),
        (0, 3, ["abc", "def", "g"]),
        (2, "50%", ["ab", "cd", "ef", "g"]),
        (1, ["1", "50%"], ["a", "b", "cde", "fg"]),
        (0, "1%", list("abcdefg")),
        (["f", "b"], 10, ["bf", "acdeg"]),
        (99, 1, ["abcdefg"]),
        (0, [], ["abcdefg"]),
        (0, ("2", " 100 % "), ["ab", "cdefg"]),
        (0, "30%", ["ab", "cd", "ef", "g"]),
        (0, "99%", ["abcdef", "g"]),
    ],
)
def test_wave_sizes_follow_the_table(canaries: object, serial: object, expected: list[str]) -> None:
    assert ["".join(wave) for wave in waves_of(plain("abcdefg"), canaries, serial)] == expected


def test_no_hosts_give_no_waves() -> None:
    planned = plan_waves([], canaries=1, serial="10%", groups_down={})
    assert (planned.order, planned.sizes) == ((), ())


def test_a_name_that_no_play_can_select_is_an_error() -> None:
    assert waves_of([Candidate("2001:db8::1"), Candidate("!web*")], 0, 9) == [["2001:db8::1", "!web*"]]
    for name in ("web1,web2", "web:80a"):
        with pytest.raises(WavesError, match="no play can select this host alone"):
            waves_of([Candidate("a"), Candidate(name)])


def test_a_wave_is_described_by_its_first_hosts() -> None:
    planned = plan_waves(plain("abcdefgh"), canaries=1, serial="100%", groups_down={})
    assert describe_waves(planned) == ["wave 1: 1 host (a)", "wave 2: 7 hosts (b, c, d, e, f and 2 more)"]
    assert describe_waves(plan_waves([], canaries=1, serial=1, groups_down={})) == []
    many = describe_waves(plan_waves([Candidate(f"h{n}") for n in range(150)], canaries=0, serial=1, groups_down={}))
    assert (len(many), many[-1]) == (101, "and 50 more waves with 50 hosts")


def test_a_wave_has_one_host_per_group() -> None:
    hosts = [Candidate("a1", "a"), Candidate("a2", "a"), Candidate("b1", "b"), Candidate("x"), Candidate("a3", "a")]
    assert waves_of(hosts, 0, 3) == [["a1", "b1", "x"], ["a2"], ["a3"]]
    assert waves_of(hosts, 2, 3) == [["a1"], ["a2"], ["b1", "x", "a3"]]


def test_started_hosts_form_the_first_wave() -> None:
    hosts = [Candidate("a"), Candidate("b", unfinished=True), Candidate("c"), Candidate("d", unfinished=True)]
    assert waves_of(hosts, 1, 5) == [["b", "d"], ["a"], ["c"]]


def test_a_group_with_a_lost_host_is_skipped() -> None:
    hosts = [Candidate("a1", "a"), Candidate("a2", "a", unfinished=True), Candidate("b1", "b")]
    planned = plan_waves(hosts, canaries=0, serial=9, groups_down={"a": "a3"})
    assert planned.order == ("a2", "b1")
    assert "a3" in planned.left_out["a1"]


@pytest.mark.parametrize("serial", ["0", 0, "ten", "1.5", ["10%", "x"], "-1", "5%%", "", None, "9" * 5000])
def test_an_invalid_size_is_refused(serial: object) -> None:
    with pytest.raises(WavesError, match="size of a wave"):
        waves_of(plain("abc"), 0, serial)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (0, 0),
        ("2", 2),
        ("a", ["a"]),
        ("a, b", ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        ([], []),
        ("", []),
        ("7", 7),
        ("web", ["web"]),
        (["1"], 1),
        (None, []),
        (["a", "misspelt"], "misspelt is not a host of this run"),
        ("misspelt", "misspelt is not a host of this run"),
        ("a b", "a b is not a host of this run"),
        (["7", "a"], "7 is not a host of this run"),
        ("-1", "-1 is not a host of this run"),
        ("a,lost", "lost could not be checked"),
    ],
)
def test_canaries_are_a_number_or_names(value: object, expected: object) -> None:
    hosts, unfit = ["a", "b", "web", "lost"], {"lost": "could not be checked"}
    if isinstance(expected, str):
        with pytest.raises(WavesError, match=expected):
            read_canaries(value, hosts, unfit)
    else:
        assert read_canaries(value, hosts, unfit) == expected


def test_a_number_can_be_the_name_of_a_host() -> None:
    assert read_canaries("7", ["7"]) == ["7"]
    assert read_canaries(7, ["7"]) == 7


def test_a_negative_number_of_canaries_is_refused() -> None:
    with pytest.raises(WavesError, match="canaries"):
        waves_of(plain("abc"), -1)


candidates = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c"]), st.booleans()),
    max_size=30,
).map(lambda drawn: [Candidate(f"h{number}", group, unfinished) for number, (group, unfinished) in enumerate(drawn)])


@settings(deadline=None)
@given(candidates, st.integers(0, 5), st.sampled_from([1, 3, "10%", [1, "50%"]]))
def test_waves_partition_the_hosts(hosts: list[Candidate], canaries: int, serial: object) -> None:
    waves = waves_of(hosts, canaries, serial)
    assert sorted(name for wave in waves for name in wave) == sorted(host.name for host in hosts)
    groups = {host.name: host.drain_group for host in hosts}
    for wave in waves:
        assert wave
        taken = [groups[name] for name in wave if groups[name] is not None]
        assert len(taken) == len(set(taken))


def test_a_number_with_many_digits_is_no_host() -> None:
    with pytest.raises(WavesError, match="is not a host of this run"):
        read_canaries("9" * 5000, ["a"])
