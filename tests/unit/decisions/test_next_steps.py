# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Next steps: they fit the release, the kernel and the policy of the host, and can be pasted."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import functools
import itertools
import re
import shlex
import typing as t

import pytest
from ansible.inventory.manager import split_host_pattern

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions import next_steps
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.eligibility import assess_eligibility
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.next_steps import connection_step
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import AdmittedSystem, Policy
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.apt import KernelPackages, Package
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientError, ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.kernel import KernelIdentity, identify
from ansible_collections.kernelops.livepatch.plugins.module_utils._kernel_name import parse_release
from tests.samples.facts import NOW, a_host, a_kernel, shipped, without_client

LAUNCH, CURRENT = shipped("launch"), shipped("current")
LONGEST_REMEDY = 500
HIGHEST_MAINLINE = "9.9.0-090900-generic"


def foreign(release: str) -> KernelIdentity:
    """Return a kernel that Ubuntu did not build."""
    return identify(release, "#1 SMP", None, signature_absent=True, in_container=False)


def on(release: str, kernel: KernelIdentity, *installed: str, **changes: t.Any) -> HostFacts:
    """Return a host of an Ubuntu release with its running and its other installed kernels."""
    os_release = {"ID": "ubuntu", "VERSION_ID": release}
    both = (*installed, kernel.release) if kernel.release else installed
    given = {"inventory_name": "web-1", "installed_kernels": both, **changes}
    return without_client(os_release=os_release, kernel=kernel, **given)


