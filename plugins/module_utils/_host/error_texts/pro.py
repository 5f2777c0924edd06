# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of the Ubuntu Pro client and of its contract server."""

from __future__ import annotations

from .families import CLOCK, OTHER_NAME, UNAVAILABLE, UNTRUSTED
from .row import FORUM, PRO, row

ROWS = (
    row(
        "pro_busy",
        "pro",
        [
            r"operation in progress|unable to perform: |lock (?:is |was )?(?:already )?held",
            r"another (?:pro |ua )?(?:instance|operation|process|command) (?:is )?(?:in progress|running|already)",
        ],
        ("pro", "Unable to perform: pro enable. Operation in progress: pro attach (pid:4321)", PRO),
    ),
    row(
        "pro_already_attached",
        "pro",
        [r"this machine is already attached"],
        ("pro", "This machine is already attached to 'somebody'", PRO),
    ),
    row(
        "already_enabled",
        "client livepatch_server pro",
        [r"machine-token already exists", r"livepatch (?:is )?already enabled"],
        (
            "client",
            (
                "2018/08/23 09:05:17 error executing enable: Machine-token already exists! Please use 'disable' to"
                " delete existing machine-token."
            ),
            f"{FORUM} 2018-08-23",
        ),
        ("pro", "Livepatch is already enabled - nothing to do. See: sudo pro status", PRO),
    ),
    row(
        "pro_not_attached",
        "pro",
        [r"not attached to an? (?:ubuntu|ua)\b|when unattached|need an ubuntu (?:pro|advantage) subscription"],
        ("pro", "This machine is not attached to an Ubuntu Pro subscription. See https://ubuntu.com/pro", PRO),
        ("pro", "To use 'livepatch' you need an Ubuntu Pro subscription", PRO),
    ),
    row(
        "pro_tls_untrusted",
        "contract_server",
        [*CLOCK, *OTHER_NAME, *UNTRUSTED],
        (
            "pro",
            (
                "Failed to access URL: https://contracts.canonical.com/v1/context/machines/token Cannot verify"
                " certificate"
                ' of server Please install "ca-certificates" and try again.'
            ),
            PRO,
        ),
    ),
    row(
        "pro_token_expired",
        "pro contract_server",
        [
            r"subscription (?:has )?expired|expired token|(?:token|contract)\b.{0,80}\bexpired|subscription is expired",
            r"\bcontract\b.{0,80}(?:not effective until|never been effective)|attach denied",
        ],
        (
            "pro",
            "Expired token or contract. To obtain a new token visit: https://ubuntu.com/pro/dashboard",
            PRO,
        ),
        ("pro", 'Attach denied: Contract "c1" expired on May 07, 2025 Visit https://ubuntu.com/pro', PRO),
        (
            "pro",
            "*Your Ubuntu Pro subscription has EXPIRED* Renew your subscription at https://ubuntu.com/pro",
            PRO,
        ),
    ),
    row(
        "pro_token_invalid",
        "pro contract_server",
        [
            r"invalid token(?:\. see https?://|: )|\btoken (?:is )?(?:not valid|invalid)|magic attach token",
            r"attach.{0,60}(?:invalid|unknown) (?:contract )?token",
        ],
        ("pro", "Invalid token. See https://ubuntu.com/pro/dashboard", PRO),
    ),
    row(
        "pro_not_entitled",
        "pro contract_server",
        [r"not entitled to|does not include|only allowed on the ubuntu|only valid for releases"],
        (
            "pro",
            "This subscription is not entitled to Livepatch View your subscription at: https://ubuntu.com/pro",
            PRO,
        ),
        (
            "pro",
            (
                "Attach failed. Attaching to this contract is only allowed on the Ubuntu 22.04 LTS (Jammy Jellyfish)"
                " and previous releases."
            ),
            PRO,
        ),
    ),
    row(
        "pro_kernel_refused",
        "pro",
        [
            r"not available for (?:the |this )?(?:running )?kernel|supported flavou?rs are|minimum kernel version",
            r"\bkernel\b.{0,100}not covered by livepatch",
        ],
        (
            "pro",
            "Livepatch is not available for kernel 5.4.0-1056-azure. Supported flavors are: generic, lowlatency.",
            "canonical/ubuntu-pro-client#1817",
        ),
        ("pro", "Livepatch is not available for kernel 4.15.0-20. Minimum kernel version required: 4.4.", PRO),
    ),
    row(
        "not_eligible_kernel",
        "pro",
        [r"reached the end of its (?:active )?livepatch (?:window|coverage)"],
        (
            "pro",
            (
                "The running kernel has reached the end of its active livepatch window. Please upgrade the kernel with"
                " apt and reboot for continued livepatch coverage."
            ),
            PRO,
        ),
    ),
    row(
        "pro_credentials",
        "pro",
        [r"invalid apt credentials"],
        ("pro", "Invalid APT credentials provided for https://esm.ubuntu.com/infra/ubuntu", PRO),
    ),
    row(
        "archive_unreachable",
        "pro",
        [r"timeout trying to access apt repository|timeout after [0-9]{1,6} seconds trying to reach"],
        ("pro", "Timeout trying to access APT repository at https://esm.ubuntu.com/infra/ubuntu", PRO),
        (
            "pro",
            "Cannot validate credentials for APT repo. Timeout after 60 seconds trying to reach esm.ubuntu.com.",
            PRO,
        ),
    ),
    row(
        "snap_failed",
        "pro",
        [r"unexpected snapd api error"],
        ("pro", "Unexpected SNAPD API error snap has no updates available", PRO),
    ),
    row(
        "container",
        "pro",
        [r"(?:cannot|can't) (?:install|enable|use) .{1,40} (?:on|in) (?:an? )?(?:lxd? )?(?:container|wsl)"],
        ("pro", "Cannot install Livepatch on a container.", PRO),
        ("pro", "Cannot install Livepatch on WSL.", "canonical/ubuntu-pro-client, 31"),
    ),
    row(
        "kernel_conflict",
        "pro",
        [
            r"\bfips\b.{0,120}\blivepatch\b|\blivepatch\b.{0,120}\bfips\b",
            r"real-?time.{0,120}\blivepatch\b|\blivepatch\b.{0,120}real-?time",
        ],
        ("pro", "Cannot enable Livepatch when FIPS is enabled.", "canonical/ubuntu-pro-client#1301"),
        ("pro", "Livepatch cannot be enabled while running the official FIPS certified kernel.", PRO),
        ("pro", "Livepatch does not currently cover the Real-time kernel.", PRO),
        ("pro", "Cannot enable Livepatch when Real-time kernel is enabled.", PRO),
    ),
    row(
        "platform_unsupported",
        "pro",
        [r"not available (?:for|on) (?:ubuntu|series|release|this (?:ubuntu|series|release))|non-lts release"],
        ("pro", "Livepatch is not available for Ubuntu 25.04 (Plucky Puffin).", PRO),
    ),
    row(
        "pro_reboot_required",
        "pro",
        [r"requires? a (?:system )?reboot|reboot (?:is )?required"],
        ("pro", "Livepatch coverage requires a system reboot across LTS upgrade.", PRO),
    ),
    row(
        "pro_refused",
        "pro",
        [
            r"not available (?:for|on) |does not support being enabled",
            r"cannot (?:install|enable) livepatch|livepatch cannot be",
        ],
        ("pro", "Livepatch is not available for CPU vendor arm. Supported CPU vendors are: intel, amd.", PRO),
    ),
    row(
        "contract_server_error",
        "contract_server",
        [*UNAVAILABLE],
        (
            "pro",
            "Error connecting to https://contracts.canonical.com/v1/context/machines/token: 503 sorry",
            PRO,
        ),
        ("pro", "Error connecting to https://contracts.canonical.com/v1/x: 429 too many requests", PRO),
    ),
)
