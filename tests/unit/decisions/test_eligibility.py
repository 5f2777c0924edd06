# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Eligibility: every check with a pass, a failure and an unknown fact."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import (
    KernelSupport,
    assess_eligibility,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import Policy
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import kernel
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientError, ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import (
    HostFacts,
    ServerReachability,
    Snapd,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.loaded_patches import KernelKey
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Check
from tests.samples.facts import NOW, a_client, a_host, a_kernel, shipped, without_client

LAUNCH = shipped("launch")
CURRENT = shipped("current")


def check(facts: HostFacts, identifier: str, **options: t.Any) -> Check:
    """Return the check with this id."""
    eligibility = assess_eligibility(facts, options.pop("policy", LAUNCH), **{"collected_at": NOW, **options})
    (found,) = [check for check in eligibility["checks"] if check["id"] == identifier]
    return found


def checks_of(facts: HostFacts, policy: Policy = LAUNCH) -> list[str]:
    """Return the ids of all checks."""
    return [item["id"] for item in assess_eligibility(facts, policy, collected_at=NOW)["checks"]]


def os_release(**values: str) -> dict[str, t.Any]:
    return {"os_release": {"ID": "ubuntu", "VERSION_ID": "16.04", **values}}


def identity(release: str, version: str, signature: str | None) -> kernel.KernelIdentity:
    return kernel.identify(release, version, signature, signature_absent=signature is None, in_container=False)


MAINLINE = identity("4.4.0-040400-generic", "#201601101930 SMP Mon Jan 11 00:34:09 UTC 2016", None)
SELF_BUILT = identity("4.4.0-rc1custom", "#1 SMP Mon Jan 11 00:34:09 UTC 2016", None)
REALTIME = a_kernel("5.15.0-1032-realtime", "35", "#35-Ubuntu SMP PREEMPT_RT Tue Jan 24 11:45:03 UTC 2023")
OLD_KERNEL = a_kernel("4.4.0-168-generic", "197", "#197-Ubuntu SMP Wed Nov 6 11:18:45 UTC 2019")


def test_a_protected_server_passes_every_rule() -> None:
    eligibility = assess_eligibility(a_host(), LAUNCH, collected_at=NOW)
    assert {item["status"] for item in eligibility["checks"]} == {"pass"}
    assert (eligibility["verdict"], eligibility["policy"]) == ("eligible", "launch")
    identifiers = [item["id"] for item in eligibility["checks"]]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize(
    ("identifier", "changes", "found"),
    [
        ("distribution", os_release(ID="linuxmint", ID_LIKE="ubuntu"), "linuxmint"),
        ("distribution", os_release(ID="debian"), "debian"),
        ("release", os_release(VERSION_ID="14.04"), "14.04"),
        ("release", os_release(VERSION_ID="16.10"), "16.10"),
        ("architecture", {"architecture": "i386", "machine": "i686"}, "i386"),
        ("architecture", {"architecture": "i386", "machine": "x86_64"}, "i386"),
        ("architecture", {"architecture": "arm64", "machine": "aarch64"}, "arm64"),
        ("architecture", {"architecture": "s390x", "machine": "s390x"}, "s390x"),
        ("kernel_series", {"kernel": a_kernel("4.15.0-30-generic", "32~16.04.1")}, "4.15"),
        ("flavour", {"kernel": a_kernel("4.4.0-1128-aws", "142")}, "aws"),
        ("kernel_origin", {"kernel": MAINLINE}, "4.4.0-040400-generic"),
        ("kernel_origin", {"kernel": SELF_BUILT}, "4.4.0-rc1custom"),
        ("kernel_livepatch", {"livepatch_in_kernel": False}, "no /sys/kernel/livepatch"),
        ("kernel_conflict", {"kernel": REALTIME}, "realtime"),
        ("kernel_conflict", {"kernel": a_kernel("4.4.0-1017-fips", "22~recert1")}, "fips"),
        ("container", {"container": "lxc", "virtualization": "lxc"}, "lxc"),
        ("container", {"container": "docker", "virtualization": "docker"}, "docker"),
        ("container", {"wsl": True, "virtualization": "wsl"}, "wsl"),
        ("snapd", {"snapd": Snapd(installed=False)}, "not installed"),
        ("snapd", {"snapd": Snapd(installed=True, version="2.14.2~16.04", answers=True)}, "2.14.2~16.04"),
        ("snapd", {"snapd": Snapd(installed=True, version="2.9", answers=True)}, "2.9"),
        ("secure_boot", {"secure_boot": True, "kernel_keys": (), "kernel": OLD_KERNEL}, "on, no key"),
        ("kernel_supported", {"client": a_client(supported="unsupported")}, "unsupported"),
        (
            "kernel_supported",
            {"client": ClientStatus(error=ClientError("not_eligible_kernel", "not eligible"))},
            "unsupported",
        ),
    ],
)
def test_each_rule_fails_a_host(identifier: str, changes: dict[str, t.Any], found: str) -> None:
    facts = a_host(**changes)
    refusal = check(facts, identifier)
    assert (refusal["status"], refusal["found"]) == ("fail", found)
    assert refusal["required"]
    assert refusal["message"]
    assert refusal["remedy"]
    assert assess_eligibility(facts, LAUNCH, collected_at=NOW)["verdict"] == "ineligible"


@pytest.mark.parametrize(
    ("identifier", "changes"),
    [
        ("distribution", {"os_release": {}}),
        ("release", {"os_release": {"ID": "ubuntu"}}),
        ("architecture", {"architecture": None}),
        ("kernel_series", {"kernel": kernel.identify(None, None, None, signature_absent=False, in_container=False)}),
        ("flavour", {"kernel": kernel.identify(None, None, None, signature_absent=False, in_container=False)}),
        (
            "kernel_origin",
            {"kernel": kernel.identify("4.4.0-1-x", None, None, signature_absent=False, in_container=False)},
        ),
        ("kernel_livepatch", {"livepatch_in_kernel": None}),
        ("kernel_conflict", {"kernel": kernel.identify(None, None, None, signature_absent=False, in_container=False)}),
        ("container", {"container_known": False, "virtualization": None}),
        ("snapd", {"snapd": Snapd(installed=True, version=None, answers=False)}),
        ("privileges", {"root": False}),
        ("privileges", {"root": None}),
        ("secure_boot", {"secure_boot": None, "kernel_keys": None, "kernel": OLD_KERNEL}),
        ("secure_boot", {"secure_boot": True, "kernel_keys": None, "kernel": OLD_KERNEL}),
        ("kernel_supported", {"client": a_client(supported="unknown")}),
    ],
)
def test_unknown_facts_never_pass(identifier: str, changes: dict[str, t.Any]) -> None:
    unknown = check(a_host(**changes), identifier)
    assert unknown["status"] == "unknown"
    assert unknown["message"]
    assert unknown["remedy"]


@pytest.mark.parametrize(
    ("release", "signature", "found", "message"),
    [
        ("4.4.0-47-generic", "Ubuntu 4.4.0-47.68~lp9-generic 4.4.24", "4.4.0-47.68~lp9-generic", "may be a private"),
        ("4.4.0-47-generic", None, "4.4.0-47-generic", "could not be determined"),
        (None, "Ubuntu 4.4.0-47.68-generic 4.4.24", None, "could not be determined"),
    ],
)
def test_only_an_addition_to_its_version_shows_a_private_build(
    release: str | None, signature: str | None, found: str | None, message: str
) -> None:
    named = kernel.identify(release, None, signature, signature_absent=False, in_container=False)
    unknown = check(a_host(kernel=named), "kernel_origin")
    assert (unknown["status"], unknown["found"]) == ("unknown", found)
    assert message in unknown["message"]


def test_a_failure_outweighs_an_unknown_check() -> None:
    assert assess_eligibility(a_host(root=False), LAUNCH, collected_at=NOW)["verdict"] == "unknown"
    refused = a_host(root=False, **os_release(VERSION_ID="14.04"))
    assert assess_eligibility(refused, LAUNCH, collected_at=NOW)["verdict"] == "ineligible"


def test_a_warning_does_not_change_the_verdict() -> None:
    facts = a_host(desktop=True, snapd=Snapd(installed=True, version="2.58", answers=True, seeded=False))
    assert check(facts, "desktop")["status"] == "warn"
    assert check(facts, "snapd_seeded")["status"] == "warn"
    assert assess_eligibility(facts, LAUNCH, collected_at=NOW)["verdict"] == "eligible"


def test_messages_name_derivatives_and_mixed_userlands() -> None:
    assert (
        "derivative" in check(a_host(**os_release(ID="linuxmint", ID_LIKE="ubuntu debian")), "distribution")["message"]
    )
    mixed = check(a_host(architecture="i386", machine="x86_64"), "architecture")
    assert "32-bit" in mixed["message"]
    plain = check(a_host(architecture="i386", machine="i686"), "architecture")
    assert "32-bit" not in plain["message"]


def test_a_container_is_the_first_reason() -> None:
    facts = a_host(container="lxc", **os_release(VERSION_ID="14.04"))
    eligibility = assess_eligibility(facts, LAUNCH, collected_at=NOW)
    refusals = [item["id"] for item in eligibility["checks"] if item["status"] == "fail"]
    assert refusals == ["container", "release"]


def test_each_check_narrows_the_policy_rows() -> None:
    """Kernel 4.15 is supported on 18.04, and on 16.04 with three flavours, but not as generic on arm64."""
    bionic = os_release(VERSION_ID="18.04", VERSION_CODENAME="bionic")
    aws = a_kernel("4.15.0-1051-aws", "53")
    assert check(a_host(kernel=aws, **bionic), "flavour", policy=CURRENT)["status"] == "pass"
    refusal = check(a_host(kernel=aws), "flavour", policy=CURRENT)
    assert (refusal["status"], refusal["required"]) == ("fail", "azure or generic or lowlatency")


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("2.15", "pass"),
        ("2.15.2ubuntu1", "pass"),
        ("2.54.3+18.04.2ubuntu0.2", "pass"),
        ("2.14.99", "fail"),
        ("10.1", "pass"),
    ],
)
def test_snapd_versions_compare_as_numbers(version: str, status: str) -> None:
    assert check(a_host(snapd=Snapd(installed=True, version=version, answers=True)), "snapd")["status"] == status


