# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Facts of hosts for tests: a protected Ubuntu 16.04 server, with changes by the test."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.policy import Policy, parse_policy
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_status import ClientStatus
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import (
    ClientMode,
    HostFacts,
    ServerReachability,
    Snapd,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.kernel import KernelIdentity, identify
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.loaded_patches import (
    KernelKey,
    SysfsPatch,
)

SHIPPED = pathlib.Path(__file__).parents[2] / "plugins" / "plugin_utils" / "policies"
NOW = datetime.datetime(2026, 3, 1, 4, 0, tzinfo=datetime.timezone.utc)
KEY = KernelKey("Canonical Ltd. Live Patch Signing", "14df34d1a87cf37625abec039ef2bf521249b969", "X509.rsa")
KEY_2025 = KernelKey(
    "Canonical Ltd. Live Patch Signing 2025 Kmod", "d541cef61dc7e793b7eb7e899970a2eef0b5dc8c", "X509.rsa"
)
MODULE = "lkp_Ubuntu_4_4_0_210_242_generic_113"


def shipped(name: str) -> Policy:
    """Return a policy of the collection."""
    return parse_policy((SHIPPED / f"{name}.yml").read_text(encoding="utf-8"), name)


def a_kernel(
    release: str = "4.4.0-210-generic",
    upload: str = "242",
    version: str = "#242-Ubuntu SMP Fri Apr 16 09:57:56 UTC 2021",
) -> KernelIdentity:
    """Return the identity of an Ubuntu kernel."""
    number, abi, flavour = release.split("-", 2)
    return identify(
        release,
        version,
        f"Ubuntu {number}-{abi}.{upload}-{flavour} 4.4.262",
        signature_absent=False,
        in_container=False,
    )


def a_client(**changes: t.Any) -> ClientStatus:
    """Return a client that has applied patch 113.1 and has checked recently."""
    client = ClientStatus(
        enabled=True,
        generation="10",
        version="10.8.3",
        last_check=NOW - datetime.timedelta(minutes=40),
        kernel="4.4.0-210.242-generic",
        check_state="checked",
        patch_state="applied",
        patch_version="113.1",
        supported="supported",
    )
    return dataclasses.replace(client, **changes)


def a_patch(**changes: t.Any) -> SysfsPatch:
    """Return patch 113 as the kernel shows it after the transition."""
    patch = SysfsPatch(
        module=MODULE,
        enabled=True,
        transition=None,
        build_id="ab" * 20,
        srcversion="533BB7E5866E52F63B9ACCB",
        taint="OK",
    )
    return dataclasses.replace(patch, **changes)


def a_host(**changes: t.Any) -> HostFacts:
    """Return a protected server that the launch policy supports."""
    facts = HostFacts(
        root=True,
        now=NOW,
        os_release={"ID": "ubuntu", "VERSION_ID": "16.04", "VERSION_CODENAME": "xenial"},
        machine="x86_64",
        architecture="amd64",
        kernel=a_kernel(),
        uptime=datetime.timedelta(days=40),
        newest_installed="4.4.0-210-generic",
        virtualization="kvm",
        container=None,
        container_known=True,
        wsl=False,
        containers={"docker": 0, "lxd": 0, "podman": 0},
        machine_id_sha256="0" * 64,
        secure_boot=False,
        kernel_keys=(KEY, KEY_2025),
        livepatch_in_kernel=True,
        desktop=False,
        fips_updates=False,
        snapd=Snapd(installed=True, version="2.58", answers=True),
        client_installed=True,
        client=a_client(),
        config={"remote-server": "https://livepatch.canonical.com"},
        mode=ClientMode("normal", "default"),
        crash_locks=(),
        patches=(a_patch(),),
        reachability=(
            ServerReachability(
                "https://livepatch.canonical.com", by_proxy=False, tool="curl", outcome="reached", detail=""
            ),
            ServerReachability(
                "https://livepatch-files.canonical.com", by_proxy=False, tool="curl", outcome="reached", detail=""
            ),
        ),
        complete=True,
    )
    return dataclasses.replace(facts, **changes)


def without_client(**changes: t.Any) -> HostFacts:
    """Return the same host without a client."""
    return a_host(**{"client_installed": False, "client": None, "config": None, "mode": None, "patches": (), **changes})