# --- the kernel to boot ---


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        # A mainline kernel runs, and one of Ubuntu is installed.
        (
            on("20.04", foreign("5.19.0-051900-generic"), "5.15.0-46-generic"),
            (
                "run `apt-get purge linux-image-unsigned-5.19.0-051900-generic` on the host, because the boot loader"
                " starts it instead of 5.15.0-46-generic, which is installed; then reboot"
            ),
        ),
        # Before 4.17, images of the mainline archive had no "unsigned" in their names.
        (
            on("16.04", foreign("4.9.0-040900-generic"), "4.4.0-210-generic"),
            (
                "run `apt-get purge linux-image-4.9.0-040900-generic` on the host, because the boot loader starts it"
                " instead of 4.4.0-210-generic, which is installed; then reboot"
            ),
        ),
        # The GA kernel of 14.04 was never covered.
        (
            on("14.04", a_kernel("3.13.0-170-generic", "220")),
            "install a covered kernel: apt-get install linux-generic-lts-xenial; then reboot",
        ),
        # A FIPS kernel is left behind, and sorts above the ordinary one.
        (
            on("18.04", a_kernel("4.15.0-1011-fips", "12"), "4.15.0-212-generic", fips_certified=False),
            (
                "run `apt-get purge linux-image-4.15.0-1011-fips` on the host, because the boot loader starts it"
                " instead of 4.15.0-212-generic, which is installed; then reboot"
            ),
        ),
        (
            on("18.04", a_kernel("4.15.0-1011-fips", "12"), "4.15.0-212-generic", fips_certified=True),
            "run `pro enable fips-updates` and reboot, or patch this host with kernel upgrades and reboots",
        ),
        # A series that is replaced by a newer one.
        (
            on("16.04", a_kernel("4.13.0-37-generic", "42~16.04.1")),
            "install a covered kernel: apt-get install linux-image-generic-hwe-16.04; then reboot",
        ),
        # A series that is newer than all covered ones.
        (
            on("22.04", a_kernel("6.8.0-1010-oracle", "10")),
            (
                "install a covered kernel: apt-get install linux-image-oracle-lts-22.04; then run `apt-get purge"
                " linux-image-6.8.0-1010-oracle` on the host, and reboot"
            ),
        ),
        # No metapackage leads to the covered series.
        (
            on("24.04", a_kernel("6.14.0-1010-oracle", "10")),
            (
                "install a covered kernel: ansible web-1 --become -m kernelops.livepatch.kernel_upgrade -a 'force=true"
                " series=6.17 flavour=oracle'; then reboot"
            ),
        ),
        # A self-built kernel: its package is not known.
        (
            on("20.04", foreign("6.1.55-acme"), "5.4.0-216-generic"),
            (
                'start 5.4.0-216-generic, which is installed: set GRUB_DEFAULT="Advanced options for Ubuntu>Ubuntu,'
                ' with Linux 5.4.0-216-generic" in /etc/default/grub, run `update-grub`, and reboot'
            ),
        ),
        # The covered kernel waits for a reboot.
        (
            on("16.04", a_kernel("4.13.0-37-generic", "42~16.04.1"), "4.15.0-142-generic"),
            "reboot: the covered kernel 4.15.0-142-generic is installed",
        ),
        # A flavour that only other releases cover, and one that no release covers.
        (
            on("16.04", a_kernel("4.15.0-1098-gcp", "111~16.04.1"), "4.4.0-210-generic"),
            (
                "upgrade to a release whose kernels of flavour gcp are covered (18.04 or 20.04 or 22.04 or"
                " 24.04 or 26.04), or patch this host with kernel upgrades and reboots"
            ),
        ),
        (
            on("20.04", a_kernel("5.4.0-1100-kvm", "110"), "5.4.0-216-generic"),
            (
                "patch this host with kernel upgrades and reboots: policy 'current' covers no kernel of flavour"
                " kvm for this release"
            ),
        ),
        # Only older releases cover the flavour.
        (
            on("22.04", a_kernel("6.5.0-1027-oem", "28"), "5.15.0-100-generic"),
            (
                "patch this host with kernel upgrades and reboots: policy 'current' covers no kernel of"
                " flavour oem for this release"
            ),
        ),
        # A self-built kernel with a name like one of Ubuntu's.
        (
            on("20.04", foreign("6.1.55-1-generic"), "5.4.0-216-generic"),
            (
                'start 5.4.0-216-generic, which is installed: set GRUB_DEFAULT="Advanced options for'
                ' Ubuntu>Ubuntu, with Linux 5.4.0-216-generic" in /etc/default/grub, run `update-grub`, and reboot'
            ),
        ),
        (
            on("22.10", a_kernel("5.19.0-46-generic", "47")),
            "upgrade to a covered Ubuntu LTS release (24.04 or 26.04), or use a policy that covers this release",
        ),
        # The kernel is covered, but the service refuses it: only a newer one helps.
        (
            on("20.04", a_kernel("5.4.0-100-generic", "113"), "5.4.0-90-generic"),
            "install a covered kernel: apt-get install linux-image-generic; then reboot",
        ),
        (
            on("22.04", a_kernel("5.15.0-1032-realtime", "35", "#35 SMP PREEMPT_RT"), "5.15.0-91-generic"),
            (
                "if the host does not need the realtime kernel, run `pro disable realtime-kernel`, then run `apt-get"
                " purge linux-image-5.15.0-1032-realtime` on the host, because the boot loader starts it instead of"
                " 5.15.0-91-generic, which is installed; then reboot; otherwise patch this host with kernel upgrades"
                " and reboots"
            ),
        ),
    ],
)
def test_the_step_fits_release_and_installed_kernels(facts: HostFacts, step: str) -> None:
    assert next_steps.boot_step(facts, CURRENT) == step


def test_unknown_fips_service_names_both_ways() -> None:
    facts = on("18.04", a_kernel("4.15.0-1011-fips", "12"), "4.15.0-212-generic")
    step = next_steps.boot_step(facts, CURRENT)
    assert "pro enable fips-updates" in step
    assert "apt-get purge linux-image-4.15.0-1011-fips" in step


def test_a_hostile_kernel_name_is_in_no_command() -> None:
    hostile = ("9.9.0-1-generic;reboot", "9.9.0-$(reboot)-generic", "9.9.0-1-generic reboot", "x" * 5000)
    facts = on("20.04", foreign("5.19.0-051900-generic"), "5.15.0-46-generic", *hostile)
    step = next_steps.boot_step(facts, CURRENT)
    assert "reboot)" not in step
    assert ";reboot" not in step
    assert "Linux 5.15.0-46-generic" in step


# --- properties: any host, any policy ---


