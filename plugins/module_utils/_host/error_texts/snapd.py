# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Texts of snapd, and of ``snap run`` in place of the client."""

from __future__ import annotations

from .row import PRO, row

STATE_ROWS = (
    row(
        "snapd_kernel_unsupported",
        "snapd snap_run apt",
        [
            r"reboot into an? [0-9.]{1,8} kernel",
            r"cannot perform readlinkat\(\) on the mount namespace",
            r"does not fully support snapd|squashfs .{0,60}(?:unknown filesystem|not supported)",
        ],
        ("snap", "error: you need to reboot into a 4.4 kernel to start using snapd", "canonical/ubuntu-pro-client#30"),
        (
            "client",
            "cannot perform readlinkat() on the mount namespace file descriptor of the init process",
            "canonical/ubuntu-pro-client#312",
        ),
        is_status=True,
    ),
    row(
        "not_seeded",
        "snapd snap_run",
        [r"too early for operation|not yet seeded|device not (?:fully )?seeded"],
        (
            "snap",
            "error: too early for operation, device not yet seeded or device model not acknowledged",
            "canonical/snapd",
        ),
        is_status=True,
    ),
    row(
        "snapd_restarting",
        "snapd snap_run",
        [
            r"(?:snapd|daemon|system) is (?:about to |being )?(?:restart|reboot|stopp|shut)",
            r"waiting for (?:snapd|the system) to restart",
        ],
        ("snap", "error: cannot communicate with server: daemon is restarting", "canonical/snapd, client/errors.go"),
        is_status=True,
    ),
    row(
        "snap_file_missing",
        "snapd",
        [
            r"cannot (?:assert: |open \"/.{1,300}\": )open /.{1,300}: (?:no such file|permission denied)",
            r"read /.{1,300}: is a directory",
        ],
        (
            "snap",
            'error: cannot open "/root/cl.snap": open /root/cl.snap: no such file or directory',
            "snapd 2.57.6",
        ),
        (
            "snap",
            "error: cannot assert: open /root/cl.assert: no such file or directory",
            "snapd 2.57.6",
        ),
        (
            "snap",
            'error: cannot communicate with server: Post "http://localhost/v2/snaps": read /root/d: is a directory',
            "snapd 2.57.6",
        ),
    ),
    row(
        "snapd_down",
        "snapd snap_run pro",
        [
            r"cannot communicate with server|could not reach the snapd api|exceeded while waiting for response",
            r"dial unix [^ ]{0,100}/snapd(?:-snap)?\.socket",
        ],
        (
            "snap",
            (
                'error: cannot communicate with server: Post "http://localhost/v2/snaps/canonical-livepatch": dial unix'
                " /run/snapd.socket: connect: no such file or directory"
            ),
            "arakasi72/rtinst#572",
        ),
        ("pro", "Could not reach the SNAPD API", PRO),
        is_status=True,
    ),
)
"""Rows of a snapd that does not work. They come before those of the daemon, because ``snap run`` prints them too."""
SNAP_ROWS = (
    row(
        "not_executable",
        "snap_run",
        [
            r"snap-confine|snap-exec|snap-update-ns|snap-discard-ns|snap-seccomp",
            r"cannot find (?:installed snap|current revision)|cannot locate base snap|cannot snap-exec",
            r'snap "?[^ ]{1,60} is not installed|(?<!no )\bsnap run\b',
            r"internal error, please report: running",
            r"mount namespace|user[- ]data directory|is not a snap cgroup|dropping privs did not work",
            r"cannot open path of the current working directory|home directories outside of /home|/run/snapd/lock",
            r"canonical-livepatch[^ ]{0,2}: (?:command )?(?:not found|no such file|permission denied|cannot execute)",
            r"canonical-livepatch[^ ]{0,2}: input/output error|failed to run command .{0,40}canonical-livepatch",
            r"error while loading shared libraries|exec format error",
        ],
        (
            "client",
            (
                "/snap/core/10773/usr/lib/snapd/snap-confine: error while loading shared libraries: libudev.so.1:"
                " failed to map segment from shared object"
            ),
            "canonical/ubuntu-pro-client#1490",
        ),
        (
            "client",
            (
                "cannot find installed snap canonical-livepatch at revision 95: missing file"
                " /snap/canonical-livepatch/95/meta/snap.yaml"
            ),
            "canonical/snapd",
        ),
        ("client", 'error: snap "canonical-livepatch" is not installed', "canonical/snapd"),
        (
            "client",
            'internal error, please report: running "canonical-livepatch" failed: cannot find installed snap',
            "canonical/snapd, cmd/snap/main.go",
        ),
        ("client", "sh: 1: /snap/bin/canonical-livepatch: not found", "dash"),
        is_status=True,
    ),
    row(
        "assertion_refused",
        "snapd",
        [r"cannot assert: (?!cannot communicate)"],
        (
            "snap",
            "error: cannot assert: cannot decode request body into assertions: unexpected EOF",
            "snapd 2.57.6",
        ),
        (
            "snap",
            (
                "error: cannot assert: assert failed: cannot resolve prerequisite assertion: snap-declaration"
                " (pYVQrBcKmBa0mZ4CCN7ExT6jH8rY1hza; series:16)"
            ),
            "snapd 2.57.6",
        ),
    ),
    row(
        "snap_unsigned",
        "snapd",
        [r"cannot find signatures with metadata|is not a snap or snapdir"],
        (
            "snap",
            'error: cannot find signatures with metadata for snap "/root/cl.snap"',
            "snapd 2.57.6",
        ),
        (
            "snap",
            'error: cannot read snap file: "/var/lib/snapd/snaps/.local-install-365" is not a snap or snapdir',
            "snapd 2.57.6",
        ),
    ),
    row(
        "snap_prerequisite_missing",
        "snapd",
        [
            r"ensure prerequisites for .{1,80} are available \(cannot install (?:snap base|system snap)",
            r"cannot find required base",
        ],
        (
            "snap",
            (
                'error: cannot perform the following tasks: - Ensure prerequisites for "canonical-livepatch" are'
                ' available (cannot install system snap "snapd": Post "https://api.snapcraft.io/v2/snaps/refresh": dial'
                " tcp: lookup api.snapcraft.io on 127.0.0.1:53: read udp 127.0.0.1:44129->127.0.0.1:53: read:"
                " connection refused)"
            ),
            "snapd 2.57.6",
        ),
        unless=[r"assumes unsupported features"],
    ),
    row(
        "snapd_too_old",
        "snapd",
        [r"assumes unsupported features", r"please (?:upgrade|update) snapd"],
        (
            "snap",
            'error: snap "canonical-livepatch" assumes unsupported features: snapd2.15 (try to upgrade snapd)',
            "canonical/snapd",
        ),
    ),
    row(
        "snap_busy",
        "snapd",
        [r"changes? in progress|conflicting change|snap .{1,80} is busy|has running (?:apps|hooks)"],
        ("snap", 'error: snap "canonical-livepatch" has "install-snap" change in progress', "canonical/snapd"),
        ("snap", 'error: snap "canonical-livepatch" has "auto-refresh" change in progress', "canonical/snapd"),
    ),
    row(
        "channel_unknown",
        "snapd store",
        [
            r"no snap revision (?:available|on)|not available on .{1,60} but is available|invalid .{0,30}channel",
            r"channel .{1,60} (?:not found|does not exist)|not available as specified|non-existing branch",
        ],
        (
            "snap",
            (
                'error: snap "canonical-livepatch" is not available on 9.x/stable but is available to install on the'
                " following channels:"
            ),
            "canonical/snapd",
        ),
    ),
    row(
        "no_client_for_architecture",
        "snapd store pro",
        [
            r'snap "?[^ ]{1,60} not found|\bsnap not found|no snap found|name-not-found',
            r"snap not available on [a-z0-9]{3,8}\b|not available on .{1,40} for this architecture",
            r"not available (?:for|on) (?:this )?(?:platform|architecture)|supported (?:platforms|architectures) are",
        ],
        ("snap", 'error: snap "canonical-livepatch" not found', "canonical/ubuntu-pro-client#93"),
        ("snap", 'error: cannot install "canonical-livepatch": snap not available on arm64', "in the form of snapd"),
        (
            "snap",
            (
                'error: snap "canonical-livepatch" is not available on stable for this architecture (s390x) but exists'
                " on other architectures (amd64)."
            ),
            "canonical/snapd",
        ),
        ("pro", "Livepatch is not available for platform s390x. Supported platforms are: amd64.", PRO),
    ),
)
