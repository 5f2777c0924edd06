# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The plan of client changes: the steps, their order, and requests that are refused before the first step."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import assess_eligibility
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import (
    ClientState,
    ProStatus,
    mark_of,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientError, ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import (
    HostFacts,
    ServerReachability,
    Snapd,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client_plan import (
    ClientPlan,
    PlanError,
    Wanted,
    check_token,
    make_plan,
)
from tests.samples.facts import a_client, a_host, a_kernel, shipped, without_client

TOKEN = "d3b07384d113edec49eaa6238ad5ff00"
OTHER = "0cc175b9c0f1b6a831c399e269772661"
PRO_TOKEN = "C1234567890abcdefghijkABCDEFG"
SALT = "ab" * 16
SERVER = "https://livepatch.example.com"
PROXY = "http://fleet:made-up@proxy.example.com:3128"
MARKED = {"token": mark_of(TOKEN, SALT)}
NOT_ENABLED = ClientStatus(enabled=False, version="10.8.3")
UNANSWERED = ClientStatus(error=ClientError("timed_out", ""))
DOWN = ClientStatus(error=ClientError("daemon_down", "dial unix"))


def a_state(**changes: t.Any) -> ClientState:
    state = ClientState(registered=True, mode="normal", marks=MARKED, tools=("curl",), channel="latest/stable")
    return dataclasses.replace(state, **changes)


def bare(**changes: t.Any) -> ClientState:
    """Return the state of a host without a client."""
    return a_state(**{"registered": False, "marks": {}, "channel": None, **changes})


def seeded(**changes: t.Any) -> Snapd:
    return Snapd(**{"installed": True, "version": "2.58", "answers": True, "seeded": True, **changes})


def plan(wanted: Wanted, facts: HostFacts, state: ClientState) -> ClientPlan:
    policy = shipped("launch")
    return make_plan(wanted, facts, state, assess_eligibility(facts, policy), policy.snapd_minimum)


def steps(wanted: Wanted, facts: HostFacts, state: ClientState) -> list[str]:
    """Return the steps by name, each with its subject."""
    found = plan(wanted, facts, state).steps
    return [f"{step.id} {step.argument}".strip() for step in found]


def refusal(wanted: Wanted, facts: HostFacts, state: ClientState) -> PlanError:
    with pytest.raises(PlanError) as error:
        plan(wanted, facts, state)
    assert error.value.remedy
    return error.value


DISABLED = a_host(client=NOT_ENABLED)
ABSENT = without_client(snapd=seeded())


@pytest.mark.parametrize(
    ("wanted", "facts", "state", "expected"),
    [
        # from nothing
        (Wanted(token=TOKEN), ABSENT, bare(), ["install", "enable"]),
        (Wanted(state="present"), ABSENT, bare(), ["install"]),
        (Wanted(state="disabled", config={"check-interval": "90"}), ABSENT, bare(), []),
        (Wanted(state="absent"), ABSENT, bare(), []),
        (Wanted(state="absent"), ABSENT, bare(marks=MARKED), ["forget"]),
        (Wanted(state="absent"), ABSENT, bare(restart_due=True), ["forget"]),
        (Wanted(state="present", channel="10.x"), ABSENT, bare(), ["install 10.x/stable"]),
        # snapd
        (
            Wanted(token=TOKEN),
            without_client(snapd=Snapd(installed=False)),
            bare(),
            ["snapd", "seeded", "install", "enable"],
        ),
        (
            Wanted(state="present"),
            without_client(snapd=seeded(version="2.0.10")),
            bare(),
            ["snapd", "seeded", "install"],
        ),
        (Wanted(state="present"), without_client(snapd=seeded(version="2.15")), bare(), ["install"]),
        (Wanted(state="present"), without_client(snapd=seeded(version=None)), bare(), ["install"]),
        (Wanted(state="present"), without_client(snapd=seeded(seeded=False)), bare(), ["seeded", "install"]),
        (Wanted(state="present"), without_client(snapd=seeded(seeded=None)), bare(), ["seeded", "install"]),
        # from installed
        (Wanted(token=TOKEN), DISABLED, bare(channel="latest/stable"), ["enable"]),
        (Wanted(state="disabled"), DISABLED, bare(), []),
        (Wanted(state="absent"), DISABLED, bare(), ["remove"]),
        # from enabled
        (Wanted(token=TOKEN), a_host(), a_state(), []),
        (Wanted(), a_host(), a_state(), []),
        (Wanted(), a_host(), a_state(marks={}), []),
        (Wanted(token=OTHER), a_host(), a_state(), ["disable", "enable"]),
        (Wanted(token=TOKEN), a_host(), a_state(marks={}), ["adopt"]),
        (Wanted(state="present", token=OTHER), a_host(), a_state(), []),
        (Wanted(state="disabled"), a_host(), a_state(), ["disable"]),
        (Wanted(state="absent"), a_host(), a_state(), ["disable", "remove"]),
        # the daemon does not report its enablement, but its machine-token shows it
        (Wanted(token=TOKEN), a_host(client=UNANSWERED), a_state(), []),
        (Wanted(token=TOKEN), a_host(client=UNANSWERED), bare(), ["enable"]),
        (Wanted(token=TOKEN), a_host(client=UNANSWERED), a_state(registered=None), ["disable", "enable"]),
        (Wanted(state="absent"), a_host(client=UNANSWERED), a_state(registered=None), ["disable", "remove"]),
        # channel
        (Wanted(state="present", channel="stable"), a_host(), a_state(), []),
        (Wanted(state="present", channel="edge"), a_host(), a_state(), ["refresh latest/edge"]),
        (Wanted(state="present", channel="edge"), a_host(), a_state(channel=None), []),
        (Wanted(state="disabled", channel="edge"), a_host(), a_state(), ["disable"]),
        # a client that accepts no commands can be removed
        (
            Wanted(state="absent"),
            a_host(client=ClientStatus(error=ClientError("not_eligible_kernel", ""))),
            a_state(),
            ["remove"],
        ),
    ],
)
def test_the_steps_follow_the_table(wanted: Wanted, facts: HostFacts, state: ClientState, expected: list[str]) -> None:
    assert steps(wanted, facts, state) == expected


@pytest.mark.parametrize(
    ("config", "present", "marks", "expected"),
    [
        ({"check-interval": "60"}, {}, {}, []),
        ({"check-interval": "90"}, {"check-interval": "60"}, {}, ["config check-interval"]),
        ({"check-interval": ""}, {"check-interval": "90"}, {}, ["config check-interval"]),
        ({"dial-timeout": "60s"}, {"dial-timeout": "1m"}, {}, []),
        # A password that the host does not show is recognised by its mark.
        ({"https-proxy": PROXY}, {"https-proxy": "http://removed@proxy.example.com:3128"}, {}, ["config https-proxy"]),
        (
            {"https-proxy": PROXY},
            {"https-proxy": "http://removed@proxy.example.com:3128"},
            {"https-proxy": mark_of(PROXY, SALT)},
            [],
        ),
        (
            {"https-proxy": PROXY},
            {"https-proxy": "http://removed@proxy.example.com:3128"},
            {"https-proxy": mark_of(f"{PROXY}/", SALT)},
            ["config https-proxy"],
        ),
        (
            {"https-proxy": PROXY},
            {"https-proxy": "http://removed@elsewhere.example.com:3128"},
            {"https-proxy": mark_of(PROXY, SALT)},
            ["config https-proxy"],
        ),
        (
            {"https-proxy": "http://proxy.example.com:3128"},
            {"https-proxy": "http://removed@proxy.example.com:3128"},
            {},
            ["config https-proxy"],
        ),
    ],
)
def test_only_different_settings_are_changed(
    config: dict[str, str], present: dict[str, str], marks: dict[str, t.Any], expected: list[str]
) -> None:
    wanted = Wanted(state="present", config=config)
    assert steps(wanted, a_host(config=present), a_state(marks={**MARKED, **marks})) == expected


def test_unreadable_settings_are_set() -> None:
    assert steps(Wanted(state="present", config={"check-interval": "60"}), a_host(config=None), a_state()) == [
        "config check-interval"
    ]


def test_certificates_and_server_precede_the_token() -> None:
    wanted = Wanted(token=TOKEN, config={"ca-certs": "PEM", "remote-server": SERVER})
    assert steps(wanted, ABSENT, bare()) == ["install", "config ca-certs", "config remote-server", "enable"]


def test_the_old_server_is_left_first() -> None:
    wanted = Wanted(token=TOKEN, config={"remote-server": SERVER})
    assert steps(wanted, a_host(), a_state()) == ["disable", "config remote-server", "enable"]
    assert refusal(Wanted(config={"remote-server": SERVER}), a_host(), a_state()).id == "token_missing"
    # An unknown server is not left.
    assert steps(wanted, a_host(config=None), a_state()) == ["config remote-server"]
    assert steps(Wanted(state="present", config={"remote-server": SERVER}), a_host(), a_state()) == [
        "config remote-server"
    ]


@pytest.mark.parametrize(
    ("present", "wanted", "expected"),
    [
        ("normal", "normal", ["config check-interval", "enable"]),
        ("normal", "no-apply", ["mode no-apply", "config check-interval", "enable"]),
        ("normal", "no-refresh", ["mode no-refresh", "config check-interval", "enable"]),
        ("normal", "stop", ["config check-interval", "enable", "mode stop"]),
        ("no-apply", "normal", ["config check-interval", "enable", "mode normal"]),
        ("stop", "normal", ["mode no-apply", "config check-interval", "enable", "mode normal"]),
        ("stop", "no-apply", ["mode no-apply", "config check-interval", "enable"]),
        (None, "normal", ["config check-interval", "enable", "mode normal"]),
    ],
)
def test_the_mode_is_set_before_enablement(present: str | None, wanted: str, expected: list[str]) -> None:
    facts = a_host(client=NOT_ENABLED)
    task = Wanted(token=TOKEN, mode=wanted, config={"check-interval": "90"})
    assert steps(task, facts, bare(mode=present)) == expected


def test_a_stopped_client_can_stay_stopped() -> None:
    wanted = Wanted(token=TOKEN, mode="stop", config={"check-interval": "90"})
    assert steps(wanted, a_host(client=UNANSWERED, config=None), a_state(mode="stop")) == []
    assert steps(Wanted(state="present", mode="normal"), a_host(client=UNANSWERED), a_state(mode="stop")) == [
        "mode normal"
    ]


def test_a_stopped_client_cannot_be_changed() -> None:
    facts = a_host(client=UNANSWERED, config=None)
    assert (
        refusal(Wanted(state="present", config={"check-interval": "90"}), facts, a_state(mode="stop")).id == "mode_stop"
    )
    assert refusal(Wanted(token=TOKEN), facts, bare(mode="stop")).id == "mode_stop"
    assert refusal(Wanted(state="disabled"), a_host(client=DOWN), a_state(mode="stop")).id == "mode_stop"


def test_an_unread_mode_file_requires_a_restart() -> None:
    assert steps(Wanted(mode="no-apply"), a_host(), a_state(mode="no-apply", restart_due=True)) == ["mode no-apply"]
    assert steps(Wanted(), a_host(), a_state(mode="no-apply", restart_due=True)) == ["mode no-apply"]
    assert steps(Wanted(mode="normal"), a_host(), a_state(mode="no-apply", restart_due=True)) == ["mode normal"]


def test_a_restart_repairs_a_stopped_daemon() -> None:
    wanted = Wanted(state="present", mode="no-apply", config={"check-interval": "90"})
    assert steps(wanted, a_host(client=DOWN), a_state()) == ["mode no-apply", "config check-interval"]
    assert steps(Wanted(state="absent"), a_host(client=DOWN), bare()) == ["remove"]


def attached() -> ProStatus:
    return ProStatus(installed=True, attached=True)


DETACHED = ProStatus(installed=True, attached=False)
PRO = Wanted(via="pro", token=PRO_TOKEN)
PRO_MARK = {"token": mark_of(PRO_TOKEN, SALT)}


@pytest.mark.parametrize(
    ("wanted", "facts", "state", "expected"),
    [
        (PRO, ABSENT, bare(pro=DETACHED), ["install", "pro_attach"]),
        (PRO, DISABLED, bare(pro=attached()), ["pro_enable"]),
        (Wanted(via="pro"), DISABLED, bare(pro=attached()), ["pro_enable"]),
        (PRO, a_host(), a_state(pro=attached(), marks=PRO_MARK), []),
        (PRO, a_host(), a_state(pro=attached(), marks={}), ["adopt"]),
        (PRO, a_host(), a_state(pro=DETACHED), ["disable", "pro_attach"]),
        (Wanted(via="pro"), a_host(), a_state(pro=DETACHED), []),
        (dataclasses.replace(PRO, state="disabled"), a_host(), a_state(pro=attached()), ["pro_disable"]),
        (dataclasses.replace(PRO, state="disabled"), a_host(), a_state(pro=DETACHED), ["disable"]),
        (dataclasses.replace(PRO, state="absent"), a_host(), a_state(pro=attached()), ["pro_disable", "remove"]),
    ],
)
def test_the_steps_with_ubuntu_pro_are_planned(
    wanted: Wanted, facts: HostFacts, state: ClientState, expected: list[str]
) -> None:
    assert steps(wanted, facts, state) == expected


@pytest.mark.parametrize(
    ("cause", "wanted", "facts", "state"),
    [
        ("not_root", Wanted(state="absent"), a_host(root=False), a_state()),
        ("not_root", Wanted(state="present"), a_host(root=None), a_state()),
        ("token_missing", Wanted(), ABSENT, bare()),
        ("token_missing", Wanted(via="pro"), ABSENT, bare(pro=DETACHED)),
        ("daemon_down", Wanted(token=OTHER), a_host(client=DOWN), a_state()),
        ("daemon_down", Wanted(token=TOKEN), a_host(client=DOWN), bare()),
        ("daemon_down", Wanted(state="absent"), a_host(client=DOWN), a_state()),
        ("snapd_down", Wanted(token=TOKEN), without_client(snapd=seeded(answers=False)), bare()),
        ("snapd_down", Wanted(state="absent"), a_host(snapd=seeded(answers=False)), a_state()),
        (
            "not_eligible",
            Wanted(token=TOKEN),
            without_client(snapd=seeded(), kernel=a_kernel("4.15.0-20-generic")),
            bare(),
        ),
        ("not_eligible", Wanted(token=OTHER), a_host(container="lxc"), a_state()),
        ("eligibility_unknown", Wanted(token=TOKEN), without_client(snapd=seeded(), architecture=None), bare()),
        ("not_eligible", PRO, without_client(snapd=seeded(), container="docker"), bare(pro=DETACHED)),
        ("socket_unavailable", Wanted(token=TOKEN, transport="socket"), ABSENT, bare(tools=())),
        ("pro_missing", PRO, ABSENT, bare(pro=ProStatus(installed=False))),
        ("pro_missing", PRO, ABSENT, bare(pro=ProStatus(installed=True))),
        ("pro_attached_otherwise", PRO, a_host(), a_state(pro=attached())),
        (
            "setting_unavailable",
            Wanted(state="present", config={"cutoff-date": "2024-10-01T12:00:00Z"}),
            a_host(client=a_client(tier="stable")),
            a_state(),
        ),
        (
            "setting_unavailable",
            Wanted(state="present", config={"patch-delay": "3d"}),
            a_host(client=a_client(version="10.11.2", tier="updates")),
            a_state(),
        ),
        (
            "setting_unavailable",
            Wanted(state="present", config={"remote-server": SERVER, "patch-delay": "3d"}),
            a_host(client=a_client(version="11.0.2", tier="stable")),
            a_state(),
        ),
    ],
)
def test_impossible_requests_are_refused_first(
    cause: str, wanted: Wanted, facts: HostFacts, state: ClientState
) -> None:
    assert refusal(wanted, facts, state).id == cause


def test_paid_settings_need_a_paid_client() -> None:
    wanted = Wanted(state="present", config={"cutoff-date": "2024-10-01T12:00:00Z", "patch-delay": "3d"})
    facts = a_host(client=a_client(version="10.11.2", tier="stable"))
    assert steps(wanted, facts, a_state()) == ["config cutoff-date", "config patch-delay"]


def test_eligibility_matters_only_for_enablement() -> None:
    facts = a_host(container="lxc")
    assert steps(Wanted(token=OTHER, require_eligible=False), facts, a_state()) == ["disable", "enable"]
    assert steps(Wanted(token=TOKEN, config={"check-interval": "90"}), facts, a_state()) == ["config check-interval"]
    assert steps(Wanted(state="absent"), facts, a_state()) == ["disable", "remove"]


def test_repairable_checks_do_not_prevent_enablement() -> None:
    facts = without_client(snapd=Snapd(installed=False))
    assert "snapd" in [check["id"] for check in assess_eligibility(facts, shipped("launch"))["checks"]]
    assert steps(Wanted(token=TOKEN), facts, bare())[0] == "snapd"


def test_a_network_failure_prevents_enablement() -> None:
    lost = ServerReachability(SERVER, by_proxy=False, tool="curl", outcome="refused", detail="")
    facts = without_client(snapd=seeded(), reach=lost)
    assert refusal(Wanted(token=TOKEN), facts, bare()).id == "not_eligible"
    assert "enable" in steps(Wanted(token=TOKEN, config={"https-proxy": "http://proxy.test:1"}), facts, bare())
    # A missing tool for the check does not prevent enablement, which tests the network.
    blind = dataclasses.replace(lost, tool="none", outcome="no_tool")
    assert "enable" in steps(Wanted(token=TOKEN), dataclasses.replace(facts, reach=blind), bare())


@pytest.mark.parametrize(
    ("transport", "tools", "ways"),
    [
        ("auto", ("curl", "nc"), ("curl", "nc", "cli")),
        ("auto", (), ("cli",)),
        ("socket", ("nc",), ("nc",)),
        ("cli", ("curl",), ("cli",)),
    ],
)
def test_the_token_uses_the_socket_if_possible(transport: t.Any, tools: tuple[str, ...], ways: tuple[str, ...]) -> None:
    assert plan(Wanted(token=TOKEN, transport=transport), DISABLED, bare(tools=tools)).ways == ways


def test_the_diff_contains_no_secret() -> None:
    config = {"https-proxy": PROXY, "check-interval": "90"}
    found = plan(Wanted(token=OTHER, config=config, mode="no-apply"), a_host(), a_state())
    before, after = found.before.as_dict(), found.after.as_dict()
    assert before == {
        "state": "enabled",
        "token": "other",
        "mode": "normal",
        "channel": None,
        "config": {"https-proxy": "", "check-interval": "60"},
    }
    assert after == {
        "state": "enabled",
        "token": "given",
        "mode": "no-apply",
        "channel": None,
        "config": {"https-proxy": "http://***@proxy.example.com:3128", "check-interval": "90"},
    }
    text = str([step.as_dict() for step in found.steps])
    assert "made-up" not in text
    assert OTHER not in text


@pytest.mark.parametrize(
    ("wanted", "facts", "state", "before", "after"),
    [
        (Wanted(token=TOKEN), ABSENT, bare(), "absent", "enabled"),
        (Wanted(state="present"), ABSENT, bare(), "absent", "disabled"),
        (Wanted(state="present"), a_host(), a_state(), "enabled", "enabled"),
        (Wanted(state="disabled"), ABSENT, bare(), "absent", "absent"),
        (Wanted(state="disabled"), a_host(), a_state(), "enabled", "disabled"),
        (Wanted(state="absent"), a_host(), a_state(), "enabled", "absent"),
        (Wanted(state="disabled"), a_host(client=UNANSWERED), a_state(registered=None), "unknown", "disabled"),
    ],
)
def test_the_states_before_and_after_are_returned(
    wanted: Wanted, facts: HostFacts, state: ClientState, before: str, after: str
) -> None:
    found = plan(wanted, facts, state)
    assert (found.before.state, found.after.state) == (before, after)


@pytest.mark.parametrize(
    ("cause", "token", "via"),
    [
        ("token_malformed", f"{TOKEN}\n", "livepatch"),
        ("token_malformed", f" {TOKEN}", "livepatch"),
        ("token_malformed", "xyz", "livepatch"),
        ("token_malformed", 'quote"quote"quote', "livepatch"),
        ("token_is_pro", PRO_TOKEN, "livepatch"),
        ("token_is_livepatch", TOKEN, "pro"),
        ("token_is_livepatch", "7f1b6c1e-0d1c-4b7e-9a51-3f2f6a8f3c11", "pro"),
    ],
)
def test_a_token_of_the_wrong_kind_is_refused(cause: str, token: str, via: t.Any) -> None:
    with pytest.raises(PlanError) as error:
        check_token(token, via)
    assert error.value.id == cause
    assert token not in str(error.value)


@pytest.mark.parametrize(
    ("token", "via"),
    [
        (TOKEN, "livepatch"),
        (f"C{TOKEN[1:]}", "livepatch"),
        ("7f1b6c1e-0d1c-4b7e-9a51-3f2f6a8f3c11", "livepatch"),
        (PRO_TOKEN, "pro"),
        (None, "pro"),
    ],
)
def test_a_token_of_the_right_kind_is_accepted(token: str | None, via: t.Any) -> None:
    check_token(token, via)
