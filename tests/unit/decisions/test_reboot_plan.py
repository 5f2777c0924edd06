# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Decisions of a reboot: the plan, refusals, and the checks after it."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import reboot_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.reboot_plan import RebootPlan
from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import kernel
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import Package
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.containers import (
    Container,
    Runtime,
    SavedContainers,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section
from tests.samples.answers import answer, ok
from tests.samples.facts import NOW, a_host, a_patch, shipped, without_client

OLD, NEW = "4.4.0-21-generic", "4.4.0-210-generic"
TWO = (Container("docker", "web"), Container("docker", "db"))
THIS, ANOTHER = "1c7c9b3e-43a5-4f3c-9d9b-0a0c5a8f1e52", "2c7c9b3e-43a5-4f3c-9d9b-0a0c5a8f1e52"


def host(running: str | None, newest: str | None, **changes: t.Any) -> HostFacts:
    identity = kernel.identify(running, None, None, signature_absent=True, in_container=False)
    return dataclasses.replace(a_host(), kernel=identity, newest_installed=newest, **changes)


def failure(function: t.Callable[..., object], *arguments: object, **more: object) -> LivepatchError:
    with pytest.raises(LivepatchError) as caught:
        function(*arguments, **more)
    assert caught.value.message
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("running", "newest", "saved", "options", "expected"),
    [
        (OLD, OLD, None, {}, RebootPlan("nothing", OLD)),
        (OLD, None, None, {}, RebootPlan("nothing", OLD)),
        (OLD, NEW, None, {}, RebootPlan("reboot", NEW)),
        (NEW, OLD, None, {}, RebootPlan("reboot", OLD)),
        (OLD, OLD, None, {"force": True}, RebootPlan("reboot", OLD)),
        (OLD, NEW, None, {"kernel": OLD}, RebootPlan("nothing", OLD)),
        (OLD, OLD, None, {"kernel": NEW}, RebootPlan("reboot", NEW)),
        # A drain was started, but no reboot.
        (OLD, NEW, THIS, {}, RebootPlan("reboot", NEW)),
        (OLD, OLD, THIS, {}, RebootPlan("finish", OLD)),
        (OLD, OLD, THIS, {"force": True}, RebootPlan("reboot", OLD)),
        # The host has rebooted: never a second time.
        (NEW, NEW, ANOTHER, {}, RebootPlan("finish", NEW, rebooted_before=True)),
        (NEW, NEW, ANOTHER, {"force": True}, RebootPlan("finish", NEW, rebooted_before=True)),
        (OLD, NEW, ANOTHER, {}, RebootPlan("finish", NEW, rebooted_before=True)),
        # The file with the boot id is damaged.
        (OLD, NEW, "", {}, RebootPlan("reboot", NEW)),
        (OLD, OLD, "", {}, RebootPlan("finish", OLD)),
    ],
)
def test_plans(
    running: str, newest: str | None, saved: str | None, options: dict[str, t.Any], expected: RebootPlan
) -> None:
    found = None if saved is None else SavedContainers(saved or None, ())
    settings = {"kernel": None, "force": False, **options}
    assert reboot_plan.plan_reboot(host(running, newest), THIS, found, **settings) == expected


def test_a_foreign_kernel_is_not_rebooted_into() -> None:
    mainline = "5.19.0-051900-generic"
    package = Package(f"linux-image-{OLD}", f"{OLD[:8]}.1", True, False)
    for facts, images in (
        (host(mainline, None), None),
        (host(mainline, None), {}),
        # An own build, beside a kernel of another flavour.
        (host("5.4.0-9-own", None), {OLD: (package,)}),
    ):
        error = failure(reboot_plan.plan_reboot, facts, THIS, None, images, kernel=None, force=True)
        assert error.id == "foreign_kernel"
    # Without a reboot, such a host is left alone.
    plan = reboot_plan.plan_reboot(host(mainline, None), THIS, None, None, kernel=None, force=False)
    assert plan.step == "nothing"


def test_an_unsigned_kernel_is_not_rebooted_into() -> None:
    images = {NEW: (Package(f"linux-image-unsigned-{NEW}", f"{NEW[:9]}.1", True, False),)}
    facts = host(OLD, NEW, secure_boot=True)
    error = failure(reboot_plan.plan_reboot, facts, THIS, None, images, kernel=NEW, force=False)
    assert error.id == "kernel_unsigned"


@pytest.mark.parametrize(("running", "boot_id"), [(None, THIS), (OLD, None)])
def test_an_unknown_boot_is_not_rebooted(running: str | None, boot_id: str | None) -> None:
    error = failure(reboot_plan.plan_reboot, host(running, NEW), boot_id, None, kernel=None, force=True)
    assert error.id == "boot_unknown"