def test_a_snapd_without_its_daemon_is_a_warning() -> None:
    facts = a_host(snapd=Snapd(installed=True, version="2.57", answers=False))
    assert check(facts, "snapd")["status"] == "warn"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"secure_boot": False, "kernel_keys": ()}, "off"),
        ({"secure_boot": True}, "key carried"),
        ({"secure_boot": True, "kernel_keys": None}, "built 2021-04-16"),
    ],
)
def test_secure_boot_with_an_enrolled_key_passes(changes: dict[str, t.Any], found: str) -> None:
    passed = check(a_host(**changes), "secure_boot")
    assert (passed["status"], passed["found"]) == ("pass", found)


def test_another_key_of_the_owner_fails_secure_boot() -> None:
    other = KernelKey(
        subject="Canonical Ltd. Kernel Module Signing",
        key_id="88f752e560a1e0737e31163a466ad7b70a850c19",
        kind="X509.rsa",
    )
    facts = a_host(secure_boot=True, kernel_keys=(other,), kernel=OLD_KERNEL)
    assert check(facts, "secure_boot")["status"] == "fail"


@pytest.mark.parametrize(("updates", "status"), [(True, "pass"), (False, "fail")])
def test_only_certified_fips_kernels_conflict(updates: bool, status: str) -> None:
    facts = a_host(kernel=a_kernel("5.4.0-1021-aws-fips", "21+fips2"), fips_updates=updates)
    assert check(facts, "kernel_conflict")["status"] == status


