# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Plans of the client: steps, their order, and conditions that refuse a plan."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import assess_eligibility
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import (
    ClientSetup,
    ProStatus,
    fingerprint_of,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientError, ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import (
    HostFacts,
    ServerReachability,
    Snapd,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client_comparison import DesiredClient
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.client_plan import ClientPlan, make_plan
from tests.samples.facts import NOW, a_client, a_host, a_kernel, shipped, without_client

TOKEN = "d3b07384d113edec49eaa6238ad5ff00"
OTHER = "0cc175b9c0f1b6a831c399e269772661"
PRO_TOKEN = "C1234567890abcdefghijkABCDEFG"
SALT = "ab" * 16
SERVER = "https://livepatch.example.com"
PROXY = "http://fleet:made-up@proxy.example.com:3128"
KNOWN_TOKEN = {"token": fingerprint_of(TOKEN, SALT)}
NOT_ENABLED = ClientStatus(enabled=False, version="10.8.3")
UNANSWERED = ClientStatus(error=ClientError("timed_out", ""))
DOWN = ClientStatus(error=ClientError("daemon_down", "dial unix"))


def a_setup(**changes: t.Any) -> ClientSetup:
    setup = ClientSetup(
        registered=True, mode="normal", fingerprints=KNOWN_TOKEN, tools=("curl",), channel="latest/stable"
    )
    return dataclasses.replace(setup, **changes)


def bare(**changes: t.Any) -> ClientSetup:
    """Return the setup of a host without a client."""
    return a_setup(**{"registered": False, "fingerprints": {}, "channel": None, **changes})


def seeded(**changes: t.Any) -> Snapd:
    return Snapd(**{"installed": True, "version": "2.58", "answers": True, "seeded": True, **changes})


def plan(desired: DesiredClient, facts: HostFacts, setup: ClientSetup) -> ClientPlan:
    policy = shipped("launch")
    return make_plan(desired, facts, setup, assess_eligibility(facts, policy, collected_at=NOW), policy.snapd_minimum)


def steps(desired: DesiredClient, facts: HostFacts, setup: ClientSetup) -> list[str]:
    """Return the steps by name, with their arguments."""
    found = plan(desired, facts, setup).steps
    return [f"{step.id} {step.argument}".strip() for step in found]


def refusal(desired: DesiredClient, facts: HostFacts, setup: ClientSetup) -> LivepatchError:
    with pytest.raises(LivepatchError) as error:
        plan(desired, facts, setup)
    assert error.value.remedy
    return error.value


DISABLED = a_host(client=NOT_ENABLED)
ABSENT = without_client(snapd=seeded())


@pytest.mark.parametrize(
    ("desired", "facts", "setup", "expected"),
    [
        # from nothing
        (DesiredClient(token=TOKEN), ABSENT, bare(), ["install", "enable"]),
        (DesiredClient(state="present"), ABSENT, bare(), ["install"]),
        (DesiredClient(state="disabled", config={"check-interval": "90"}), ABSENT, bare(), []),
        (DesiredClient(state="absent"), ABSENT, bare(), []),
        (DesiredClient(state="absent"), ABSENT, bare(fingerprints=KNOWN_TOKEN), ["forget"]),
        (DesiredClient(state="absent"), ABSENT, bare(restart_due=True), ["forget"]),
        (DesiredClient(state="present", channel="10.x"), ABSENT, bare(), ["install 10.x/stable"]),
        # snapd
        (
            DesiredClient(token=TOKEN),
            without_client(snapd=Snapd(installed=False)),
            bare(),
            ["snapd", "seeded", "install", "enable"],
        ),
        (
            DesiredClient(state="present"),
            without_client(snapd=seeded(version="2.0.10")),
            bare(),
            ["snapd", "seeded", "install"],
        ),
        (DesiredClient(state="present"), without_client(snapd=seeded(version="2.15")), bare(), ["install"]),
        (DesiredClient(state="present"), without_client(snapd=seeded(version=None)), bare(), ["install"]),
        (DesiredClient(state="present"), without_client(snapd=seeded(seeded=False)), bare(), ["seeded", "install"]),
        (DesiredClient(state="present"), without_client(snapd=seeded(seeded=None)), bare(), ["seeded", "install"]),
        # from installed
        (DesiredClient(token=TOKEN), DISABLED, bare(channel="latest/stable"), ["enable"]),
        (DesiredClient(state="disabled"), DISABLED, bare(), []),
        (DesiredClient(state="absent"), DISABLED, bare(), ["remove"]),
        # from enabled
        (DesiredClient(token=TOKEN), a_host(), a_setup(), []),
        (DesiredClient(), a_host(), a_setup(), []),
        (DesiredClient(), a_host(), a_setup(fingerprints={}), []),
        (DesiredClient(token=OTHER), a_host(), a_setup(), ["disable", "enable"]),
        (DesiredClient(token=TOKEN), a_host(), a_setup(fingerprints={}), ["adopt"]),
        (DesiredClient(state="present", token=OTHER), a_host(), a_setup(), []),
        (DesiredClient(state="disabled"), a_host(), a_setup(), ["disable"]),
        (DesiredClient(state="absent"), a_host(), a_setup(), ["disable", "remove"]),
        # the client reports no status: its machine-token shows if it is enabled
        (DesiredClient(token=TOKEN), a_host(client=UNANSWERED), bare(), ["enable"]),
        (DesiredClient(token=TOKEN), a_host(client=UNANSWERED), a_setup(registered=None), ["disable", "enable"]),
        (DesiredClient(state="absent"), a_host(client=UNANSWERED), a_setup(registered=None), ["disable", "remove"]),
        # channel
        (DesiredClient(state="present", channel="stable"), a_host(), a_setup(), []),
        (DesiredClient(state="present", channel="edge"), a_host(), a_setup(), ["refresh latest/edge"]),
        (DesiredClient(state="present", channel="edge"), a_host(), a_setup(channel=None), []),
        (DesiredClient(state="disabled", channel="edge"), a_host(), a_setup(), ["disable"]),
        # a snap from a file
        (DesiredClient(state="present", snap_file="/a.snap"), ABSENT, bare(), ["install_file /a.snap"]),
        (
            DesiredClient(token=TOKEN, snap_file="/a.snap", snap_assertion="/a.assert"),
            ABSENT,
            bare(),
            ["acknowledge /a.assert", "install_file /a.snap", "enable"],
        ),
        (DesiredClient(state="present", snap_file="/a.snap"), a_host(), a_setup(), []),
        # a snap that is installed and disabled has no command: its machine-token shows if it is enabled
        (DesiredClient(state="present"), ABSENT, bare(snap_disabled=True), ["snap_enable"]),
        (DesiredClient(token=TOKEN), ABSENT, bare(snap_disabled=True), ["snap_enable", "enable"]),
        (DesiredClient(token=TOKEN), ABSENT, a_setup(snap_disabled=True), ["snap_enable"]),
        (DesiredClient(token=OTHER), ABSENT, a_setup(snap_disabled=True), ["snap_enable", "disable", "enable"]),
        (
            DesiredClient(state="present", channel="edge"),
            ABSENT,
            bare(snap_disabled=True),
            ["snap_enable", "refresh latest/edge"],
        ),
        (DesiredClient(state="present", snap_file="/a.snap"), ABSENT, bare(snap_disabled=True), ["snap_enable"]),
        (DesiredClient(state="disabled"), ABSENT, bare(snap_disabled=True), []),
        (DesiredClient(state="disabled"), ABSENT, a_setup(snap_disabled=True), ["snap_enable", "disable"]),
        (DesiredClient(state="absent"), ABSENT, bare(snap_disabled=True), ["remove"]),
        (
            DesiredClient(state="absent"),
            ABSENT,
            a_setup(snap_disabled=True),
            ["snap_enable", "disable", "remove"],
        ),
        # a client that refuses every command can still be removed
        (
            DesiredClient(state="absent"),
            a_host(client=ClientStatus(error=ClientError("not_eligible_kernel", ""))),
            a_setup(),
            ["remove"],
        ),
    ],
)
def test_a_plan_has_these_steps(
    desired: DesiredClient, facts: HostFacts, setup: ClientSetup, expected: list[str]
) -> None:
    assert steps(desired, facts, setup) == expected


@pytest.mark.parametrize(
    ("config", "present", "fingerprints", "expected"),
    [
        ({"check-interval": "60"}, {}, {}, []),
        ({"check-interval": "90"}, {"check-interval": "60"}, {}, ["config check-interval"]),
        ({"check-interval": ""}, {"check-interval": "90"}, {}, ["config check-interval"]),
        ({"dial-timeout": "60s"}, {"dial-timeout": "1m"}, {}, []),
        # A password that the host masks is compared by its fingerprint.
        ({"https-proxy": PROXY}, {"https-proxy": "http://removed@proxy.example.com:3128"}, {}, ["config https-proxy"]),
        (
            {"https-proxy": PROXY},
            {"https-proxy": "http://removed@proxy.example.com:3128"},
            {"https-proxy": fingerprint_of(PROXY, SALT)},
            [],
        ),
        (
            {"https-proxy": PROXY},
            {"https-proxy": "http://removed@proxy.example.com:3128"},
            {"https-proxy": fingerprint_of(f"{PROXY}/", SALT)},
            ["config https-proxy"],
        ),
        (
            {"https-proxy": PROXY},
            {"https-proxy": "http://removed@elsewhere.example.com:3128"},
            {"https-proxy": fingerprint_of(PROXY, SALT)},
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
def test_a_setting_is_changed_if_it_differs(
    config: dict[str, str], present: dict[str, str], fingerprints: dict[str, t.Any], expected: list[str]
) -> None:
    desired = DesiredClient(state="present", config=config)
    assert steps(desired, a_host(config=present), a_setup(fingerprints={**KNOWN_TOKEN, **fingerprints})) == expected


def test_unreadable_settings_are_set() -> None:
    assert steps(DesiredClient(state="present", config={"check-interval": "60"}), a_host(config=None), a_setup()) == [
        "config check-interval"
    ]


def test_certificates_are_set_before_server_and_token() -> None:
    desired = DesiredClient(token=TOKEN, config={"ca-certs": "PEM", "remote-server": SERVER})
    assert steps(desired, ABSENT, bare()) == ["install", "config ca-certs", "config remote-server", "enable"]


def test_a_changed_server_needs_a_new_registration() -> None:
    desired = DesiredClient(token=TOKEN, config={"remote-server": SERVER})
    assert steps(desired, a_host(), a_setup()) == ["disable", "config remote-server", "enable"]
    assert refusal(DesiredClient(config={"remote-server": SERVER}), a_host(), a_setup()).id == "token_missing"
    # The current server is unknown, so the registration is kept.
    assert steps(desired, a_host(config=None), a_setup()) == ["config remote-server"]
    assert steps(DesiredClient(state="present", config={"remote-server": SERVER}), a_host(), a_setup()) == [
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
def test_modes_never_let_a_patch_through(present: str | None, wanted: str, expected: list[str]) -> None:
    facts = a_host(client=NOT_ENABLED)
    task = DesiredClient(token=TOKEN, mode=wanted, config={"check-interval": "90"})
    assert steps(task, facts, bare(mode=present)) == expected


STALE = ClientStatus(error=ClientError("platform_unsupported", "The platform Ubuntu 15.10 is not supported."))
BROKEN = {
    "timed_out": UNANSWERED,
    "daemon_down": DOWN,
    "platform_stale": STALE,
    "not_executable": ClientStatus(error=ClientError("not_executable", "cannot find installed snap")),
    "unreadable_output": ClientStatus(error=ClientError("unreadable_output", "?")),
}
OTHERWISE_BROKEN = {
    "not_eligible_kernel": ClientStatus(error=ClientError("not_eligible_kernel", "unsupported kernel")),
    "interface_not_connected": ClientStatus(error=ClientError("interface_not_connected", "")),
    "tainted_modules": ClientStatus(error=ClientError("tainted_modules", "")),
}


@pytest.mark.parametrize("via", ["livepatch", "pro"])
@pytest.mark.parametrize("cause", [*BROKEN, *OTHERWISE_BROKEN])
def test_an_enabled_client_must_work(cause: str, via: t.Any) -> None:
    """The machine-token shows a registration, and not a client that works."""
    facts = a_host(client={**BROKEN, **OTHERWISE_BROKEN}[cause])
    for desired in (DesiredClient(via=via), DesiredClient(via=via, config={"check-interval": "60"})):
        assert refusal(desired, facts, a_setup(pro=attached())).id == cause
    assert steps(DesiredClient(state="present"), facts, a_setup()) == []


@pytest.mark.parametrize("cause", BROKEN)
def test_a_broken_client_is_installed_again_on_request(cause: str) -> None:
    # The refusal of a stale client is no part of the facts for the eligibility: see test_client.py.
    desired = DesiredClient(
        token=TOKEN, reinstall=True, mode="no-apply", config={"check-interval": "90"}, require_eligible=False
    )
    facts, setup = a_host(client=BROKEN[cause]), a_setup()
    assert steps(desired, facts, setup) == ["remove", "install", "mode no-apply", "config check-interval", "enable"]
    found = plan(desired, facts, setup)
    assert (found.before.state, found.after.state, found.after.token) == ("enabled", "enabled", "given")
    assert cause in found.steps[0].message
    pro = dataclasses.replace(desired, via="pro", token=None, config={}, mode=None)
    assert steps(pro, facts, a_setup(pro=attached())) == ["remove", "install", "pro_enable"]
    assert refusal(dataclasses.replace(desired, token=None), facts, setup).id == "token_missing"


def test_a_client_that_works_is_not_installed_again() -> None:
    assert steps(DesiredClient(token=TOKEN, reinstall=True), a_host(), a_setup()) == []
    assert steps(DesiredClient(state="absent", reinstall=True), a_host(client=STALE), a_setup()) == ["remove"]
    for cause, client in OTHERWISE_BROKEN.items():
        assert refusal(DesiredClient(token=TOKEN, reinstall=True), a_host(client=client), a_setup()).id == cause


def test_the_log_shows_why_the_daemon_ended() -> None:
    log = ("Starting", "Only Ubuntu 16.04 LTS is supported, exiting.")
    error = refusal(DesiredClient(), a_host(client=DOWN, client_log=log), a_setup())
    assert (error.id, log[-1] in error.message) == ("platform_stale", True)
    log = ("Snappy kernel-module-control interface not connected!", "exiting")
    assert refusal(DesiredClient(), a_host(client=DOWN, client_log=log), a_setup()).id == "interface_not_connected"
    error = refusal(DesiredClient(), a_host(client=DOWN, client_log=("something new",)), a_setup())
    assert (error.id, "something new" in error.message) == ("daemon_down", True)


def test_a_refused_release_that_is_the_hosts_is_not_stale() -> None:
    text = "The platform Ubuntu 16.04 is not supported."
    facts = a_host(client=ClientStatus(error=ClientError("platform_unsupported", text)))
    assert refusal(DesiredClient(reinstall=True), facts, a_setup()).id == "platform_unsupported"


@pytest.mark.parametrize(
    ("fixed", "desired", "cause"),
    [
        ("stop", DesiredClient(), "mode_on_command_line"),
        ("stop", DesiredClient(mode="normal"), "mode_on_command_line"),
        ("stop", DesiredClient(state="disabled"), "mode_on_command_line"),
        ("no-apply", DesiredClient(mode="normal"), "mode_on_command_line"),
        ("no-refresh", DesiredClient(state="present", mode="no-apply"), "mode_on_command_line"),
        ("normal", DesiredClient(mode="stop"), "mode_on_command_line"),
        ("stop", DesiredClient(mode="stop"), None),
        ("no-apply", DesiredClient(mode="no-apply"), None),
        ("no-apply", DesiredClient(), None),
        ("normal", DesiredClient(mode="normal"), None),
        ("no-refresh", DesiredClient(state="absent", mode="normal"), None),
    ],
)
def test_a_mode_of_the_kernel_command_line_counts(fixed: str, desired: DesiredClient, cause: str | None) -> None:
    facts = a_host(client=DOWN, config=None) if fixed == "stop" else a_host()
    setup = a_setup(kernel_mode=fixed)
    if cause is not None:
        error = refusal(desired, facts, setup)
        assert (error.id, fixed in error.message) == (cause, True)
        assert "/etc/default/grub" in str(error.remedy)
        return
    found = plan(desired, facts, setup)
    assert found.before.mode == fixed
    assert [step.id for step in found.steps] == (["disable", "remove"] if desired.state == "absent" else [])


def test_no_client_is_installed_whose_daemon_would_not_run() -> None:
    error = refusal(DesiredClient(token=TOKEN), without_client(), a_setup(registered=False, kernel_mode="stop"))
    assert error.id == "mode_on_command_line"
    assert "its daemon does not run" in error.message


def test_a_client_that_stays_stopped_is_unchanged() -> None:
    desired = DesiredClient(token=TOKEN, mode="stop", config={"check-interval": "90"})
    assert steps(desired, a_host(client=UNANSWERED, config=None), a_setup(mode="stop")) == []
    assert steps(DesiredClient(state="present", mode="normal"), a_host(client=UNANSWERED), a_setup(mode="stop")) == [
        "mode normal"
    ]


def test_a_stopped_client_cannot_be_changed() -> None:
    facts = a_host(client=UNANSWERED, config=None)
    assert (
        refusal(DesiredClient(state="present", config={"check-interval": "90"}), facts, a_setup(mode="stop")).id
        == "mode_stop"
    )
    assert refusal(DesiredClient(token=TOKEN), facts, bare(mode="stop")).id == "mode_stop"
    assert refusal(DesiredClient(token=TOKEN), a_host(client=DOWN), a_setup(mode="stop")).id == "mode_stop"
    assert refusal(DesiredClient(state="disabled"), a_host(client=DOWN), a_setup(mode="stop")).id == "mode_stop"


def test_a_daemon_with_an_old_mode_is_restarted() -> None:
    assert steps(DesiredClient(mode="no-apply"), a_host(), a_setup(mode="no-apply", restart_due=True)) == [
        "mode no-apply"
    ]
    assert steps(DesiredClient(), a_host(), a_setup(mode="no-apply", restart_due=True)) == ["mode no-apply"]
    assert steps(DesiredClient(mode="normal"), a_host(), a_setup(mode="no-apply", restart_due=True)) == ["mode normal"]


def test_a_restart_revives_a_dead_daemon() -> None:
    desired = DesiredClient(state="present", mode="no-apply", config={"check-interval": "90"})
    assert steps(desired, a_host(client=DOWN), a_setup()) == ["mode no-apply", "config check-interval"]
    assert steps(DesiredClient(state="absent"), a_host(client=DOWN), bare()) == ["remove"]


def attached() -> ProStatus:
    return ProStatus(installed=True, attached=True)


DETACHED = ProStatus(installed=True, attached=False)
PRO = DesiredClient(via="pro", token=PRO_TOKEN)
KNOWN_PRO_TOKEN = {"token": fingerprint_of(PRO_TOKEN, SALT)}


@pytest.mark.parametrize(
    ("desired", "facts", "setup", "expected"),
    [
        (PRO, ABSENT, bare(pro=DETACHED), ["install", "pro_attach"]),
        (PRO, DISABLED, bare(pro=attached()), ["pro_enable", "adopt"]),
        (PRO, DISABLED, bare(pro=attached(), fingerprints=KNOWN_PRO_TOKEN), ["pro_enable"]),
        (DesiredClient(via="pro"), DISABLED, bare(pro=attached()), ["pro_enable"]),
        (PRO, a_host(), a_setup(pro=attached(), fingerprints=KNOWN_PRO_TOKEN), []),
        (PRO, a_host(), a_setup(pro=attached(), fingerprints={}), ["adopt"]),
        (PRO, a_host(), a_setup(pro=DETACHED), ["disable", "pro_attach"]),
        (DesiredClient(via="pro"), a_host(), a_setup(pro=DETACHED), []),
        (dataclasses.replace(PRO, state="disabled"), a_host(), a_setup(pro=attached()), ["pro_disable"]),
        (dataclasses.replace(PRO, state="disabled"), a_host(), a_setup(pro=DETACHED), ["disable"]),
        (dataclasses.replace(PRO, state="absent"), a_host(), a_setup(pro=attached()), ["pro_disable", "remove"]),
    ],
)
def test_steps_through_ubuntu_pro(
    desired: DesiredClient, facts: HostFacts, setup: ClientSetup, expected: list[str]
) -> None:
    assert steps(desired, facts, setup) == expected


@pytest.mark.parametrize(
    ("cause", "desired", "facts", "setup"),
    [
        ("not_root", DesiredClient(state="absent"), a_host(root=False), a_setup()),
        ("not_root", DesiredClient(state="present"), a_host(root=None), a_setup()),
        ("token_missing", DesiredClient(), ABSENT, bare()),
        ("token_missing", DesiredClient(via="pro"), ABSENT, bare(pro=DETACHED)),
        ("daemon_down", DesiredClient(token=OTHER), a_host(client=DOWN), a_setup()),
        ("daemon_down", DesiredClient(token=TOKEN), a_host(client=DOWN), bare()),
        ("daemon_down", DesiredClient(state="absent"), a_host(client=DOWN), a_setup()),
        ("snapd_down", DesiredClient(token=TOKEN), without_client(snapd=seeded(answers=False)), bare()),
        ("snapd_down", DesiredClient(state="absent"), a_host(snapd=seeded(answers=False)), a_setup()),
        (
            "not_eligible",
            DesiredClient(token=TOKEN),
            without_client(snapd=seeded(), kernel=a_kernel("4.15.0-20-generic")),
            bare(),
        ),
        ("not_eligible", DesiredClient(token=OTHER), a_host(container="lxc"), a_setup()),
        ("eligibility_unknown", DesiredClient(token=TOKEN), without_client(snapd=seeded(), architecture=None), bare()),
        ("not_eligible", PRO, without_client(snapd=seeded(), container="docker"), bare(pro=DETACHED)),
        ("socket_unavailable", DesiredClient(token=TOKEN, transport="socket"), ABSENT, bare(tools=())),
        ("pro_missing", PRO, ABSENT, bare(pro=ProStatus(installed=False))),
        ("pro_missing", PRO, ABSENT, bare(pro=ProStatus(installed=True))),
        ("pro_attached_otherwise", PRO, a_host(), a_setup(pro=attached())),
        (
            "setting_unavailable",
            DesiredClient(state="present", config={"cutoff-date": "2024-10-01T12:00:00Z"}),
            a_host(client=a_client(tier="stable")),
            a_setup(),
        ),
        (
            "setting_unavailable",
            DesiredClient(state="present", config={"patch-delay": "3d"}),
            a_host(client=a_client(version="10.11.2", tier="updates")),
            a_setup(),
        ),
        (
            "setting_unavailable",
            DesiredClient(state="present", config={"remote-server": SERVER, "patch-delay": "3d"}),
            a_host(client=a_client(version="11.0.2", tier="stable")),
            a_setup(),
        ),
    ],
)
def test_an_impossible_plan_is_refused(
    cause: str, desired: DesiredClient, facts: HostFacts, setup: ClientSetup
) -> None:
    assert refusal(desired, facts, setup).id == cause


def test_paid_settings_need_a_paying_client() -> None:
    desired = DesiredClient(state="present", config={"cutoff-date": "2024-10-01T12:00:00Z", "patch-delay": "3d"})
    facts = a_host(client=a_client(version="10.11.2", tier="stable"))
    assert steps(desired, facts, a_setup()) == ["config cutoff-date", "config patch-delay"]


def test_eligibility_counts_only_for_enabling() -> None:
    facts = a_host(container="lxc")
    assert steps(DesiredClient(token=OTHER, require_eligible=False), facts, a_setup()) == ["disable", "enable"]
    assert steps(DesiredClient(token=TOKEN, config={"check-interval": "90"}), facts, a_setup()) == [
        "config check-interval"
    ]
    assert steps(DesiredClient(state="absent"), facts, a_setup()) == ["disable", "remove"]


def test_missing_snapd_does_not_prevent_enabling() -> None:
    facts = without_client(snapd=Snapd(installed=False))
    eligibility = assess_eligibility(facts, shipped("launch"), collected_at=NOW)
    assert "snapd" in [check["id"] for check in eligibility["checks"]]
    assert steps(DesiredClient(token=TOKEN), facts, bare())[0] == "snapd"


def test_an_unreachable_server_prevents_enabling() -> None:
    lost = ServerReachability(SERVER, by_proxy=False, tool="curl", outcome="refused", detail="")
    facts = without_client(snapd=seeded(), reachability=(lost,))
    assert refusal(DesiredClient(token=TOKEN), facts, bare()).id == "not_eligible"
    assert "enable" in steps(DesiredClient(token=TOKEN, config={"https-proxy": "http://proxy.test:1"}), facts, bare())
    # Without a tool for the check, enabling itself shows it.
    blind = dataclasses.replace(lost, tool="none", outcome="no_tool")
    assert "enable" in steps(DesiredClient(token=TOKEN), dataclasses.replace(facts, reachability=(blind,)), bare())


@pytest.mark.parametrize(
    ("transport", "tools", "transports"),
    [
        ("auto", ("curl", "nc"), ("curl", "nc", "cli")),
        ("auto", (), ("cli",)),
        ("socket", ("nc",), ("nc",)),
        ("cli", ("curl",), ("cli",)),
    ],
)
def test_the_socket_is_the_preferred_transport(
    transport: t.Any, tools: tuple[str, ...], transports: tuple[str, ...]
) -> None:
    assert plan(DesiredClient(token=TOKEN, transport=transport), DISABLED, bare(tools=tools)).transports == transports


def test_before_and_after_have_no_secrets() -> None:
    config = {"https-proxy": PROXY, "check-interval": "90"}
    found = plan(DesiredClient(token=OTHER, config=config, mode="no-apply"), a_host(), a_setup())
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
    messages = str([step.as_dict() for step in found.steps])
    assert "made-up" not in messages
    assert OTHER not in messages


@pytest.mark.parametrize(
    ("desired", "facts", "setup", "before", "after"),
    [
        (DesiredClient(token=TOKEN), ABSENT, bare(), "absent", "enabled"),
        (DesiredClient(state="present"), ABSENT, bare(), "absent", "disabled"),
        (DesiredClient(state="present"), a_host(), a_setup(), "enabled", "enabled"),
        (DesiredClient(state="disabled"), ABSENT, bare(), "absent", "absent"),
        (DesiredClient(state="disabled"), a_host(), a_setup(), "enabled", "disabled"),
        (DesiredClient(state="absent"), a_host(), a_setup(), "enabled", "absent"),
        (DesiredClient(state="disabled"), a_host(client=UNANSWERED), a_setup(registered=None), "unknown", "disabled"),
    ],
)
def test_the_state_before_and_after(
    desired: DesiredClient, facts: HostFacts, setup: ClientSetup, before: str, after: str
) -> None:
    found = plan(desired, facts, setup)
    assert (found.before.state, found.after.state) == (before, after)