def kernels_for(row: AdmittedSystem) -> c.Iterator[KernelIdentity]:
    """Yield kernels that a host of this row can run, most of which the row refuses."""
    yield foreign(HIGHEST_MAINLINE)
    yield foreign("6.5.13-acme")
    yield a_kernel(f"{row.series}.0-1011-fips", "12")
    yield a_kernel(f"{row.series}.0-1011-aws-fips", "12+fips1")
    yield a_kernel("6.5.0-1032-realtime", "35", "#35 SMP PREEMPT_RT")
    for flavour in ("kvm", "oem", "raspi", *row.flavours):
        yield a_kernel(f"{row.series}.0-50-{flavour}", "50")
        yield a_kernel(f"5.19.0-50-{flavour}", "50")
        yield a_kernel(f"3.13.0-50-{flavour}", "50")


def hosts() -> c.Iterator[tuple[Policy, HostFacts]]:
    for policy, row in itertools.product((CURRENT, LAUNCH), CURRENT.systems):
        leftovers = ((), ("4.4.0-99-generic", "5.4.0-99-generic", "5.15.0-99-lowlatency"), (HIGHEST_MAINLINE,))
        for kernel, installed in itertools.product(kernels_for(row), leftovers):
            for fips in (True, False, None) if kernel.fips else (None,):
                updates = {"fips_certified": fips, "fips_updates": fips is False}
                yield policy, on(row.release, kernel, *installed, architecture=row.architecture, **updates)


@functools.cache
def hosts_with_remedies() -> list[tuple[Policy, HostFacts, list[str]]]:
    return [(policy, facts, list(remedies(policy, facts))) for policy, facts in hosts()]


def remedies(policy: Policy, facts: HostFacts) -> c.Iterator[str]:
    yield next_steps.upgrade_step(facts, policy)
    checks = assess_eligibility(facts, policy, collected_at=NOW)["checks"]
    yield from (check["remedy"] or "" for check in checks if check["status"] in ("fail", "warn"))


def test_no_step_names_what_its_policy_refuses() -> None:
    for policy, facts, found in hosts_with_remedies():
        rows = [row for row in policy.systems if row.release == facts.release]
        for remedy in found:
            installs = re.findall(r"apt-get install (\S+?)(?:;|$)", remedy)
            starts = re.findall(r"(?:instead of|start|covered kernel) ([0-9]\S+?)(?:,| is|$)", remedy)
            for package in installs:
                assert flavour_of(package) in {flavour for row in rows for flavour in row.flavours}, remedy
            for release in starts:
                name = parse_release(release)
                assert name is not None
                assert any(row.series == name.series and name.flavour in row.flavours for row in rows), remedy


def flavour_of(package: str) -> str:
    """Return the flavour of a metapackage; any other package is its own."""
    match = re.fullmatch(r"linux-(?:image-)?([a-z]+)(?:-hwe-[0-9.]+|-lts-(?:[0-9.]+|xenial))?", package)
    return match[1] if match else package


def test_a_host_keeps_its_flavour() -> None:
    for _policy, facts, found in hosts_with_remedies():
        flavour = facts.kernel.flavour
        # A host without a realtime kernel has a generic one.
        if facts.kernel.origin != "ubuntu" or flavour == "generic" or facts.kernel.realtime:
            continue
        for remedy in found:
            assert not re.search(r"install linux-(?:image-)?generic", remedy), (flavour, remedy)
            if not facts.kernel.realtime and not facts.kernel.fips:
                assert not re.search(r"(?:start|instead of) \S+-generic\b", remedy), (flavour, remedy)


def test_every_refusal_has_a_short_step() -> None:
    for _policy, _facts, found in hosts_with_remedies():
        for remedy in found:
            assert remedy
            assert len(remedy) <= LONGEST_REMEDY
            assert "{" not in remedy
            assert "None" not in remedy


def test_the_refused_14_04_kernel_is_never_named() -> None:
    for _policy, facts, found in hosts_with_remedies():
        if facts.release == "14.04":
            for remedy in found:
                assert not re.search(r"install linux-(?:image-)?(?:generic|lowlatency)(?!-lts)", remedy), remedy