# --- network ---


def reach(outcome: t.Any, **changes: t.Any) -> ServerReachability:
    return dataclasses.replace(
        ServerReachability("https://livepatch.example.com", by_proxy=False, tool="curl", outcome=outcome, detail=""),
        **changes,
    )


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("reached", "pass"), ("refused", "fail"), ("untrusted", "fail"), ("no_tool", "unknown"), ("unclear", "unknown")],
)
def test_the_server_must_be_reachable(outcome: str, status: str) -> None:
    assert check(without_client(reachability=(reach(outcome),)), "network")["status"] == status


HOSTED = "https://livepatch.canonical.com"
FILES = "https://livepatch-files.canonical.com"


@pytest.mark.parametrize(
    ("first", "second", "status", "found"),
    [
        ("reached", "reached", "pass", "reached"),
        ("reached", "refused", "fail", f"{FILES} not reached"),
        ("refused", "reached", "fail", f"{HOSTED} not reached"),
        ("refused", "refused", "fail", "not reached"),
        ("reached", "untrusted", "fail", "certificate not trusted"),
        ("reached", "unclear", "unknown", None),
        ("unclear", "refused", "fail", f"{FILES} not reached"),
    ],
)
def test_both_hosted_servers_must_be_reachable(first: str, second: str, status: str, found: str | None) -> None:
    result = check(without_client(reachability=(reach(first, url=HOSTED), reach(second, url=FILES))), "network")
    assert (result["status"], result["found"]) == (status, found)
    assert result["required"] == f"{HOSTED} and {FILES} reachable"
    if "refused" in (first, second):
        assert result["remedy"] == (
            "open port 443 to livepatch.canonical.com and livepatch-files.canonical.com,"
            " or set https-proxy in the client's config"
        )


