# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts and texts that people published: each has its state, its cause, and a next step that helps there.

The rows describe kinds of problems. The first part of a name is the number of the report; a letter is a variation.
"""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.apt_failures import apt_failure
from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.record_builder import make_record
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_failures import recognise
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import HostFacts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.kernel import newest_release
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import Collector, validate
from tests.samples.facts import shipped
from tests.samples.public_hosts import NOT_ENABLED, NOW, Text, as_json, as_yaml, describe, says
from tests.samples.schemas import check_document

MINUTE = datetime.timedelta(minutes=1)
DAY = datetime.timedelta(days=1)
POLICIES = {name: shipped(name) for name in ("launch", "current")}
LOCKS = "/var/snap/canonical-livepatch/common/locks"
MODE_FILE = "/var/local/canonical_livepatch_mode"
DAEMON_DOWN = says(
    "error executing status: cannot connect to the daemon: Get http://127.0.0.1/status: dial unix"
    " /var/snap/canonical-livepatch/current/livepatchd.sock: connect: no such file or directory"
)
READLINKAT = says("cannot perform readlinkat() on the mount namespace file descriptor of the init process")
UPGRADE = "kernelops.livepatch.upgrade --limit host1"
ENABLE = "kernelops.livepatch.enable --limit host1"
OTHER_POLICY = "livepatch_policy=current"
FOCAL, NOBLE, HWE = "5.4.0-42.46-generic", "6.8.0-51.52-generic", "6.17.0-14.14~24.04.1-generic"
NOBLE_MODULE = "lkp_Ubuntu_6_8_0_51_52_generic"
JAMMY_HWE, PRIVATE = "6.8.0-60.63~22.04.1-generic", "6.8.0-60.63~lp2100001-generic"
ROLLED = "4.13.0-37.42~16.04.1-generic"
XENIAL_HWE = "4.15.0-30.32~16.04.1-generic"
LINODE = "4.8.1-x86_64-linode71"
IN_2018, IN_2019, IN_2020 = (f"Wed May 15 14:27:21 UTC {year}" for year in (2018, 2019, 2020))
UPGRADE_REQUIRED = as_json(FOCAL, "kernel-upgrade-required", supported="kernel-upgrade-required")


def mint(version: str) -> dict[str, str]:
    return {"ID": "linuxmint", "ID_LIKE": "ubuntu debian", "VERSION_ID": version, "UBUNTU_CODENAME": "jammy"}


class Row(t.NamedTuple):
    """A host with its state and deciding reason. The remedies of all reasons have all `words`, and `never` any other.

    `ids` are the other reasons.
    """

    name: str
    facts: HostFacts
    state: str
    reason: str
    words: str = ""
    never: str = ""
    ids: str = ""
    policy: str = "current"


def noble(status: Text | None, **changes: t.Any) -> HostFacts:
    return describe("24.04", NOBLE, status, **changes)


def nothing(**changes: t.Any) -> Text:
    return as_json(NOBLE, "nothing-to-apply", **changes)


def failing(journal: str, **changes: t.Any) -> HostFacts:
    return noble(nothing(check="check-failed"), journal=journal, **changes)


ROWS = [
    # Kernels that Ubuntu did not build, beside those that it built.
    Row(
        "1 mainline above",
        describe("20.04", FOCAL, UPGRADE_REQUIRED, installed=["5.7.7-050707-generic"], built=IN_2020),
        "upgrade_required",
        "kernel_upgrade_required",
        f"apt-get purge linux-image-unsigned-5.7.7-050707-generic|{UPGRADE}|pro enable esm-infra",
    ),
    Row(
        "1a a kernel above whose package is not known",
        describe("20.04", FOCAL, UPGRADE_REQUIRED, installed=["6.14.8-x64v3-xanmod1"], built=IN_2020),
        "upgrade_required",
        "kernel_upgrade_required",
        f"remove the kernel 6.14.8-x64v3-xanmod1|GRUB_DEFAULT|update-grub|{UPGRADE}",
        "apt-get purge",
    ),
    Row(
        "2 mainline of the same series",
        describe("20.04", FOCAL, UPGRADE_REQUIRED, installed=["5.4.23-050423-generic"], built=IN_2020),
        "upgrade_required",
        "kernel_upgrade_required",
        f"apt-get purge linux-image-unsigned-5.4.23-050423-generic|{UPGRADE}",
    ),
    Row(
        "3 mainline runs",
        describe("20.04", "5.19.0-051900-generic", signature=False, installed=["5.15.0-46-generic"]),
        "ineligible",
        "kernel_origin",
        "apt-get purge linux-image-unsigned-5.19.0-051900-generic|5.15.0-46-generic, which is installed|reboot",
        "apt-get install",
    ),
    Row(
        "3a release candidate",
        describe("24.04", "6.15.0-061500rc3-generic", signature=False, installed=["6.8.0-51-generic"]),
        "ineligible",
        "kernel_origin",
        "apt-get purge linux-image-unsigned-6.15.0-061500rc3-generic|reboot",
        "apt-get install",
    ),
    Row(
        "3b liquorix",
        describe("22.04", "6.8.0-15.1-liquorix-amd64", signature=False, installed=["5.15.0-100-generic"]),
        "ineligible",
        "kernel_origin",
        "start 5.15.0-100-generic|GRUB_DEFAULT|update-grub",
        "apt-get install",
    ),
    Row(
        "3c xanmod below",
        describe("22.04", "6.6.30-x64v3-xanmod1", signature=False, installed=["6.8.0-40-generic"]),
        "ineligible",
        "kernel_origin",
        "reboot: the covered kernel 6.8.0-40-generic is installed",
    ),
    Row(
        "3d Proxmox",
        describe("22.04", "6.8.12-4-pve", signature=False, installed=["5.15.0-100-generic"]),
        "ineligible",
        "kernel_origin",
        "start 5.15.0-100-generic",
        "apt-get install|apt-get purge",
    ),
    Row(
        "4 rolling HWE",
        describe("16.04", ROLLED, as_yaml(ROLLED, "nothing-to-apply"), built=IN_2018),
        "ineligible",
        "kernel_series",
        "linux-image-generic-hwe-16.04|pro enable esm-infra",
        ids="enabled_though_ineligible",
    ),
    Row(
        "4a installed already",
        describe("16.04", ROLLED, installed=["4.15.0-142-generic"], built=IN_2018),
        "ineligible",
        "kernel_series",
        "reboot: the covered kernel 4.15.0-142-generic is installed",
        "apt-get|pro attach",
    ),
    Row(
        "7 FIPS left behind",
        describe("18.04", "4.15.0-1011.12-fips", installed=["4.15.0-212-generic"], built=IN_2019),
        "ineligible",
        "kernel_conflict",
        "apt-get purge linux-image-4.15.0-1011-fips|4.15.0-212-generic|reboot",
        "fips-updates|apt-get install",
    ),
    # A client that reports no support status.
    Row(
        "20 old kernel",
        describe("16.04", XENIAL_HWE, as_yaml(XENIAL_HWE, "nothing-to-apply"), built=IN_2018, uptime=51 * MINUTE),
        "end_of_life",
        "kernel_age",
        f"{UPGRADE}|pro enable esm-infra",
    ),
    Row(
        "20a the same by the launch policy",
        describe("16.04", XENIAL_HWE, as_yaml(XENIAL_HWE, "nothing-to-apply"), built=IN_2018),
        "ineligible",
        "kernel_series",
        OTHER_POLICY,
        "canonical-livepatch disable",
        "enabled_though_ineligible",
        "launch",
    ),
    Row(
        "20b before the first reboot after an upgrade of Ubuntu",
        describe("24.04", JAMMY_HWE, as_json(JAMMY_HWE, "nothing-to-apply")),
        "unknown",
        "kernel_of_other_release",
        f"{UPGRADE} -e livepatch_force=true|reboot",
    ),
    Row(
        "20c a patch that runs after such an upgrade",
        describe("24.04", JAMMY_HWE, as_json(JAMMY_HWE, "applied", "121.4"), loaded="121.4"),
        "protected",
        "applied",
    ),
    Row(
        "20d private build, which has the name of an Ubuntu kernel",
        describe("24.04", PRIVATE, as_json(PRIVATE, "nothing-to-apply")),
        "unknown",
        "kernel_origin",
        "apt-get install linux-image-generic",
    ),
    Row(
        "39 applied",
        describe("18.04", "4.15.0-23.25-generic", as_yaml("4.15.0-23.25-generic", "applied", "42.1"), loaded="42.1"),
        "protected",
        "applied",
    ),
    # A client that refuses a release.
    Row(
        "22 stale platform",
        noble(says("livepatchd error: The platform Ubuntu 22.10 is not supported.")),
        "failed",
        "platform_stale",
        "reinstall: true|snap remove --purge canonical-livepatch",
        "boot",
    ),
    Row(
        "22a the daemon prints it",
        noble(DAEMON_DOWN, journal="livepatchd error: The platform Ubuntu 22.04 is not supported."),
        "failed",
        "platform_stale",
        "reinstall: true",
        "systemctl restart",
    ),
    Row(
        "22b own release",
        noble(says("livepatchd error: The platform Ubuntu 24.04 is not supported.")),
        "ineligible",
        "kernel_supported",
        "snap refresh canonical-livepatch",
        "apt-get",
    ),
    Row(
        "32 daemon ends",
        describe("16.04", "4.4.0-64.85-generic", DAEMON_DOWN, journal="Only Ubuntu 16.04 LTS is supported, exiting."),
        "failed",
        "daemon_ends",
        "snap refresh canonical-livepatch",
        "systemctl restart",
        policy="launch",
    ),
    # Modes.
    Row(
        "23 mode stop in the file",
        noble(DAEMON_DOWN, files={MODE_FILE: "stop"}),
        "held_back",
        "mode_withholds",
        "client_mode: normal|snap restart canonical-livepatch",
        "systemctl",
    ),
    Row(
        "23a mode stop on the command line",
        noble(DAEMON_DOWN, command_line="canonical_livepatch_mode=stop"),
        "held_back",
        "mode_withholds",
        "canonical_livepatch_mode=stop|GRUB_CMDLINE_LINUX|update-grub|reboot",
        "systemctl",
    ),
    Row(
        "24 mode no-apply",
        noble(as_json(NOBLE, "unapplied"), files={MODE_FILE: "no-apply"}),
        "held_back",
        "mode_withholds",
        "client_mode: normal",
        "wait",
    ),
    Row(
        "24a mode no-apply on the command line, the file is normal",
        noble(
            as_json(NOBLE, "unapplied"), files={MODE_FILE: "normal"}, command_line="canonical_livepatch_mode=no-apply"
        ),
        "held_back",
        "mode_withholds",
        "canonical_livepatch_mode=no-apply|update-grub",
        "wait|client_mode",
    ),
    Row(
        "24d mode stop on the command line of a mainframe",
        noble(DAEMON_DOWN, command_line="canonical_livepatch_mode=stop", architecture="s390x"),
        "held_back",
        "mode_withholds",
        "canonical_livepatch_mode=stop|/etc/zipl.conf",
        "grub",
    ),
    Row(
        "24b mode no-refresh",
        noble(nothing(checked=5 * DAY), files={MODE_FILE: "no-refresh"}),
        "held_back",
        "mode_withholds",
        "client_mode: normal",
        "network|proxy",
    ),
    Row(
        "24c patch delay",
        noble(nothing(), config='patch-delay: "2w"'),
        "held_back",
        "patches_excluded",
        "canonical-livepatch config patch-delay=",
    ),
    Row(
        "24e a delay of zero",
        noble(nothing(), config='patch-delay: "0s"\ncutoff-date: "0001-01-01T00:00:00Z"'),
        "protected",
        "nothing_to_apply",
    ),
    # Ubuntu 14.04.
    Row(
        "25 GA kernel of 14.04",
        describe(
            "14.04",
            "3.13.0-170.220-generic",
            as_yaml("3.13.0-170.220-generic", "nothing-to-apply", client="9.3.0"),
            built=IN_2019,
            livepatch=False,
        ),
        "ineligible",
        "kernel_series",
        "linux-generic-lts-xenial|pro enable esm-infra",
        "linux-image-generic",
        "enabled_though_ineligible",
    ),
    Row(
        "26 snapd on 3.13",
        describe("14.04", "3.13.0-170.220-generic", READLINKAT, built=IN_2019, livepatch=False),
        "ineligible",
        "kernel_series",
        "linux-generic-lts-xenial",
        "linux-image-generic",
    ),
    # A check that failed.
    Row(
        "27 server in trouble",
        failing("server check-in failed: status 503"),
        "failed",
        "check_failed",
        "journalctl|wait|canonical-livepatch refresh",
        "proxy|ca-certs|network",
    ),
    Row(
        "29 a new subscription helped",
        failing('POST request to "https://livepatch.canonical.com/v1/client/x/updates" failed: status 401'),
        "failed",
        "check_failed",
        f"canonical-livepatch disable|{ENABLE}",
        "proxy|ca-certs",
    ),
    Row(
        "30 name service",
        failing("dial tcp: lookup livepatch.canonical.com: Temporary failure in name resolution"),
        "failed",
        "check_failed",
        "canonical-livepatch refresh",
        "proxy|ca-certs|disable",
    ),
    Row(
        "30a authority of a proxy",
        failing("livepatch check failed: x509: certificate signed by unknown authority"),
        "failed",
        "check_failed",
        "ca-certs|canonical-livepatch refresh",
        "port 443|disable",
    ),
    Row(
        "30b clock",
        failing("x509: certificate has expired or is not yet valid: current time 2024-01-01T00:00:00Z is before 2026"),
        "failed",
        "check_failed",
        "timedatectl|canonical-livepatch refresh",
        "ca-certs",
    ),
    Row(
        "31 lock",
        describe(
            "20.04",
            FOCAL,
            as_json(FOCAL, "apply-failed", "70.3", check="check-failed", client="9.5.5", supported=None),
            paths=[f"{LOCKS}/livepatch_Ubuntu_5_4_0_42_46_generic_70_70.3"],
        ),
        "failed",
        "crash_lock",
        "clear_crash_lock: true",
        "network|proxy|journalctl",
    ),
    Row(
        "31a drivers that the client refuses",
        noble(as_json(NOBLE, "apply-failed", "121.4"), journal="System contains non-livepatch tainted modules."),
        "failed",
        "tainted_modules",
        "/proc/modules",
        "refresh",
    ),
    Row(
        "31b a full disk",
        noble(as_json(NOBLE, "apply-failed", "121.4"), journal="write /var/snap/x.ko: no space left on device"),
        "failed",
        "disk_full",
        "df -h|canonical-livepatch refresh",
        "run the task again",
    ),
    Row(
        "31c a lock that only the journal shows",
        noble(as_json(NOBLE, "apply-failed", "121.4"), journal="the patch may have caused kernel crash, skipping"),
        "failed",
        "crash_lock",
        "clear_crash_lock: true",
    ),
    Row(
        "31d a file system that became read-only",
        failing("cannot write client-info: read-only file system"),
        "failed",
        "check_failed",
        "mount|canonical-livepatch refresh",
        "run the task again|proxy|disable the client",
    ),
    Row(
        "31e a proxy that refuses the tunnel",
        failing('Post "https://livepatch.canonical.com/v1/client/x/updates": Forbidden'),
        "failed",
        "check_failed",
        "https-proxy|canonical-livepatch refresh",
        "disable the client",
    ),
    Row(
        "32a daemon that ends on a full disk",
        noble(DAEMON_DOWN, journal="open /var/snap/canonical-livepatch/common/config: no space left on device"),
        "failed",
        "disk_full",
        "df -h|systemctl restart snap.canonical-livepatch",
        "reinstall",
    ),
    Row(
        "32b daemon without its interface",
        noble(DAEMON_DOWN, journal="Snappy kernel-module-control interface not connected!"),
        "failed",
        "interface_not_connected",
        "snap connect canonical-livepatch:kernel-module-control",
        "reinstall",
    ),
    Row(
        "32c stale platform in the journal of a failed check",
        failing("livepatchd error: The platform Ubuntu 22.04 is not supported."),
        "failed",
        "platform_stale",
        "reinstall: true",
        "network|proxy",
    ),
    Row(
        "32d own platform in the journal of a failed check",
        failing("livepatchd error: The platform Ubuntu 24.04 is not supported."),
        "failed",
        "check_failed",
        "snap refresh canonical-livepatch|canonical-livepatch refresh",
        "reinstall|disable",
    ),
    Row(
        "32e kernel in the journal of a failed check",
        failing('your kernel "6.8.0-51-generic" is not eligible for livepatch updates'),
        "failed",
        "check_failed",
        f"{UPGRADE} -e livepatch_force=true",
        "disable",
    ),
    Row(
        "32f no seat in the journal of a failed check",
        failing('error response with status 403 (Forbidden): "machine limit reached"'),
        "failed",
        "check_failed",
        "a token with more seats|canonical-livepatch refresh",
        "proxy",
    ),
    Row(
        "31f a lock of a newer patch than the applied one",
        noble(as_json(NOBLE, "applied", "121.9"), loaded="121.9", paths=[f"{LOCKS}/{NOBLE_MODULE}_121_121.10"]),
        "failed",
        "crash_lock",
        "clear_crash_lock: true",
    ),
    Row(
        "31g a lock of a patch that a newer one has replaced",
        noble(as_json(NOBLE, "applied", "121.10"), loaded="121.10", paths=[f"{LOCKS}/{NOBLE_MODULE}_121_121.9"]),
        "protected",
        "applied",
    ),
    Row(
        "36 one of two servers",
        noble(None, network="files refused"),
        "disabled",
        "network",
        "livepatch.canonical.com and livepatch-files.canonical.com",
        ids="not_installed",
    ),
    Row(
        "36a the same of an enabled host",
        noble(nothing(check="check-failed"), network="files refused"),
        "failed",
        "check_failed",
        "livepatch.canonical.com and livepatch-files.canonical.com|canonical-livepatch refresh",
        ids="network",
    ),
    Row(
        "37 check before the name service",
        describe(
            "18.04",
            "4.15.0-50.54-generic",
            as_yaml("4.15.0-50.54-generic", "nothing-to-apply", check="check-failed", client="9.3.0", checked=DAY),
            uptime=18 * MINUTE,
        ),
        "failed",
        "check_failed",
        "canonical-livepatch refresh",
        "proxy|ca-certs|disable",
    ),
    Row(
        "37a within the grace time",
        noble(nothing(check="check-failed", checked=DAY), uptime=2 * MINUTE),
        "applying",
        "check_failed_after_boot",
        "wait",
    ),
    Row(
        "38 Secure Boot",
        describe(
            "18.04",
            "4.15.0-51.55-generic",
            as_yaml("4.15.0-51.55-generic", "apply-failed", "52.3", client="9.3.0"),
            secure_boot=True,
            keys=False,
            built=IN_2019,
            paths=[f"{LOCKS}/livepatch_Ubuntu_4_15_0_51_55_generic_52_52.3"],
        ),
        "failed",
        "secure_boot",
        f"mokutil --import|{UPGRADE}|clear_crash_lock: true",
        ids="crash_lock",
    ),
    Row(
        "50 lock",
        describe(
            "16.04",
            "4.4.0-128.154-generic",
            as_yaml("4.4.0-128.154-generic", "apply-failed", "40.7"),
            paths=[f"{LOCKS}/livepatch_Ubuntu_4_4_0_128_154_generic_40_40.7"],
        ),
        "failed",
        "crash_lock",
        "clear_crash_lock: true",
        policy="launch",
    ),
    # The age of the kernel.
    Row(
        "34 uname cut",
        describe("24.04", HWE, built=None, package_time=1768492330),
        "disabled",
        "not_installed",
        ENABLE,
    ),
    Row("34a no time", describe("24.04", HWE, built=None), "unknown", "kernel_age", "ask_server"),
    # Systems that the service does not cover.
    Row(
        "40 HWE of 2018 by the launch policy",
        describe("16.04", ROLLED, built=IN_2018),
        "ineligible",
        "kernel_series",
        "apt-get install linux-image-generic;",
        policy="launch",
    ),
    Row(
        "41 upgrade required",
        describe(
            "16.04",
            "4.4.0-131.157-generic",
            as_yaml("4.4.0-131.157-generic", "kernel-upgrade-required", "42.1"),
            built=IN_2018,
        ),
        "upgrade_required",
        "kernel_upgrade_required",
        UPGRADE,
        policy="launch",
    ),
    Row(
        "42 FIPS of a cloud",
        describe("18.04", "4.15.0-1002.2-azure-fips"),
        "ineligible",
        "kernel_conflict",
        "pro enable fips-updates",
        "linux-image-generic",
    ),
    Row(
        "42a realtime kernel without another one",
        describe("22.04", "5.15.0-1080.88-realtime", says(NOT_ENABLED)),
        "ineligible",
        "kernel_conflict",
        "pro disable realtime-kernel|apt-get install linux-image-generic|purge linux-image-5.15.0-1080-realtime",
    ),
    Row(
        "43 refused flavour",
        describe(
            "24.04",
            "6.8.0-47.47.1-lowlatency",
            says('your kernel "6.8.0-47-lowlatency" is not eligible for livepatch updates'),
        ),
        "ineligible",
        "kernel_supported",
        f"{UPGRADE} -e livepatch_force=true|apt-get install linux-image-generic",
    ),
    Row(
        "44 mainline of 2016",
        describe(
            "16.04",
            "4.8.0-040800-lowlatency",
            Text('kernel: 4.8.0-040800-lowlatency (unsupported)\nfully-patched: true\nversion: ""\n'),
            signature=False,
        ),
        "ineligible",
        "kernel_origin",
        "apt-get install linux-image-lowlatency-hwe-16.04",
        ids="enabled_though_ineligible",
    ),
    Row(
        "45 kernel of the platform",
        describe("16.04", LINODE, signature=False, livepatch=False, own_image=False),
        "ineligible",
        "kernel_origin",
        "apt-get install linux-image-generic-hwe-16.04|boot from its disk (GRUB)",
    ),
    Row(
        "47 interim release with noise",
        describe(
            "21.10",
            "5.11.0-40.44-generic",
            as_json("5.11.0-40.44-generic", "nothing-to-apply", client="10.0.1", supported=None)._replace(
                errors="ERROR: ld.so: object 'libx.so' from /etc/ld.so.preload cannot be preloaded"
            ),
        ),
        "ineligible",
        "release",
        "22.04 or 24.04 or 26.04",
        ids="enabled_though_ineligible",
    ),
    Row(
        "47a derivative",
        describe("21.2", "5.15.0-100.110-generic", os_release=mint("21.2")),
        "ineligible",
        "distribution",
        "kernel upgrades and reboots",
        "policy",
    ),
    Row(
        "47b container on Proxmox",
        describe("22.04", "6.8.12-4-pve", signature=False, virtualization="lxc"),
        "ineligible",
        "container",
        "manage the machine that runs this container",
        "GRUB",
    ),
    Row(
        "47c build container",
        noble(None, virtualization="none", files={"/proc/1/cgroup": "0::/buildkit/abc"}, snapd=None),
        "ineligible",
        "container",
        "manage the machine that runs this container",
        "snapd",
    ),
    Row(
        "47d WSL",
        describe("22.04", "5.15.167.4-microsoft-standard-WSL2", signature=False, virtualization="wsl", livepatch=False),
        "ineligible",
        "container",
        "Windows",
        "apt-get",
    ),
    Row(
        "47e arm64 before 26.04",
        noble(None, architecture="arm64"),
        "ineligible",
        "architecture",
        "26.04",
    ),
    Row(
        "47f Raspberry Pi, which no release covers",
        describe("24.04", "6.8.0-1024.28-raspi", architecture="arm64"),
        "ineligible",
        "architecture",
        "patch this host with kernel upgrades and reboots",
        "26.04",
    ),
    Row(
        "47g interim release of a Raspberry Pi",
        describe("25.10", "6.17.0-1003.3-raspi", architecture="arm64"),
        "ineligible",
        "release",
        "patch this host with kernel upgrades and reboots",
        "26.04",
    ),
    # Several entries, and kernels that the table does not list yet.
    Row(
        "48 another entry first",
        describe(
            "24.04",
            "6.8.0-1047.50-aws",
            as_json(
                "6.8.0-1047.50-aws",
                "applied",
                "121.4",
                client="v11.0.2",
                others=[
                    {
                        "Kernel": "6.8.0-1043.45-aws",
                        "Running": False,
                        "Livepatch": {"CheckState": "checked", "State": "apply-failed", "Version": "120.1"},
                    }
                ],
            ),
            loaded="121.4",
        ),
        "protected",
        "applied",
    ),
    Row(
        "49 newest series of a cloud",
        describe(
            "24.04",
            "7.0.0-1013.13~24.04.1-aws",
            as_json("7.0.0-1013.13~24.04.1-aws", "nothing-to-apply", client="v11.0.2"),
        ),
        "protected",
        "nothing_to_apply",
    ),
    Row(
        "49a flavour that the table lacks",
        describe("24.04", "6.8.0-1020.24-oracle", as_json("6.8.0-1020.24-oracle", "nothing-to-apply")),
        "protected",
        "nothing_to_apply",
    ),
    Row("49b not enabled", noble(says(NOT_ENABLED)), "disabled", "not_enabled", ENABLE),
    Row(
        "49c wrong clock",
        noble(nothing(), ahead=-40 * MINUTE),
        "unknown",
        "clock_skew",
        "timedatectl set-ntp true",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_published_hosts(row: Row) -> None:
    record = make_record(
        "host1",
        row.facts,
        POLICIES[row.policy],
        collector=Collector(collection="2.0.0", ansible_core="2.19.0"),
        collected_at=NOW,
        alternative=None if row.policy == "current" else POLICIES["current"],
    )
    validate(record)
    check_document(json.loads(json.dumps(record)))
    assessment = record["assessment"]
    reasons = [reason["id"] for reason in assessment["reasons"]]
    expected = [each for each in row.ids.split("|") if each]
    assert (assessment["state"], reasons) == (row.state, [row.reason, *expected])
    remedies = " | ".join(reason["remedy"] or "" for reason in assessment["reasons"])
    assert [word for word in row.words.split("|") if word not in remedies] == []
    assert [word for word in row.never.split("|") if word and word in remedies] == []


def test_a_lost_year_is_replaced_by_the_package() -> None:
    """34: the kernel is 10 months old, and patches of this series end after 9."""
    [row] = [row for row in ROWS if row.name == "34 uname cut"]
    record = make_record(
        "host1", row.facts, POLICIES["current"], collector=Collector(collection="2", ansible_core="2"), collected_at=NOW
    )
    [check] = [check for check in record["eligibility"]["checks"] if check["id"] == "kernel_age"]
    assert (check["status"], check["found"]) == ("warn", "10 months")


@pytest.mark.parametrize(
    ("releases", "newest"),
    [
        ("6.8.0-31-generic 6.8.0-100-generic", "6.8.0-100-generic"),
        ("4.13.0-38-generic 4.15.0-15.1-liquorix-amd64", "4.13.0-38-generic"),
        (
            "5.15.0-73-generic 5.15.0-75-generic 5.19.0-43-generic 5.19.0-46-generic 5.19.0-45-generic",
            "5.19.0-46-generic",
        ),
        ("5.3.0-7625-generic 5.3.0-7629-generic 5.4.13-050413-generic", "5.3.0-7629-generic"),
    ],
)
def test_the_newest_of_published_kernels(releases: str, newest: str) -> None:
    """16, 18, 19 and 2."""
    assert newest_release(releases.split(), "generic") == newest


CLIENT, SNAP, PRO = "client", "snap", "pro"
REFRESH = "https://api.snapcraft.io/v2/snaps/refresh"


@pytest.mark.parametrize(
    ("tool", "text", "identifier", "temporary"),
    [
        # 51, 52: the token.
        (CLIENT, "Could not retrieve client information.: unauthorized", "bad_token", False),
        (
            PRO,
            "Failed running command '/snap/bin/canonical-livepatch enable <REDACTED>' [exit(1)]. Message: unauthorized",
            "bad_token",
            False,
        ),
        # 53, 54: the store.
        (SNAP, f'error: cannot refresh: Get "{REFRESH}": x509: certificate has expired', "store_tls_untrusted", False),
        (SNAP, f'error: got unexpected HTTP status code 503 via POST to "{REFRESH}"', "store_error", True),
        # 56 to 64: Ubuntu Pro.
        (
            PRO,
            "Livepatch is not available for kernel 5.8.0-1033-azure.\nSupported flavors are: x",
            "pro_kernel_refused",
            False,
        ),
        (PRO, "Cannot enable Livepatch when FIPS is enabled.", "kernel_conflict", False),
        (PRO, "Livepatch does not currently cover the Real-time kernel.", "kernel_conflict", False),
        (PRO, "Livepatch is already enabled - nothing to do.\nCould not enable Livepatch.", "already_enabled", False),
        (SNAP, 'error: snap "canonical-livepatch" not found', "no_client_for_architecture", False),
        (SNAP, "error: cannot install: snap not available on armhf", "no_client_for_architecture", False),
        (PRO, "Livepatch is not available for Ubuntu 25.04 (Plucky Puffin).", "platform_unsupported", False),
        (CLIENT, "Kernel needs AppArmor 2.4 compatibility patch", "not_eligible_kernel", False),
        (PRO, "Failed to connect to authentication server", "contract_server_unreachable", False),
        (PRO, "Cannot install Livepatch on a container.", "container", False),
        (PRO, "Unable to perform: enable.\nOperation in progress: pro attach (pid:1234)", "pro_busy", True),
        # 65 to 67: the livepatch server.
        (CLIENT, "livepatch check failed: 502 Bad Gateway", "server_error", True),
        (CLIENT, "bad server status 401 (URL: https://livepatch.canonical.com/api/machine-tokens)", "bad_token", False),
        (CLIENT, "Bad server status code: 500. URL: https://livepatch.canonical.com/api/x", "server_error", True),
        (CLIENT, "bad server status 429 (URL: https://livepatch.canonical.com/api/x)", "server_error", True),
        # 68 to 70: locks, and texts that are passed on.
        (PRO, "Unable to install: E: Could not get lock /var/lib/apt/lists/lock - apt is running", "apt_locked", True),
        (SNAP, 'Run configure hook of "x" (cannot create writable mimic over "/var/log")', "snap_failed", False),
        (SNAP, "snap-confine: error while loading shared libraries: libudev.so.1", "snap_failed", False),
        # Network errors of Go.
        (CLIENT, "dial tcp: lookup livepatch.canonical.com: no such host", "server_unreachable", False),
        (CLIENT, "Post https://livepatch.canonical.com: net/http: TLS handshake timeout", "server_unreachable", False),
        (CLIENT, "remote error: tls: internal error", "server_unreachable", False),
        (CLIENT, "remote error: tls: bad certificate", "tls_untrusted", False),
        (CLIENT, "proxyconnect tcp: tls: first record does not look like a TLS handshake", "proxy_failed", False),
        (
            CLIENT,
            "x509: certificate is valid for proxy.example.com, not livepatch.canonical.com",
            "tls_wrong_name",
            False,
        ),
        # Permissions and file systems.
        (PRO, "This command must be run as root (try using sudo).", "permission_denied", False),
        (PRO, "[Errno 30] Read-only file system: '/var/lib/ubuntu-advantage'", "file_system_read_only", False),
        # Kernels that refuse a module.
        (CLIENT, "could not insert module x.ko: Required key not available", "secure_boot", False),
        (CLIENT, "livepatchd error: the architecture arm64 is not supported", "no_client_for_architecture", False),
    ],
)
def test_published_texts(tool: str, text: str, identifier: str, temporary: bool) -> None:
    failure = recognise(tool, text)
    assert (failure.id, failure.temporary) == (identifier, temporary)
    if identifier.endswith("_failed") and identifier.startswith(tool):
        assert failure.text == text


@pytest.mark.parametrize(
    ("log", "identifier", "words"),
    [
        ("E: dpkg frontend lock was locked by another process with pid 4602", "apt_locked", "run the task again"),
        ("E: Could not get lock /var/lib/apt/lists/lock - open (11: Resource unavailable)", "apt_locked", "again"),
        (
            "Error 24 : Write error : cannot write compressed block\nE: mkinitramfs failure lz4",
            "disk_full",
            "dpkg --purge",
        ),
        ("zstd: error 70 : Write error : cannot write block : No space left on device", "disk_full", "dpkg --purge"),
        ("E: Unmet dependencies. Try 'apt-get -f install' with no packages", "apt_broken", "apt-get -f install"),
        (
            " x : Depends: y (= 1) but 2 is to be installed\nE: you have held broken packages.",
            "impossible_request",
            "apt-cache policy",
        ),
        ("E: Unmet dependencies. Try using -f.", "apt_broken", "apt-get -f install"),
        ("E: Release file for http://archive.ubuntu.com/x is not valid yet", "clock_wrong", "timedatectl"),
        ("dpkg: error: unable to create '/var/lib/dpkg/x': Read-only file system", "file_system_read_only", "mount"),
        ("E: Failed to fetch https://esm.ubuntu.com/ubuntu/x.deb  HttpError401", "pro_credentials", "pro refresh"),
        ("E: Failed to fetch https://esm.ubuntu.com/infra/x.deb  401  Unauthorized", "pro_credentials", "pro refresh"),
    ],
)
def test_published_logs_of_apt(log: str, identifier: str, words: str) -> None:
    """6, 68, 8, 15, 9, 10, 11, 12 and 13."""
    failure = apt_failure(log, 100)
    assert failure.id == identifier
    assert words in str(failure.remedy)