@pytest.mark.parametrize(
    ("runtime", "counted", "policy", "expected"),
    [
        (Runtime(True, TWO, ()), 2, "stop", None),
        (Runtime(True, TWO, ()), 1, "stop", None),
        (Runtime(True, (), ()), 0, "stop", None),
        (Runtime(False, (), ()), 0, "stop", None),
        # Containers of another daemon, of another project of LXD, or of Incus.
        (Runtime(True, TWO, ()), 3, "stop", "containers_unlisted"),
        (Runtime(True, TWO, ()), 3, "wait", "containers_unlisted"),
        (Runtime(True, TWO, ()), 3, "ignore", None),
        (None, 1, "stop", "containers_unlisted"),
        (None, 0, "stop", None),
        (Runtime(False, (), ()), 3, "stop", "runtime_unresponsive"),
        (Runtime(False, (), ()), 3, "wait", "runtime_unresponsive"),
        (Runtime(False, (), ()), 3, "ignore", None),
        (Runtime(True, TWO, ("job",)), 2, "stop", "containers_would_vanish"),
        (Runtime(True, TWO, ("job",)), 2, "wait", None),
        (Runtime(True, TWO, ("job",)), 2, "ignore", None),
        (Runtime(True, TWO, (), {"db": 300}), 2, "stop", "stop_timeout_too_long"),
        (Runtime(True, TWO, (), {"db": 299}), 2, "stop", None),
        (Runtime(True, TWO, (), {"db": 300}), 2, "wait", None),
        (Runtime(True, TWO, (), {"db": 300}), 2, "ignore", None),
    ],
)
def test_containers_that_would_be_lost(
    runtime: Runtime | None, counted: int, policy: str, expected: str | None
) -> None:
    runtimes = {"docker": runtime} if runtime else {}
    arguments = (host(OLD, NEW, containers={"docker": counted}), runtimes, {"docker": policy})
    if expected is None:
        reboot_plan.refuse_undrainable(*arguments, drain_timeout=300)
    else:
        assert failure(reboot_plan.refuse_undrainable, *arguments, drain_timeout=300).id == expected


def test_a_container_that_stops_late_is_named() -> None:
    facts, runtime = host(OLD, NEW, containers={"docker": 2}), Runtime(True, TWO, (), {"db": 600, "web": 400})
    error = failure(reboot_plan.refuse_undrainable, facts, {"docker": runtime}, {"docker": "stop"}, drain_timeout=300)
    assert "drain_timeout (300 s), and would kill them after that: db (600 s), web (400 s)" in error.message
    assert "more than 600 s" in str(error.remedy)


def test_an_unlisted_container_is_named_by_numbers() -> None:
    facts = host(OLD, NEW, containers={"lxd": 3})
    runtimes = {"lxd": Runtime(True, TWO, ())}
    error = failure(reboot_plan.refuse_undrainable, facts, runtimes, {"lxd": "stop"}, drain_timeout=300)
    assert error.message == "3 containers of lxd run on this host, but lxd lists only 2 of them"


@pytest.mark.parametrize(
    ("counts", "rootless", "expected", "text"),
    [
        ({"kubernetes": 4}, {}, "kubernetes_running", "4 containers of Kubernetes"),
        ({"containerd": 2}, {}, "containerd_running", "2 containers of containerd"),
        ({"podman": 3}, {"podman": {1001: 2, 1000: 1}}, "rootless_running", "3 containers"),
        ({"podman": 3}, {"podman": {1001: 2, 1000: 1}}, "rootless_running", "(user IDs: 1000, 1001)"),
        ({"docker": 1}, {"docker": {1000: 1}}, "rootless_running", "1 containers"),
        ({"containerd": 1}, {"containerd": {1000: 1}}, "rootless_running", "1 containers"),
    ],
)
def test_containers_that_are_never_stopped(
    counts: dict[str, int], rootless: dict[str, dict[int, int]], expected: str, text: str
) -> None:
    facts = host(OLD, NEW, containers=counts, rootless_containers=rootless)
    policies = dict.fromkeys(("docker", "podman", "lxd"), "stop")
    error = failure(reboot_plan.refuse_undrainable, facts, {}, policies, ["other"], drain_timeout=300)
    assert error.id == expected
    assert text in error.message
    reboot_plan.refuse_undrainable(facts, {}, policies, [expected.removesuffix("_running")], drain_timeout=300)


def test_unknown_counts_do_not_prevent_a_reboot() -> None:
    facts = host(OLD, NEW, containers=None)
    policies = {"docker": "stop", "lxd": "stop"}
    reboot_plan.refuse_undrainable(facts, {"docker": Runtime(True, TWO, ())}, policies, drain_timeout=300)