@pytest.mark.parametrize(("urls", "message"), [([HOSTED], f"{HOSTED} answers"), ([HOSTED, FILES], "answer")])
def test_reached_servers_are_named_with_the_tool_of_the_first(urls: list[str], message: str) -> None:
    tools = ("curl", "wget")
    servers = tuple(reach("reached", url=url, tool=tool) for url, tool in zip(urls, tools, strict=False))
    assert check(a_host(reachability=servers), "network")["message"].endswith(f"{message} (curl)")


@pytest.mark.parametrize(
    ("outcomes", "shown", "hidden"),
    [
        (("refused", "refused"), "(curl): no route", "timed out"),
        (("untrusted", "untrusted"), "(curl): no route", "timed out"),
        (("unclear", "no_tool"), "the result of curl is not clear", "none of curl"),
        (("no_tool", "unclear"), "the host has none of curl", "wget is not clear"),
        (("unclear", "unclear"), "the result of curl is not clear", "wget"),
    ],
)
def test_of_two_failed_attempts_the_first_is_shown(outcomes: tuple[str, str], shown: str, hidden: str) -> None:
    servers = (
        reach(outcomes[0], url=HOSTED, detail="no route"),
        reach(outcomes[1], url=FILES, tool="wget", detail="timed out"),
    )
    message = check(without_client(reachability=servers), "network")["message"]
    assert shown in message
    assert hidden not in message


def test_the_remedy_names_the_proxy_and_the_port() -> None:
    servers = (reach("refused", url="http://patches.example.com:8080", by_proxy=True),)
    remedy = check(without_client(reachability=servers), "network")["remedy"] or ""
    assert remedy.startswith("allow the proxy to connect to patches.example.com on port 8080, ")
    plain = (reach("refused", url="http://[::1]"),)
    assert "open port 80 to ::1," in (check(without_client(reachability=plain), "network")["remedy"] or "")


@pytest.mark.parametrize(
    "url", ["", "https://", "https://x:port", "https://[::1", "https://x:99999", "\0", "https://\u2100/"]
)
def test_any_text_of_a_host_can_be_its_server(url: str) -> None:
    result = check(without_client(reachability=(reach("refused", url=url),)), "network")
    assert (result["remedy"] or "").startswith("open port 443 to the server,")


def test_a_client_check_does_not_prove_the_file_server() -> None:
    result = check(a_host(reachability=(reach("reached", url=HOSTED), reach("refused", url=FILES))), "network")
    assert result["status"] == "warn"
    assert "livepatch-files.canonical.com" in (result["remedy"] or "")
    whole = check(a_host(reachability=(reach("refused", url=HOSTED), reach("refused", url=FILES))), "network")
    assert (whole["status"], whole["remedy"]) == ("warn", None)


def test_a_client_check_outweighs_a_failed_connection() -> None:
    assert check(a_host(reachability=(reach("refused"),)), "network")["status"] == "warn"
    long_ago = a_client(last_check=NOW - datetime.timedelta(days=3))
    assert check(a_host(reachability=(reach("refused"),), client=long_ago), "network")["status"] == "fail"
    failing = a_client(check_state="check-failed")
    assert check(a_host(reachability=(reach("refused"),), client=failing), "network")["status"] == "fail"


def test_an_authority_in_the_client_configuration_is_trusted() -> None:
    config = {"ca-certs": "-----BEGIN CERTIFICATE-----"}
    assert check(without_client(reachability=(reach("untrusted"),), config=config), "network")["status"] == "pass"


def test_the_network_check_requires_an_attempt() -> None:
    assert "network" not in checks_of(a_host(reachability=()))