def test_no_step_contains_a_secret() -> None:
    facts = on("16.04", a_kernel(), config={"https-proxy": "http://joe:hunter2hunter2@proxy:3128"})
    steps = (next_steps.enable_step(facts), *remedies(CURRENT, facts), *remedies(LAUNCH, facts))
    assert not any("hunter2" in step for step in steps)
    assert not any(re.search(r"token[= ]\S*[0-9a-f]{8}", step) for step in steps)


# --- upgrades and playbooks ---


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, "ansible-playbook kernelops.livepatch.upgrade --limit web-1"),
        ({"forced": True}, "ansible-playbook kernelops.livepatch.upgrade --limit web-1 -e livepatch_force=true"),
        ({"within_days": 30}, "ansible-playbook kernelops.livepatch.upgrade --limit web-1 -e livepatch_within_days=30"),
    ],
)
def test_an_upgrade_names_playbook_and_host(options: dict[str, t.Any], command: str) -> None:
    facts = a_host(inventory_name="web-1")
    assert next_steps.upgrade_step(facts, LAUNCH, **options) == f"upgrade the kernel and reboot: {command}"


def test_an_upgrade_removes_mainline_kernels_first() -> None:
    facts = a_host(inventory_name="web-1", installed_kernels=("4.4.0-210-generic", "5.7.7-050707-generic"))
    assert next_steps.upgrade_step(facts, LAUNCH) == (
        "run `apt-get purge linux-image-unsigned-5.7.7-050707-generic` on the host, because the boot loader would start"
        " it after the upgrade; then upgrade the kernel and reboot: ansible-playbook kernelops.livepatch.upgrade"
        " --limit web-1"
    )


def test_a_kernel_that_the_service_supports_is_not_replaced_by_an_older_one() -> None:
    facts = on("24.04", a_kernel("7.4.0-12-generic", "12"), client=ClientStatus(enabled=True, supported="supported"))
    step = next_steps.upgrade_step(facts, CURRENT, within_days=30)
    assert step.startswith("upgrade the kernel and reboot: ansible-playbook")
    refused = dataclasses.replace(facts, client=None)
    assert next_steps.upgrade_step(refused, CURRENT) == next_steps.boot_step(refused, CURRENT)


@pytest.mark.parametrize(
    ("release", "architecture", "step"),
    [
        (
            "24.04",
            "arm64",
            (
                "upgrade to a release that is covered on arm64 (26.04), or patch this host with kernel upgrades"
                " and reboots"
            ),
        ),
        ("24.04", "armhf", "patch this host with kernel upgrades and reboots"),
    ],
)
def test_a_newer_release_can_cover_the_architecture(release: str, architecture: str, step: str) -> None:
    assert next_steps.architecture_step(on(release, a_kernel(), architecture=architecture), CURRENT) == step


@pytest.mark.parametrize("release", [None, "rolling"])
def test_of_an_unknown_release_all_releases_are_newer(release: str | None) -> None:
    os_release = {"ID": "ubuntu"} if release is None else {"ID": "ubuntu", "VERSION_ID": release}
    step = next_steps.architecture_step(a_host(os_release=os_release, architecture="arm64"), CURRENT)
    assert "upgrade to a release that is covered on arm64 (26.04)" in step


def test_an_upgrade_keeps_the_policy() -> None:
    assert next_steps.upgrade_step(a_host(inventory_name="web-1"), CURRENT, forced=True).endswith(
        "--limit web-1 -e livepatch_force=true -e livepatch_policy=current"
    )


@pytest.mark.parametrize(
    ("changes", "words"), [({"container": "lxc"}, "machine that runs"), ({"wsl": True}, "Windows")]
)
def test_a_container_has_no_kernel_of_its_own(changes: dict[str, t.Any], words: str) -> None:
    facts = a_host(inventory_name="web-1", **changes)
    for step in (next_steps.upgrade_step(facts, CURRENT), next_steps.boot_step(facts, CURRENT)):
        assert words in step
        assert "web-1" not in step