@pytest.mark.parametrize("policy", ["stop", "wait"])
def test_a_silent_runtime_with_unknown_counts_prevents_a_reboot(policy: str) -> None:
    facts, runtimes = host(OLD, NEW, containers=None), {"docker": Runtime(False, (), ())}
    error = failure(reboot_plan.refuse_undrainable, facts, runtimes, {"docker": policy}, drain_timeout=300)
    assert error.id == "runtime_unresponsive"
    assert error.message == "docker does not answer, and its containers could not be counted"
    reboot_plan.refuse_undrainable(facts, runtimes, {"docker": "ignore"}, drain_timeout=300)


# --- drains


def test_a_drain_that_succeeded_has_no_failure() -> None:
    done = answer(ok("lock"), ok("pre 1"), ok("ended docker"), ok("note"), ok("stop"), ok("saved", "docker 1 web\n"))
    assert reboot_plan.drain_failure(done) is None
    reboot_plan.refuse_parallel_run(done)


@pytest.mark.parametrize(
    ("sections", "expected", "text"),
    [
        ([ok("pre 1"), ok("pre 2", "", 3, "not\n today ")], "pre_command_failed", "command 2 of pre_commands"),
        ([ok("pre 1", "", 3, "not\n today ")], "pre_command_failed", "exit code 3: not today"),
        ([Section("pre 1", "timeout", exit_code=124)], "pre_command_failed", "exit code 124: no output"),
        ([ok("ended podman", "podman 1 a\npodman 2 b\n", 1)], "containers_did_not_end", "drain_timeout: a, b"),
        (
            [ok("ended docker", "\n", 1)],
            "containers_did_not_end",
            "drain_timeout: unknown, because docker does not answer",
        ),
        ([ok("note", "", 124, "no\nanswer")], "drain_failed", "none was stopped: no answer"),
        ([ok("stop", "one\n", 1, "two")], "drain_failed", "started again: one two"),
        ([Section("stop", "timeout", exit_code=124)], "drain_failed", "did not end in time"),
        (
            [ok("stop", "one", 124), ok("unstopped", "podman 1 db\nunit a.service web\n")],
            "drain_failed",
            "did not stop within drain_timeout: db, web; the others were started again",
        ),
    ],
)
def test_drains_that_fail(sections: list[Section], expected: str, text: str) -> None:
    error = reboot_plan.drain_failure(answer(ok("lock"), *sections))
    assert error is not None
    assert (error.id, error.remedy is not None) == (expected, True)
    assert text in error.message


def test_a_drain_without_an_answer_has_failed() -> None:
    error = reboot_plan.drain_failure(None)
    assert error is not None
    assert (error.id, error.message) == ("drain_failed", "the connection was lost while containers were being stopped")


def test_a_parallel_run_is_refused() -> None:
    assert failure(reboot_plan.refuse_parallel_run, answer(ok("lock", "", 1))).id == "run_in_progress"


# --- after the reboot


def test_the_kernel_must_be_the_intended_one() -> None:
    reboot_plan.check_kernel(NEW, NEW)
    for running, text in ((OLD, f"booted {OLD} instead of {NEW}"), (None, "an unknown kernel")):
        error = failure(reboot_plan.check_kernel, running, NEW)
        assert (error.id, text in error.message) == ("old_kernel", True)


@pytest.mark.parametrize(
    ("sections", "expected", "text"),
    [
        ([ok("not_running"), ok("post 1")], None, ""),
        ([Section("not_running", "absent"), ok("post 1")], None, ""),
        (
            [ok("not_running", "docker 1 web\nlxd db db\n"), ok("start_output", "no such\n image ")],
            "containers_not_restored",
            "web (docker), db (lxd): no such image",
        ),
        ([ok("not_running", "lxd db db\n")], "containers_not_restored", "not running: db (lxd)"),
        ([ok("not_running"), ok("post 1"), ok("post 2", "", 5)], "post_command_failed", "command 2 of post_commands"),
    ],
)
def test_what_must_run_after_a_reboot(sections: list[Section], expected: str | None, text: str) -> None:
    error = reboot_plan.restore_failure(answer(*sections))
    assert (error.id if error else None) == expected
    assert error is None or text in error.message


def test_a_policy_does_not_limit_the_protection() -> None:
    mint = {"os_release": {"ID": "linuxmint"}}
    assert reboot_plan.assess_protection(a_host(**mint), shipped("launch"), NOW)["state"] == "protected"
    tampered = a_host(patches=(a_patch(taint="OEK"),))
    assert reboot_plan.assess_protection(tampered, shipped("launch"), NOW)["state"] != "protected"
    assert reboot_plan.assess_protection(without_client(), shipped("launch"), NOW)["state"] == "disabled"