def test_messages_hide_passwords_of_proxies_and_servers() -> None:
    secret = reach("refused", url="https://fleet:hunter2hunter2@livepatch.example.com", by_proxy=True)
    secret = dataclasses.replace(secret, detail="proxy http://joe:hunter2hunter2@proxy:3128 refused")
    result = check(without_client(reachability=(secret,)), "network")
    assert "hunter2" not in str(result)
    assert "through its proxy" in result["message"]


# --- the answer of the service ---


def test_the_service_outweighs_the_client() -> None:
    facts = a_host(client=a_client(supported="supported"))
    assert check(facts, "kernel_supported", kernel_support=KernelSupport("unsupported"))["status"] == "fail"
    ended = check(facts, "kernel_supported", kernel_support=KernelSupport("kernel-end-of-life"))
    assert ended["status"] == "warn"
    # The client asks for an upgrade of a kernel that has ended, but not of one that the service refuses.
    assert "livepatch_force=true" not in (ended["remedy"] or "")
    refused = check(facts, "kernel_supported", kernel_support=KernelSupport("unsupported"))
    assert "livepatch_force=true" in (refused["remedy"] or "")
    assert check(facts, "kernel_supported", kernel_support=KernelSupport("supported"))["status"] == "pass"


def test_a_service_without_an_answer_is_unknown() -> None:
    result = check(without_client(), "kernel_supported", kernel_support=KernelSupport(None, "no route to host"))
    assert result["status"] == "unknown"
    assert result["message"] == "the server did not report if it supports this kernel: no route to host"


def test_without_a_question_there_is_no_check() -> None:
    assert "kernel_supported" not in checks_of(without_client())


def test_the_age_limit_warns_about_old_kernels() -> None:
    assert check(a_host(), "kernel_age", policy=CURRENT, collected_at=NOW.replace(year=2024))["status"] == "warn"
    soon = datetime.datetime(2021, 9, 1, tzinfo=datetime.timezone.utc)
    assert check(a_host(), "kernel_age", policy=CURRENT, collected_at=soon)["status"] == "pass"
    assert "kernel_age" not in checks_of(a_host(), LAUNCH)


@pytest.mark.parametrize("clock", [None, datetime.datetime(2021, 4, 17, tzinfo=datetime.timezone.utc)])
def test_the_clock_of_the_host_does_not_matter(clock: datetime.datetime | None) -> None:
    facts = a_host(now=clock, reachability=(reach("refused"),))
    assert check(facts, "kernel_age", policy=CURRENT)["found"] == "58 months"
    assert check(facts, "network")["status"] == "warn"


# --- limits ---


@pytest.mark.parametrize(("days", "status"), [(425, "pass"), (426, "warn")])
def test_kernel_age_is_counted_in_days(days: int, status: str) -> None:
    built = a_kernel().build_date
    assert built is not None
    result = check(a_host(), "kernel_age", policy=CURRENT, collected_at=built + datetime.timedelta(days))
    assert result["status"] == status


UNDATED = dataclasses.replace(a_kernel(), build_date=None)


@pytest.mark.parametrize(
    ("support", "client", "status"),
    [
        (None, None, "unknown"),
        ("supported", None, "pass"),
        (None, "supported", "pass"),
        ("kernel-end-of-life", "supported", "warn"),
        (None, "kernel-upgrade-required", "warn"),
        ("unknown", None, "unknown"),
    ],
)
def test_the_support_state_replaces_an_unknown_age(support: str | None, client: str | None, status: str) -> None:
    facts = a_host(kernel=UNDATED, client=a_client(supported=client))
    answer = KernelSupport(support) if support else None
    result = check(facts, "kernel_age", policy=CURRENT, kernel_support=answer)
    assert (result["status"], result["required"]) == (status, "at most 13 months")
    assert "its build date is unknown" in result["message"]
    assert bool(result["remedy"]) == (status != "pass")


def test_a_date_in_the_future_is_no_age() -> None:
    later = dataclasses.replace(a_kernel(), build_date=NOW + datetime.timedelta(days=3))
    result = check(a_host(kernel=later, client=a_client(supported=None)), "kernel_age", policy=CURRENT)
    assert (result["status"], result["found"]) == ("unknown", None)
    assert "2026-03-04 is in the future" in result["message"]