def test_an_upgrade_of_a_refused_kernel_boots_another() -> None:
    facts = on("14.04", a_kernel("3.13.0-170-generic", "220"))
    assert next_steps.upgrade_step(facts, CURRENT) == next_steps.boot_step(facts, CURRENT)


def test_enabling_names_the_playbook_and_no_token() -> None:
    facts = a_host(inventory_name="web-1")
    command = "enable the client: ansible-playbook kernelops.livepatch.enable --limit web-1"
    token = "; pass livepatch_token by Ansible Vault or an environment variable"
    assert next_steps.enable_step(facts, LAUNCH) == f"{command}{token}"
    assert next_steps.enable_step(facts, CURRENT) == f"{command} -e livepatch_policy=current{token}"


def test_without_a_name_no_other_host_is_changed() -> None:
    assert "run `ansible-playbook kernelops.livepatch.enable` with --limit for this host only" in (
        next_steps.enable_step(a_host())
    )


@pytest.mark.parametrize(
    "host",
    [
        *("web-1", "web_1.example.com", "10.0.0.1", "fe80::1", "a:b", "größe", "it's", "x$(reboot)", "a;b", "`x`"),
        *('a"b', "web 1", "web,1", "!web", "@hosts", "~web", "&web", "web*", "web[1]", "-v", "a\nb", "", "x" * 200),
        *("fe80::1%eth0", "web-1:22", "a|b", "a\\b", "(a)"),
    ],
)
def test_a_limit_selects_exactly_one_host(host: str) -> None:
    value = next_steps.limit(host)
    if value is None:
        assert re.search(r"^[&!~@-]|[,*?\[\]{}\s]|^$", host)
        return
    (word,) = shlex.split(value)
    assert split_host_pattern(word) == [host]


def test_secure_boot_has_two_ways() -> None:
    facts = a_host(inventory_name="web-1", client_installed=False)
    assert next_steps.secure_boot_step(facts, LAUNCH) == (
        "upgrade the kernel and reboot: ansible-playbook kernelops.livepatch.upgrade --limit web-1 -e"
        " livepatch_force=true; or enroll the key and reboot: snap install canonical-livepatch && mokutil --import"
        " /snap/canonical-livepatch/current/keys/livepatch-kmod.x509"
    )
    with_client = dataclasses.replace(facts, client_installed=True)
    assert "snap install" not in next_steps.secure_boot_step(with_client, LAUNCH)


# --- /boot ---


def packages(*names: str, interrupted: tuple[str, ...] = ()) -> KernelPackages:
    found = {name: Package(name, "1", installed=not name.startswith("gone-"), held=False) for name in names}
    return KernelPackages(found, (), {}, interrupted, 0, {})


IMAGES = (
    "linux-image-5.4.0-100-generic",
    "linux-modules-extra-5.4.0-100-generic",
    "linux-headers-5.4.0-100-generic",
    "linux-image-unsigned-5.4.0-110-generic",
    "linux-image-5.4.0-146-generic",
    "linux-image-generic",
)


@pytest.mark.parametrize(
    ("found", "running", "step"),
    [
        (
            packages(*IMAGES),
            "5.4.0-110-generic",
            "apt-get purge linux-image-5.4.0-100-generic linux-modules-extra-5.4.0-100-generic",
        ),
        (
            packages(*IMAGES),
            "5.4.0-146-generic",
            (
                "apt-get purge linux-image-5.4.0-100-generic linux-image-unsigned-5.4.0-110-generic"
                " linux-modules-extra-5.4.0-100-generic"
            ),
        ),
        (
            packages(*IMAGES, interrupted=("linux-firmware",)),
            "5.4.0-110-generic",
            "dpkg --purge linux-image-5.4.0-100-generic linux-modules-extra-5.4.0-100-generic",
        ),
    ],
)
def test_a_full_boot_names_removable_kernels(found: KernelPackages, running: str, step: str) -> None:
    expected = f"remove kernels that are neither running nor the newest: {step}"
    assert next_steps.free_boot_step(found, running) == expected


def test_a_full_boot_without_removable_kernels() -> None:
    two = packages("linux-image-5.4.0-110-generic", "linux-image-5.4.0-146-generic")
    assert "purge" not in next_steps.free_boot_step(two, "5.4.0-110-generic")
    assert "purge" not in next_steps.free_boot_step(packages(*IMAGES), None)


