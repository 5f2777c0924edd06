# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a failed step or refresh, recognised by the output of the command."""

from __future__ import annotations

from .cause import (
    ALLOW_COMMAND_LINE,
    READ_JOURNAL,
    READ_OUTPUT,
    RUN_AGAIN,
    SET_CLOCK,
    SYSTEM_AUTHORITIES,
    TRUST_AUTHORITY,
    UPGRADE_INSTEAD,
    WAIT_FOR_SERVER,
    Cause,
)
from .client import CRASH_LOCK, NOT_ENABLED_ANY_MORE
from .pro import PRO_CAUSES, PRO_REFUSALS
from .status import CLIENT_ERRORS
from .task import INTERRUPTED
from .upgrade import APT_FAILED, APT_LOCKED, ARCHIVE_UNREACHABLE, PRO_CREDENTIALS

_OPEN_NETWORK = "open port 443 to the server, or set https-proxy in the client's config"

_COMMAND_FAILURES = (
    Cause(
        "bad_token",
        "the server does not accept this token",
        "get a valid Livepatch token of the server in `remote-server` (of the hosted service:"
        " https://ubuntu.com/livepatch), and set `token`",
    ),
    Cause(
        "machine_token_invalid",
        "the server does not know the registration of this machine any more",
        "enable the client again: use state disabled, then state enabled with the token",
    ),
    Cause(
        "seats_used_up",
        "the token has no free seat for this machine",
        "disable the client on a machine that does not need it, or use a token with more seats",
    ),
    Cause(
        "already_enabled",
        "the client has been enabled by another process in the meantime",
        "run the task again; if this repeats, use state disabled first",
    ),
    Cause("no_key", "the client received no token", "set `token`"),
    Cause(
        "server_unreachable",
        "the host cannot reach the server, according to the client",
        f"{_OPEN_NETWORK}, {RUN_AGAIN}",
    ),
    Cause("tls_untrusted", "the certificate of the server is not trusted", TRUST_AUTHORITY),
    Cause(
        "tls_wrong_name",
        "the certificate of the server is for another name",
        "set remote-server in `config` to a name in the server's certificate, or replace the certificate",
    ),
    Cause(
        "clock_wrong",
        "by the clock of the host, the certificate of the server is not valid yet or has expired",
        f"{SET_CLOCK}; if the clock is right, renew the server's certificate",
    ),
    Cause(
        "proxy_failed",
        "the proxy refuses the connection or does not answer",
        "check the address, the user name and the password of the proxy: https-proxy in the client's config, `snap get"
        " system proxy`, or https_proxy in `pro config show`",
    ),
    Cause("server_error", "the server is reachable, but reports an internal error", WAIT_FOR_SERVER),
    Cause(
        "server_refused",
        "the server refused the request",
        f"{READ_OUTPUT}, and check the token and `remote-server`",
    ),
    Cause(
        "registration_failed",
        "the client could not register with the server and gives no reason",
        f"check the token, `remote-server` and the network, and {READ_JOURNAL}",
    ),
    Cause(
        "setting_refused",
        "the client refuses a setting",
        "correct `config`, or remove the settings that this version of the client does not have",
    ),
    Cause("client_failed", "the client failed", f"{READ_OUTPUT}, and {READ_JOURNAL}"),
    Cause(
        "snapd_too_old",
        "the package archive has no snapd that is new enough",
        f"enable the release's -updates pocket in the host's apt sources, {RUN_AGAIN}",
    ),
    Cause(
        "snapd_not_in_archive",
        "the host's apt sources have no snapd",
        "enable the release's main and -updates pockets in the host's apt sources",
    ),
    Cause(
        "dpkg_interrupted",
        "snapd cannot be installed, because an earlier run of dpkg was interrupted",
        f"run `dpkg --configure -a` on the host, {RUN_AGAIN}",
    ),
    Cause(
        "disk_full",
        "a disk of the host is full",
        f"free disk space on the host (`df -h`), {RUN_AGAIN}",
    ),
    Cause(
        "file_system_read_only",
        "a file system of the host is read-only",
        f"find out why (`journalctl -k`, `mount`), repair it or mount it read-write, {RUN_AGAIN}",
    ),
    Cause(
        "secure_boot",
        "the kernel refuses the patch, because it does not contain the live patch key",
        "upgrade the kernel with the playbook kernelops.livepatch.upgrade (livepatch_force=true), or enroll the key and"
        " reboot: mokutil --import /snap/canonical-livepatch/current/keys/livepatch-kmod.x509",
    ),
    Cause(
        "snap_busy",
        "snapd is busy with another change of this snap",
        f"wait until it is finished (`snap changes`), {RUN_AGAIN}",
    ),
    Cause(
        "snap_file_missing",
        "snapd cannot open the file of the snap or of its assertions on the host",
        "copy both files to the host, for example with ansible.builtin.copy, and set `snap_file` and `snap_assertion`"
        " to their paths there",
    ),
    Cause(
        "snap_unsigned",
        "snapd has no assertion that proves who published this snap",
        "run `snap download canonical-livepatch` on a machine with internet access, copy the .snap and the .assert file"
        " of the same revision to the host, and set `snap_file` and `snap_assertion`",
    ),
    Cause(
        "assertion_refused",
        "snapd does not accept the assertions of the snap",
        "use the unchanged .assert file that `snap download canonical-livepatch` created together with the snap",
    ),
    Cause(
        "snap_prerequisite_missing",
        "the client's snap needs another snap that is not installed and cannot be fetched from the store",
        "install the snap that the message names (on a host without the store: `snap download` it elsewhere, copy both"
        f" files, `snap ack` and `snap install` them), {RUN_AGAIN}",
    ),
    Cause(
        "channel_unknown",
        "the snap has no such channel",
        "correct `channel`: `snap info canonical-livepatch` lists the channels",
    ),
    Cause(
        "no_client_for_architecture",
        "there is no client for the architecture of this host",
        f"{UPGRADE_INSTEAD}; `dpkg --print-architecture` shows the architecture",
    ),
    Cause(
        "store_unreachable",
        "the host cannot reach the snap store",
        "open port 443 to the store, or set a proxy for snapd: `snap set system proxy.https=URL`",
    ),
    Cause(
        "store_tls_untrusted",
        "snapd does not trust the certificate of the snap store",
        f"{SET_CLOCK}; {SYSTEM_AUTHORITIES}, and add the authority of a proxy that inspects TLS: `snap set system"
        " store-certs.proxy=CERTIFICATE`",
    ),
    Cause("store_error", "the snap store is reachable, but reports an internal error", WAIT_FOR_SERVER),
    Cause(
        "store_refused",
        "the snap store refused the request",
        f"{READ_OUTPUT}, and check the store proxy of snapd: `snap get system proxy.store`",
    ),
    Cause("snap_failed", "snapd failed", f"{READ_OUTPUT}; `snap changes` on the host lists the steps"),
    Cause(
        "socket_unavailable",
        "the daemon's socket, which must receive the token, is not available",
        f"start the client's daemon, or {ALLOW_COMMAND_LINE}",
    ),
    Cause(
        "file_failed",
        "a file of this collection cannot be written on the host",
        f"{READ_OUTPUT}, and check free space, permissions and mounts below /var/lib",
    ),
    Cause(
        "timed_out",
        "the command took too long and was ended",
        f"check the server and the network, {RUN_AGAIN}",
    ),
)

CLIENT_FAILURES = {
    cause.id: cause
    for cause in (
        *CLIENT_ERRORS.values(),
        NOT_ENABLED_ANY_MORE,
        CRASH_LOCK,
        INTERRUPTED,
        APT_LOCKED,
        APT_FAILED,
        ARCHIVE_UNREACHABLE,
        PRO_CREDENTIALS,
        *_COMMAND_FAILURES,
        *PRO_CAUSES,
    )
}
"""The causes of a failed step or refresh, by the id of its `ClientFailure`."""


def command_failure(identifier: str, tool: str) -> Cause:
    """Return the cause of a failed step or refresh: the id of its `ClientFailure`, and the tool that printed it."""
    through_pro = PRO_REFUSALS.get(identifier) if tool == "pro" else None
    return through_pro or CLIENT_FAILURES[identifier]