@pytest.mark.parametrize(("minutes", "found"), [(5, "0 months"), (6, "supported")])
def test_a_kernel_may_be_dated_five_minutes_ahead(minutes: int, found: str) -> None:
    soon = dataclasses.replace(a_kernel(), build_date=NOW + datetime.timedelta(minutes=minutes))
    assert check(a_host(kernel=soon), "kernel_age", policy=CURRENT)["found"] == found


@pytest.mark.parametrize("facts", [a_host(), a_host(kernel=UNDATED, client=a_client(supported="kernel-end-of-life"))])
def test_the_upgrade_of_an_old_kernel_is_forced(facts: HostFacts) -> None:
    """Its client may not ask for an upgrade, and the playbook would skip the host."""
    assert "livepatch_force=true" in (check(facts, "kernel_age", policy=CURRENT)["remedy"] or "")


def test_without_months_the_date_does_not_matter() -> None:
    assert "kernel_age" not in checks_of(a_host(kernel=UNDATED), LAUNCH)


@pytest.mark.parametrize(("built", "status"), [((2021, 3, 31, 23, 59, 59), "fail"), ((2021, 4, 1, 0, 0, 0), "pass")])
def test_kernels_since_april_2021_hold_the_key(built: tuple[int, ...], status: str) -> None:
    moment = datetime.datetime(*built, tzinfo=datetime.timezone.utc)  # type: ignore[misc,arg-type]  # six numbers
    kernel = dataclasses.replace(a_kernel(), build_date=moment)
    facts = a_host(secure_boot=True, kernel_keys=(), kernel=kernel)
    assert check(facts, "secure_boot")["status"] == status


def test_ubuntu_is_not_a_derivative() -> None:
    assert "derivative" not in check(a_host(**os_release(ID_LIKE="ubuntu")), "distribution")["message"]


@pytest.mark.parametrize(("root", "found"), [(True, "root"), (False, "not root"), (None, None)])
def test_the_privileges_of_the_session_are_shown(root: bool | None, found: str | None) -> None:
    assert check(a_host(root=root), "privileges")["found"] == found


@pytest.mark.parametrize(
    ("outcome", "found", "words", "remedy"),
    [
        ("no_tool", None, "none of curl, wget, openssl and bash", "install curl"),
        ("unclear", None, "the result of curl is not clear", "install curl"),
        ("untrusted", "certificate not trusted", "does not trust the certificate of {} (curl): why", "ca-certs"),
        ("refused", "not reached", "cannot reach {} (curl): why", "open port 443"),
    ],
)
def test_messages_name_the_connection_failure(outcome: str, found: str | None, words: str, remedy: str) -> None:
    result = check(without_client(reachability=(reach(outcome, detail="why"),)), "network")
    assert result["found"] == found
    assert words.format("https://livepatch.example.com") in result["message"]
    assert remedy in (result["remedy"] or "")


def test_a_message_without_detail_has_no_colon() -> None:
    result = check(without_client(reachability=(reach("refused"),)), "network")
    assert result["message"] == "the host cannot reach https://livepatch.example.com (curl)"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"client": a_client(last_check=NOW - LAUNCH.stale_after)}, "warn"),
        ({"client": a_client(last_check=NOW - LAUNCH.stale_after - datetime.timedelta(seconds=1))}, "fail"),
        ({"client": a_client(last_check=None)}, "fail"),
    ],
)
def test_only_a_recent_client_check_outweighs_a_failure(changes: dict[str, t.Any], status: str) -> None:
    assert check(a_host(reachability=(reach("refused"),), **changes), "network")["status"] == status