# --- releases without standard support ---


@pytest.mark.parametrize(("days", "needed"), [(-2000, False), (0, True)])
def test_an_upgrade_without_standard_support_needs_pro(days: int, needed: bool) -> None:
    at = NOW + datetime.timedelta(days=days)
    facts = on("18.04", a_kernel("4.15.0-50-generic", "54"), asked_at=at)
    install = on("18.04", a_kernel("5.3.0-76-generic", "72"), asked_at=at)
    for step in (
        next_steps.upgrade_step(facts, CURRENT),
        next_steps.secure_boot_step(facts, CURRENT),
        next_steps.boot_step(install, CURRENT),
    ):
        assert all((word in step) is needed for word in ("pro attach", "pro enable esm-infra", "since 2023-05-31"))


def test_a_kernel_that_is_installed_needs_no_subscription() -> None:
    facts = on("20.04", a_kernel("5.8.0-63-generic", "71~20.04.1"), "5.15.0-100-generic", asked_at=NOW)
    assert next_steps.boot_step(facts, CURRENT) == "reboot: the covered kernel 5.15.0-100-generic is installed"


# --- a kernel that the service refuses ---


def refused(release: str, kernel: KernelIdentity, identifier: str = "not_eligible_kernel") -> str:
    client = ClientStatus(error=ClientError(identifier, "refused"))
    return next_steps.refused_step(on(release, kernel, client=client, client_installed=True), CURRENT)


def test_a_refused_flavour_can_be_replaced_by_generic() -> None:
    step = refused("24.04", a_kernel("6.8.0-47-lowlatency", "47"))
    assert "kernelops.livepatch.upgrade --limit web-1 -e livepatch_force=true" in step
    assert step.endswith("if the service refuses this flavour, boot generic (apt-get install linux-image-generic)")


@pytest.mark.parametrize("kernel", ["6.8.0-47-generic", "6.8.0-1010-aws"])
def test_a_refused_kernel_is_upgraded(kernel: str) -> None:
    step = refused("24.04", a_kernel(kernel, "47"))
    assert step.startswith("upgrade the kernel and reboot")
    assert "linux-image" not in step


def test_an_old_client_that_refuses_a_release_is_refreshed() -> None:
    step = refused("24.04", a_kernel("6.8.0-47-generic", "47"), "platform_unsupported")
    assert step.endswith("snap refresh canonical-livepatch")


def test_a_refused_kernel_outside_the_policy_is_replaced() -> None:
    assert refused("18.04", a_kernel("5.3.0-76-generic", "72")) == (
        "install a covered kernel: apt-get install linux-image-generic-hwe-18.04; then reboot"
    )


# --- a kernel that the platform of a virtual machine provides ---


@pytest.mark.parametrize("installed", [(), ("4.4.0-210-generic",)])
def test_a_kernel_from_outside_needs_another_boot_loader(installed: tuple[str, ...]) -> None:
    facts = on("16.04", foreign("4.8.1-x86_64-linode71"), installed_kernels=installed)
    assert "let the virtual machine boot from its disk (GRUB)" in next_steps.boot_step(facts, CURRENT)


@pytest.mark.parametrize("installed", [(), ("5.15.0-100-generic",)])
def test_a_mainframe_has_no_grub(installed: tuple[str, ...]) -> None:
    step = next_steps.boot_step(on("22.04", foreign("6.1.55-acme"), *installed, architecture="s390x"), CURRENT)
    assert "zipl" in step
    assert "grub" not in step.lower()


@pytest.mark.parametrize(
    ("error", "step"),
    [
        ("Failed to connect to the host via ssh: Host key verification failed.", "find out why the host key"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "find out why the host key"),
        ("connect to host db-07 port 22: No route to host", "check the connection: ansible db-07 -m"),
        ("Permission denied (publickey)", "check the connection: ansible db-07 -m"),
    ],
)
def test_a_changed_host_key_is_no_problem_of_the_network(error: str, step: str) -> None:
    assert connection_step("db-07", error).startswith(step)
