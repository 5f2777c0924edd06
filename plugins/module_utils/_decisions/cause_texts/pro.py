# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a failed step of the Ubuntu Pro client, by the id of the `ClientFailure`."""

from __future__ import annotations

from .cause import (
    READ_JOURNAL,
    READ_OUTPUT,
    RUN_AGAIN,
    SET_CLOCK,
    SYSTEM_AUTHORITIES,
    UPGRADE_INSTEAD,
    WAIT_FOR_SERVER,
    Cause,
)

_ATTACH_AGAIN = (
    "run `pro refresh` on the host; if this does not help, run `pro detach`, and set `token` to a valid token"
)
_PRO_DASHBOARD = "https://ubuntu.com/pro/dashboard"

PRO_CAUSES = (
    Cause(
        "pro_token_invalid",
        "Ubuntu Pro does not know this token",
        f"check the token: a Pro token is listed on {_PRO_DASHBOARD} and begins with C",
    ),
    Cause(
        "pro_token_expired",
        "the Ubuntu Pro subscription of the token is not valid at this time",
        f"renew the subscription on {_PRO_DASHBOARD}, or set `token` to one of a valid subscription; on an attached"
        " machine, run `pro detach` first",
    ),
    Cause(
        "pro_already_attached",
        "the machine has been attached to Ubuntu Pro by another process in the meantime",
        "run the task again",
    ),
    Cause(
        "pro_not_attached",
        "this machine has no Ubuntu Pro subscription",
        "set `token` to a Pro token, which attaches the machine",
    ),
    Cause(
        "pro_not_entitled",
        "the Ubuntu Pro subscription does not include Livepatch for this machine",
        f"add Livepatch to the subscription on {_PRO_DASHBOARD}, or use `via: livepatch` with a Livepatch token",
    ),
    Cause(
        "pro_busy",
        "another operation of Ubuntu Pro is in progress on the host",
        f"wait until it is finished (`pro status --wait`), {RUN_AGAIN}, or increase `retry_timeout`",
    ),
    Cause(
        "pro_kernel_refused",
        "Ubuntu Pro does not enable Livepatch for the running kernel",
        "upgrade the Ubuntu Pro client, whose list of kernels can be old (apt-get install --only-upgrade"
        " ubuntu-pro-client ubuntu-advantage-tools), or boot a kernel of a listed flavour",
    ),
    Cause(
        "container",
        "Ubuntu Pro does not enable Livepatch in a container, which uses the kernel of the machine that runs it",
        "enable Livepatch on the machine that runs this container; on WSL, update the WSL kernel from Windows",
    ),
    Cause(
        "kernel_conflict",
        "Ubuntu Pro does not enable Livepatch together with a FIPS-certified or realtime kernel",
        f"instead of fips, use fips-updates (pro enable fips-updates); otherwise boot another kernel flavour, or"
        f" {UPGRADE_INSTEAD}",
    ),
    Cause(
        "pro_reboot_required",
        "Ubuntu Pro enables Livepatch only after a reboot of this host, for example after an upgrade of Ubuntu",
        f"reboot the host, {RUN_AGAIN}",
    ),
    Cause(
        "pro_refused",
        "Ubuntu Pro refuses to enable Livepatch on this host",
        f"{READ_OUTPUT}; kernelops.livepatch.eligibility_info lists the requirements",
    ),
    Cause(
        "contract_server_unreachable",
        "the host cannot reach the contract server of Ubuntu Pro",
        "open port 443 to contracts.canonical.com, or set a proxy (`pro config set https_proxy=URL`); also check the"
        " clock and the package ca-certificates of the host",
    ),
    Cause(
        "contract_server_error",
        "the contract server of Ubuntu Pro is reachable, but reports an internal error",
        WAIT_FOR_SERVER,
    ),
    Cause(
        "contract_server_refused",
        "the contract server of Ubuntu Pro refused the request",
        f"{READ_OUTPUT}; {_ATTACH_AGAIN}",
    ),
    Cause(
        "pro_tls_untrusted",
        "Ubuntu Pro does not trust the certificate of its contract server",
        f"{SET_CLOCK}; {SYSTEM_AUTHORITIES}",
    ),
    Cause(
        "pro_failed",
        "the Ubuntu Pro client failed",
        f"{READ_OUTPUT}, and /var/log/ubuntu-advantage.log on the host",
    ),
)

PRO_REFUSALS = {
    cause.id: cause
    for cause in (
        Cause("bad_token", "the server does not accept the token that Ubuntu Pro passes", _ATTACH_AGAIN),
        Cause("server_refused", "the server refused the machine, which Ubuntu Pro registers", _ATTACH_AGAIN),
        Cause(
            "registration_failed",
            "the client could not register with the token that Ubuntu Pro passes, and gives no reason",
            f"{READ_JOURNAL}; {_ATTACH_AGAIN}",
        ),
    )
}
"""Causes whose remedy differs if Ubuntu Pro, and not the task, gave the client its token."""