@pytest.mark.parametrize(
    ("changes", "identifier", "message", "remedy"),
    [
        (
            os_release(VERSION_ID="24.04"),
            "release",
            "Ubuntu 24.04 is not covered by policy 'launch'",
            "use a policy that covers this system, or patch this host with kernel upgrades and reboots",
        ),
        (
            os_release(VERSION_ID="14.04"),
            "release",
            "Ubuntu 14.04 is not covered by policy 'launch'",
            "upgrade to a covered Ubuntu LTS release (16.04), or use a policy that covers this release",
        ),
        (
            os_release(ID="debian", VERSION_ID="12"),
            "release",
            "debian 12 is not covered by policy 'launch'",
            "use a policy that covers this system, or patch this host with kernel upgrades and reboots",
        ),
        (
            {"kernel": a_kernel("4.15.0-30-generic", "32~16.04.1")},
            "kernel_series",
            "kernel series 4.15 is not covered by policy 'launch' for this host",
            (
                "install a covered kernel: apt-get install linux-image-generic; then run `apt-get purge"
                " linux-image-4.15.0-30-generic` on the host, and reboot; since 2021-04-30, Ubuntu 16.04 gets kernels"
                " only from Ubuntu Pro: first run `pro attach` and `pro enable esm-infra`, unless `pro status` shows it"
                " as enabled"
            ),
        ),
        (
            {"kernel": a_kernel("4.4.0-1128-aws", "142")},
            "flavour",
            "kernel flavour aws is not covered by policy 'launch' for this host",
            (
                "patch this host with kernel upgrades and reboots: policy 'launch' covers no kernel of flavour aws"
                " for this release"
            ),
        ),
    ],
)
def test_a_refusal_names_the_policy_and_its_values(
    changes: dict[str, t.Any], identifier: str, message: str, remedy: str
) -> None:
    refusal = check(a_host(**changes), identifier)
    assert (refusal["message"], refusal["remedy"]) == (message, remedy)


def test_a_passed_check_names_the_policy() -> None:
    assert check(a_host(), "release")["message"] == "16.04 is covered by policy 'launch'"


# --- the service decides about kernels that no row covers ---

NEW_KERNEL = a_kernel("7.4.0-12-generic", "12", "#12-Ubuntu SMP Fri Feb 6 09:57:56 UTC 2026")


def newly_supported(**client: t.Any) -> HostFacts:
    """Return a host of a release, series and flavour that no policy lists, with a client that reports its kernel."""
    reported = {"kernel": "7.4.0-12.12-generic", "supported": "supported", **client}
    return a_host(kernel=NEW_KERNEL, client=a_client(**reported), **os_release(VERSION_ID="28.04"))


def test_a_supported_kernel_needs_no_row() -> None:
    facts = newly_supported()
    assert assess_eligibility(facts, CURRENT, collected_at=NOW)["verdict"] == "eligible"
    series = check(facts, "kernel_series", policy=CURRENT)
    assert (series["status"], series["found"]) == ("pass", "7.4")
    assert series["message"] == "7.4 is not listed in policy 'current', but the service supports the running kernel"
    assert "kernel_age" not in [item["id"] for item in assess_eligibility(facts, CURRENT, collected_at=NOW)["checks"]]


@pytest.mark.parametrize(
    "client",
    [
        {"supported": None},
        {"supported": "unsupported"},
        {"supported": "unknown"},
        {"supported": "kernel-end-of-life"},
        {"kernel": "7.4.0-11.11-generic"},
        {"kernel": None},
    ],
)
def test_only_a_report_about_the_running_kernel_counts(client: dict[str, t.Any]) -> None:
    assert assess_eligibility(newly_supported(**client), CURRENT, collected_at=NOW)["verdict"] == "ineligible"


def test_the_server_decides_before_the_client() -> None:
    unsupported = newly_supported(supported=None)
    support = KernelSupport("supported")
    assert assess_eligibility(unsupported, CURRENT, support, collected_at=NOW)["verdict"] == "eligible"
    assert (
        assess_eligibility(newly_supported(), CURRENT, KernelSupport("unsupported"), collected_at=NOW)["verdict"]
        == "ineligible"
    )


def test_the_service_can_support_another_flavour() -> None:
    kernel = a_kernel("4.4.0-1100-snapdragon", "110")
    facts = a_host(kernel=kernel, client=a_client(kernel="4.4.0-1100.110-snapdragon"))
    assert check(facts, "flavour", policy=CURRENT)["status"] == "pass"
    assert check(facts, "flavour", policy=CURRENT, kernel_support=KernelSupport("unsupported"))["status"] == "fail"
    assert check(facts, "flavour", policy=LAUNCH)["status"] == "fail"


def test_a_strict_policy_ignores_the_service() -> None:
    assert assess_eligibility(newly_supported(), LAUNCH, collected_at=NOW)["verdict"] == "ineligible"
    assert (
        assess_eligibility(newly_supported(), LAUNCH, KernelSupport("supported"), collected_at=NOW)["verdict"]
        == "ineligible"
    )


