# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of checks that fail, or that cannot be decided."""

from __future__ import annotations

from .cause import AS_ROOT, STEP, TRUST_AUTHORITY, UPGRADE_INSTEAD, Cause

# --- the system and the policy ---

WSL = Cause("container", "this host is WSL, and Windows provides its kernel", "update the WSL kernel from Windows")
CONTAINER = Cause(
    "container",
    "this host is a container ({kind}), and uses the kernel of the machine that runs it",
    "manage the machine that runs this container instead; this also protects its other containers",
)
CONTAINER_UNKNOWN = Cause("container", "it could not be determined if this host is a container", AS_ROOT)
DISTRIBUTION = Cause(
    "distribution",
    "the distribution {found} is not covered by policy '{policy}'",
    f"{UPGRADE_INSTEAD}: Livepatch is only for Ubuntu itself",
)
DISTRIBUTION_DERIVED = Cause(
    "distribution",
    "{found} is a derivative of Ubuntu, and Livepatch does not cover derivatives",
    f"{UPGRADE_INSTEAD}, or install Ubuntu",
)
DISTRIBUTION_UNKNOWN = Cause(
    "distribution", "the distribution could not be determined", "check ID in /etc/os-release on the host"
)
RELEASE = Cause(
    "release",
    "{distribution} {found} is not covered by policy '{policy}'",
    STEP,
)
RELEASE_UNKNOWN = Cause(
    "release", "the release could not be determined", "check VERSION_ID in /etc/os-release on the host"
)
ARCHITECTURE = Cause(
    "architecture",
    "the architecture {found} is not covered by policy '{policy}'",
    STEP,
)
ARCHITECTURE_32_BIT = Cause(
    "architecture",
    "the userland is 32-bit (i386) on a 64-bit kernel, and counts as i386",
    "reinstall the host as amd64",
)
ARCHITECTURE_UNKNOWN = Cause(
    "architecture",
    "the architecture could not be determined",
    "run `dpkg --print-architecture` on the host",
)
KERNEL_SERIES = Cause(
    "kernel_series",
    "kernel series {found} is not covered by policy '{policy}' for this host",
    STEP,
)
KERNEL_SERIES_UNKNOWN = Cause(
    "kernel_series", "the kernel series could not be determined", "check the output of `uname -r` on the host"
)
FLAVOUR = Cause(
    "flavour",
    "kernel flavour {found} is not covered by policy '{policy}' for this host",
    STEP,
)
FLAVOUR_UNKNOWN = Cause(
    "flavour", "the kernel flavour could not be determined", "check the end of the output of `uname -r` on the host"
)
KERNEL_AGE = Cause(
    "kernel_age",
    "the kernel is {age} months old, and kernels receive patches for about {months} months",
    STEP,
)
KERNEL_AGE_BY_STATE = Cause(
    "kernel_age",
    "the age of the kernel is unknown ({problem}), and the service reports its support state as {state}",
    STEP,
)
KERNEL_AGE_UNKNOWN = Cause(
    "kernel_age",
    "the age of the kernel could not be checked: {problem}",
    "set ask_server: true, so that the server is asked if it supports this kernel",
)
OTHER_POLICY = Cause("other_policy", "policy '{policy}' covers this system, which this policy refuses", STEP)

# --- the kernel ---

KERNEL_ORIGIN = Cause("kernel_origin", "the kernel was not built by Ubuntu ({origin}): {evidence}", STEP)
KERNEL_ORIGIN_UNKNOWN = Cause(
    "kernel_origin",
    "it could not be determined if Ubuntu built the kernel: {evidence}",
    "check /proc/version_signature on the host",
)
KERNEL_NOT_OF_ARCHIVE = Cause(
    "kernel_origin", "the kernel may be a private build, which gets no live patches: {evidence}", STEP
)
KERNEL_LIVEPATCH = Cause("kernel_livepatch", "the kernel was built without support for live patching", STEP)
KERNEL_LIVEPATCH_UNKNOWN = Cause(
    "kernel_livepatch",
    "it could not be determined if the kernel supports live patching",
    "check that /sys is mounted on the host",
)
KERNEL_REALTIME = Cause(
    "kernel_conflict",
    "Livepatch does not support the realtime kernel",
    STEP,
)
KERNEL_FIPS = Cause(
    "kernel_conflict",
    "Livepatch conflicts with FIPS-certified kernels, and the host does not use fips-updates",
    STEP,
)
KERNEL_CONFLICT_UNKNOWN = Cause(
    "kernel_conflict",
    "the type of the kernel could not be determined",
    "check that `uname -r` prints a release on the host",
)
KERNEL_UNSUPPORTED = Cause("kernel_supported", "the service does not support this kernel", STEP)
KERNEL_NOT_KNOWN = Cause(
    "kernel_supported",
    "the service does not know this kernel",
    "check that the kernel is in Canonical's list of supported kernels",
)
SUPPORT_NOT_REPORTED = Cause(
    "kernel_supported",
    "the server did not report if it supports this kernel",
    "check `server`, and that the controller reaches it; set `proxy` and `ca_path` for a proxy and a private authority,"
    " or ask_server: false",
)

# --- the rest of the host ---

SNAPD_MISSING = Cause("snapd", "snapd is not installed", "install it on the host: apt-get install snapd")
SNAPD_OUTDATED = Cause(
    "snapd", "snapd {version} is too old", "upgrade it on the host: apt-get install --only-upgrade snapd"
)
SNAPD_VERSION_UNKNOWN = Cause(
    "snapd",
    "snapd is installed, but its version could not be determined",
    "check `snap version` and `systemctl status snapd` on the host",
)
SNAPD_SEEDED = Cause(
    "snapd_seeded",
    "snapd is still initializing, as it does after the first boot, and installs no snaps until it has finished",
    "wait until it has finished: snap wait system seed.loaded",
)
PRIVILEGES = Cause("privileges", "the check did not run as root, so some facts are unknown", AS_ROOT)
SECURE_BOOT = Cause(
    "secure_boot",
    "Secure Boot is enabled, and this kernel does not contain the live patch key",
    STEP,
)
SECURE_BOOT_UNKNOWN = Cause(
    "secure_boot", "it could not be determined if Secure Boot is enabled", "run `mokutil --sb-state` on the host"
)
SECURE_BOOT_KEYS_UNKNOWN = Cause(
    "secure_boot", "Secure Boot is enabled, and the keys in the kernel could not be listed", AS_ROOT
)
NETWORK_UNREACHABLE = Cause(
    "network",
    "the host cannot reach {server} ({tool})",
    "open port {port} to {hosts}, or set https-proxy in the client's config",
)
NETWORK_PROXY_REFUSES = Cause(
    "network",
    "the host cannot reach {server} through its proxy ({tool})",
    "allow the proxy to connect to {hosts} on port {port}, or correct https-proxy in the client's config",
)
NETWORK_UNTRUSTED = Cause("network", "the host does not trust the certificate of {server} ({tool})", TRUST_AUTHORITY)
NETWORK_UNKNOWN = Cause(
    "network",
    "the network could not be checked: {problem}",
    "install curl on the host, or set network: false",
)
DESKTOP = Cause(
    "desktop",
    "this host has a desktop; Livepatch is intended for servers, and desktops should be upgraded and rebooted",
    "upgrade and reboot this host regularly, unless its uptime matters",
)
