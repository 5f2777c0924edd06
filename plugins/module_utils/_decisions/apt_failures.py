# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Recognise why apt-get or dpkg failed, by the texts of all their versions since Ubuntu 14.04.

Maintainer scripts, compressors and DKMS print into the same output. A text counts only after a failure.
"""

from __future__ import annotations

import collections.abc as c
import re

from .._errors import LivepatchError
from .._host.apt import reports_lock
from . import causes

_LIMIT = 400
_FREE_BOOT = "remove the images of kernels that are neither running nor the newest with `dpkg --purge`"
_PRO_HOSTS = r"(?:esm\.ubuntu\.com|private-ppa\.launchpad(?:content)?\.net)"
_REFUSED = (
    r"(?:\b40[13]\b|HttpError40[13]|Unauthorized|Forbidden|(?<!proxy )authentication (?:required|failed)"
    r"|valid contract)"
)


def _pattern(*texts: str) -> re.Pattern[str]:
    return re.compile("|".join(texts), re.IGNORECASE | re.MULTILINE)


_PRO_CREDENTIALS = _pattern(
    # An apt-get update has the address and the status on two lines.
    rf"{_PRO_HOSTS}[^\n]{{0,300}}(?:\n[ \t]+[^\n]{{0,300}})?{_REFUSED}",
    rf"{_REFUSED}[^\n]{{0,300}}{_PRO_HOSTS}",
    r"does the machine have a valid contract",
)
_BOOT_WRITER = _pattern(
    # The compressor has ended, so that cpio writes into a closed pipe (128 + SIGPIPE).
    r"mkinitramfs failure",
    r"Write error *: *cannot write",
    r"(?:lz4|lzop|gzip|pigz|zstd|xz|lzma|bzip2|cpio|find): [^\n]{0,300}(?:write error|No space left on device)",
    r"/boot[^\n]{0,200}(?:No space left on device|disk full|enough (?:free |disk )?space)",
    r"(?:No space left on device|disk full|enough (?:free |disk )?space)[^\n]{0,200}/boot",
)
_DISK_FULL = _pattern(
    r"No space left on device",
    r"\bENOSPC\b",
    r"disk quota exceeded",
    r"(?:enough|insufficient|out of) (?:free |disk )*space",
    r"\bno (?:free |disk )*space (?:left|available)",
    r"\b(?:disk|file ?system|device) (?:is )?full\b",
)
_INITRAMFS = re.compile(r"update-initramfs: (?:Generating|failed)|/boot/initrd", re.IGNORECASE)
_ELSEWHERE = re.compile(r"""(?:^|[\s'"(])/(?:var|tmp|usr|lib|root|home|run)/""")
_INTERRUPTED = _pattern(
    r"dpkg was interrupted", r"must manually run [^\n]{0,20}dpkg --configure", r"run [^\n]{0,20}dpkg --configure -a"
)
_BROKEN = _pattern(
    r"^(?:E|Error): Unmet dependencies",
    r"--fix-broken",
    r"apt(?:-get)? (?:-f install|install -f)\b",
    r"Correcting dependencies\.\.\. ?failed",
    r"Unable to correct dependencies",
    r"is in a very bad inconsistent state",
    r"needs to be reinstalled, but I can't find an archive",
)
_HELD = _pattern(r"Held packages were changed")
_IMPOSSIBLE = _pattern(
    r"held broken packages",
    r"may be caused by held packages",
    r"requested an impossible situation",
    r"^(?:E|Error): Broken packages",
    r"Unable to (?:correct problems|satisfy dependencies)",
    r"Reached two conflicting (?:assignments|decisions)",
)
_WOULD_REMOVE = _pattern(r"need to be removed", r"remove is disabled", r"Essential packages were removed")
_MODULE_BUILD = _pattern(
    r"Bad return status for module build",
    r"dkms autoinstall on [^\n]{0,100} failed",
    r"/dkms exited with (?:return|exit) code",
    r"dkms: [^\n]{0,100}\bfail",
    r"Error! One or more modules failed",
    r"kernel headers for kernel [^\n]{1,80} cannot be found",
    r"ERROR \(dkms apport\)",
    r"\bmodule build failed",
    r"Error! [^\n]{0,100}(?:kernel headers|build of|module build|make\.log)",
    r"Error! Build of [^\n]{0,100} failed",
)
_MODULES = (
    re.compile(r"Consult /var/lib/dkms/(?P<name>[^/\s]{1,64}/[^/\s]{1,64})"),
    re.compile(r"/var/lib/dkms/(?P<name>[^/\s]{1,64}/[^/\s]{1,64})"),
    re.compile(r"dkms autoinstall on [^\n]{0,100} failed for (?P<name>[\w.+/-]{1,128})"),
    re.compile(r"Build of (?P<name>[\w.+-]{1,64})\.ko"),
    re.compile(r"^Building (?:initial )?module[: ]+(?P<name>[\w.+/-]{1,64})", re.MULTILINE),
)
_READ_ONLY = _pattern(r"Read-only file system", r"\bEROFS\b", r"open \(30: ")
_CLOCK = _pattern(r"Release file [^\n]{0,300} is not valid yet", r"\bInRelease is not valid yet")
_ARCHIVE = _pattern(
    r"Failed to fetch",
    r"Unable to fetch",
    r"Unable to locate package",
    r"no installation candidate",
    r"Hash Sum mismatch",
    r"(?:Could not|Temporary failure|Something wicked happened) resolv",
    r"(?:Could not|Unable to|cannot initiate the) connect(?:ion)? to",
    r"Some index files failed to download",
    r"(?:does not have|no longer has) a Release file",
    r"is (?:not|no longer) signed",
    r"is not valid yet",
    r"^(?:E|Error): Release file for [^\n]{1,300} is expired",
    r"Couldn't find any package by (?:glob|regex)",
    r"method driver [^\n]{1,100} could not be found",
    r"certificate verification failed",
    r"unauthenticated packages",
    r"File has unexpected size",
    r"Version '[^'\n]{1,100}' for '[^'\n]{1,100}' was not found",
)
_DPKG = _pattern(
    r"\bdpkg: (?:unrecoverable )?(?:fatal )?error",
    r"Sub-process /usr/bin/dpkg",
    r"returned an error code",
    r"Errors were encountered while processing",
)
_DEPENDS = re.compile(
    r"(?:Depends|PreDepends|Recommends|Conflicts|Breaks): |but [^\n]{0,300} (?:is|be) (?:to be )?installed"
)


def apt_failure(
    log: str, exit_code: int | None, *, held: c.Sequence[str] = (), free_boot: str = _FREE_BOOT
) -> LivepatchError:
    """Return the error for a failed apt-get or dpkg.

    `held` has the packages that are held on the host. `free_boot` is the step for a full /boot.
    """
    if _PRO_CREDENTIALS.search(log):
        return causes.PRO_CREDENTIALS.error(_lines_with(_PRO_CREDENTIALS, log) or last_errors(log))
    if _BOOT_WRITER.search(log) or _DISK_FULL.search(log):
        return _disk_failure(log, free_boot)
    if _MODULE_BUILD.search(log):
        return causes.MODULE_BUILD_FAILED.error(last_errors(log), module=_module(log))
    if _IMPOSSIBLE.search(log) and not _BROKEN.search(log):
        if held:
            return causes.PACKAGES_HELD.error(f"{', '.join(held)}: {last_errors(log)}")
        return causes.IMPOSSIBLE_REQUEST.error(_lines_with(_DEPENDS, log) or last_errors(log))
    for pattern, cause in _SIMPLE:
        if pattern.search(log):
            return cause.error(last_errors(log))
    if reports_lock(log):
        return causes.APT_LOCKED.error(last_errors(log))
    if _DPKG.search(log):
        return causes.DPKG_FAILED.error(last_errors(log))
    return causes.APT_FAILED.error(f"exit code {exit_code}: {last_errors(log)}")


def _disk_failure(log: str, free_boot: str) -> LivepatchError:
    """Return the error for a full disk: /boot, where an initial ramdisk is written, or another file system."""
    lines = [line for line in log.splitlines() if _DISK_FULL.search(line)]
    elsewhere = any(_ELSEWHERE.search(line) for line in lines) and not any("/boot" in line for line in lines)
    boot = not elsewhere and (_BOOT_WRITER.search(log) or _INITRAMFS.search(log))
    detail = _lines_with(_DISK_FULL, log) or _lines_with(_BOOT_WRITER, log) or last_errors(log)
    return causes.BOOT_DISK_FULL.error(detail, step=free_boot) if boot else causes.DISK_FULL.error(detail)


_SIMPLE = (
    (_READ_ONLY, causes.HOST_READ_ONLY),
    (_HELD, causes.PACKAGES_HELD),
    (_WOULD_REMOVE, causes.WOULD_REMOVE),
    (_INTERRUPTED, causes.DPKG_INTERRUPTED_AGAIN),
    (_BROKEN, causes.APT_BROKEN),
    (_CLOCK, causes.ARCHIVE_TOO_NEW),
    (_ARCHIVE, causes.ARCHIVE_UNREACHABLE),
)


def last_errors(log: str) -> str:
    """Return the last error messages of a log, or its last lines if there are none."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Error:", "dpkg: error"))]
    return " / ".join((errors or lines)[-3:])[-_LIMIT:] or "no output"


def _lines_with(pattern: re.Pattern[str], log: str) -> str:
    lines = dict.fromkeys(line.strip() for line in log.splitlines() if pattern.search(line))
    return " / ".join(list(lines)[:3])[:_LIMIT]


def _module(log: str) -> str:
    found = next(filter(None, (pattern.search(log) for pattern in _MODULES)), None)
    return found["name"] if found else "of DKMS"