@pytest.mark.parametrize(
    "changes",
    [os_release(ID="linuxmint", VERSION_ID="28.04"), {"architecture": "i386", "machine": "x86_64"}],
)
def test_the_service_decides_about_kernels_only(changes: dict[str, t.Any]) -> None:
    facts = dataclasses.replace(newly_supported(), **changes)
    assert assess_eligibility(facts, CURRENT, collected_at=NOW)["verdict"] == "ineligible"


# --- a client that reports about another system ---


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("livepatchd error: The platform Ubuntu 22.10 is not supported.", None),
        ("livepatchd error: The platform Ubuntu 24.04 is not supported.", "unsupported"),
        ("The platform is not supported", "unsupported"),
    ],
)
def test_a_stale_client_does_not_refuse_the_kernel(text: str, state: str | None) -> None:
    noble = a_kernel("6.8.0-31-generic", "31", "#31-Ubuntu SMP PREEMPT_DYNAMIC Sat Apr 20 00:40:06 UTC 2024")
    client = ClientStatus(error=ClientError("platform_unsupported", text))
    checks = assess_eligibility(
        a_host(kernel=noble, client=client, **os_release(VERSION_ID="24.04")), CURRENT, collected_at=NOW
    )
    found = [item["found"] for item in checks["checks"] if item["id"] == "kernel_supported"]
    assert found == ([] if state is None else [state])
    assert checks["verdict"] == ("eligible" if state is None else "ineligible")


def test_a_report_about_another_kernel_is_no_evidence() -> None:
    facts = a_host(client=a_client(kernel="4.4.0-209.241-generic", supported="unsupported"))
    assert assess_eligibility(facts, LAUNCH, collected_at=NOW)["verdict"] == "eligible"


# --- another policy ---


def noble_host(**changes: t.Any) -> HostFacts:
    noble = a_kernel("6.8.0-31-generic", "31", "#31-Ubuntu SMP PREEMPT_DYNAMIC Sat Apr 20 00:40:06 UTC 2024")
    return without_client(**{"kernel": noble, **os_release(VERSION_ID="24.04"), **changes})


def test_a_refusal_names_a_policy_that_covers() -> None:
    eligibility = assess_eligibility(noble_host(), LAUNCH, alternative=CURRENT, collected_at=NOW)
    assert eligibility["verdict"] == "ineligible"
    named = "use policy 'current', which covers this system: set livepatch_policy=current"
    remedies = {item["id"]: item["remedy"] for item in eligibility["checks"] if item["status"] == "fail"}
    assert remedies == {"release": named, "kernel_series": named}
    other = check(noble_host(), "other_policy", alternative=CURRENT)
    assert (other["status"], other["found"], other["required"]) == ("warn", "launch", "current")


@pytest.mark.parametrize(
    "facts",
    [
        a_host(),
        noble_host(container="lxc"),
        noble_host(architecture="arm64", machine="aarch64"),
        noble_host(kernel=MAINLINE),
        noble_host(kernel=REALTIME),
        noble_host(livepatch_in_kernel=False),
        noble_host(**os_release(VERSION_ID="24.10")),
    ],
)
def test_no_other_policy_is_named_without_its_cover(facts: HostFacts) -> None:
    eligibility = assess_eligibility(facts, LAUNCH, alternative=CURRENT, collected_at=NOW)
    assert "other_policy" not in [item["id"] for item in eligibility["checks"]]
    assert "livepatch_policy" not in str(eligibility)


def test_a_host_to_be_set_up_is_covered() -> None:
    facts = noble_host(snapd=Snapd(installed=False), reachability=(reach("refused"),))
    assert check(facts, "other_policy", alternative=CURRENT)["status"] == "warn"
    assert "apt-get install snapd" in (check(facts, "snapd", alternative=CURRENT)["remedy"] or "")


def test_only_refusals_have_the_policy_as_their_step() -> None:
    focal = a_kernel("5.15.0-100-generic", "110~20.04.1", "#110~20.04.1-Ubuntu SMP Tue Feb 13 14:25:03 UTC 2024")
    facts = without_client(kernel=focal, **os_release(VERSION_ID="20.04"))
    eligibility = assess_eligibility(facts, LAUNCH, alternative=CURRENT, collected_at=NOW)
    steps = {item["id"] for item in eligibility["checks"] if "livepatch_policy" in (item["remedy"] or "")}
    refused = {item["id"] for item in eligibility["checks"] if item["status"] == "fail"}
    assert steps - {"other_policy"} == refused
