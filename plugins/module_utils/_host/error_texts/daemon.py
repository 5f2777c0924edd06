# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of the client about its daemon and about the host, some of them in place of a status."""

from __future__ import annotations

from .families import DIAL
from .row import FORUM, PRO, row

ROWS = (
    row(
        "interface_not_connected",
        "client snap_run",
        [r"kernel-module-control interface not connected"],
        ("client", "Snappy kernel-module-control interface not connected!", f"{FORUM} 2016-10-19"),
        is_status=True,
    ),
    row(
        "permission_denied",
        "client snapd pro",
        [
            rf"{DIAL}permission denied",
            r"access denied \(try with sudo\)",
            r"(?:must|needs? to) be (?:run as )?root\b|root (?:privileges|access) (?:is|are) required|requires root",
            r"needs? root (?:access|privileges|permissions?)\b|\b(?:with|using) sudo\b",
        ],
        (
            "client",
            (
                "error executing config: cannot connect to the daemon: Put http://127.0.0.1/config: dial unix"
                " /var/snap/canonical-livepatch/95/livepatchd-priv.sock: connect: permission denied"
            ),
            "in the form of the clients of 2019",
        ),
        ("snap", "error: access denied (try with sudo)", "snapd"),
        ("pro", "This command must be run as root (try using sudo).", PRO),
        ("client", "you need to be root to do that", "in the form of the clients of 2016"),
        ("client", "permission denied: please run the command with sudo", "in the form of current clients"),
        is_status=True,
    ),
    row(
        "daemon_down",
        "client",
        [
            r"(?:connection|connect) to the daemon failed|cannot connect to the daemon",
            rf"{DIAL}(?:no such file or directory|connection refused)",
            r"/livepatchd(?:-priv)?\.sock: .{0,40}(?:reset|refused|broken pipe|eof\b)",
        ],
        (
            "client",
            (
                "Connection to the daemon failed: Get http://127.0.0.1/status?verbose=false: dial unix"
                " /var/snap/canonical-livepatch/15/livepatchd.sock: connect: no such file or directory"
            ),
            f"{FORUM} 2016-10-19",
        ),
        (
            "client",
            (
                'error executing enable: cannot connect to the daemon: Put "http://127.0.0.1/enable": dial unix'
                " /var/snap/canonical-livepatch/95/livepatchd-priv.sock: connect: connection refused"
            ),
            "in the form of current clients",
        ),
        is_status=True,
    ),
    row(
        "daemon_shutting_down",
        "client",
        [r"daemon (?:is )?shutting down"],
        ("client", "error executing config: livepatchd error: daemon shutting down", f"{FORUM} 57040215723"),
        is_status=True,
    ),
    row(
        "not_eligible_kernel",
        "client livepatch_server",
        [
            r"not eligible for livepatch",
            r"unsupported kernel",
            r"\bkernel\b(?!-| module)[^:;]{0,80}?\b(?:is|are) (?:not (?:supported|covered)|unsupported)\b",
            r"\bkernel \"?[0-9][^ ]{1,100} (?:not supported|unsupported)|not supported by (?:livepatch|canonical)",
            r"kernel needs apparmor .{0,20}compatibility patch",
        ],
        (
            "client",
            'cannot use livepatch: your kernel "4.15.0-1010-kvm" is not eligible for livepatch updates',
            "canonical/ubuntu-pro-client, tests/fakes.py",
        ),
        ("client", "error executing enable: unsupported kernel", "ERROR_MSG_MAP of canonical/ubuntu-pro-client"),
        ("client", "your kernel 4.15.0-9-kvm is not supported", "in the form of the clients of 2018"),
        (
            "pro",
            "Unable to enable Livepatch: Your running kernel is not supported by Livepatch.",
            "ERROR_MSG_MAP of canonical/ubuntu-pro-client",
        ),
        ("client", "Kernel needs AppArmor 2.4 compatibility patch", f"{FORUM} 2016-10-21"),
        is_status=True,
    ),
    row(
        "platform_unsupported",
        "client livepatch_server",
        [
            r"platform .{1,100}? (?:is )?(?:not supported|unsupported)",
            r"only ubuntu .{1,60}? (?:is|are) supported",
            r"\b(?:release|distribution|series|ubuntu [0-9.]{4,8}(?: lts)?)\b.{0,60}? is not supported",
            r"unsupported (?:platform|release|distribution|series|ubuntu)|not supported on (?:this|ubuntu)",
        ],
        ("client", "livepatchd error: The platform Ubuntu 22.10 is not supported.", f"{FORUM} 2024-05-27"),
        ("client", "Only Ubuntu 16.04 LTS is supported, exiting.", f"{FORUM} 2017-02-23"),
        is_status=True,
    ),
    row(
        "no_client_for_architecture",
        "client livepatch_server",
        [
            r"(?:does not support|unsupported) (?:this |the )?architecture",
            r"\barchitecture \"?[a-z0-9_]{3,8}\"? (?:is )?not supported",
        ],
        ("client", "livepatchd error: the architecture arm64 is not supported", "in the form of current clients"),
    ),
    row(
        "secure_boot",
        "client",
        [r"required key not available|key was rejected by service"],
        (
            "client",
            ("cannot apply patches: insmod: ERROR: could not insert module livepatch.ko: Required key not available"),
            f"{FORUM} 2019-06",
        ),
        ("client", "could not insert module livepatch.ko: Key was rejected by service", "kmod"),
    ),
    row(
        "tainted_modules",
        "client",
        [r"tainted modules?|modules? .{0,30}\btaint(?:s|ed|ing)? the kernel"],
        ("client", "System contains non-livepatch tainted modules.", "canonical/livepatch-docs"),
        is_status=True,
    ),
    row(
        "apparmor",
        "client snap_run snapd",
        [r"apparmor|aa_change_onexec|cannot change profile for the next exec call"],
        (
            "client",
            (
                "cannot change apparmor hat of the support process for mount namespace capture. errmsg: Operation not"
                " permitted"
            ),
            "canonical/ubuntu.com#1034",
        ),
        ("client", "aa_change_onexec failed with -1. errmsg: No such file or directory", "canonical/snapd#2489"),
        ("client", "cannot change profile for the next exec call: No such file or directory", "snap-confine"),
        is_status=True,
    ),
)
