# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a loaded patch that fails verification."""

from __future__ import annotations

from .cause import Cause

_ISOLATE = (
    "isolate the host, find out who loaded the module, and reboot: a live patch cannot be removed from a running kernel"
)

SIGNATURE_FAILED_IN_KERNEL = Cause(
    "signature_failed", "the loaded patch {module} does not have a valid signature of the live patch key", _ISOLATE
)
SIGNATURE_FAILED_IN_FILE = Cause(
    "signature_failed",
    "the signature of the file of the loaded patch {module} is not valid ({verdict}): {reason}",
    _ISOLATE,
)
WRONG_SIGNER = Cause(
    "wrong_signer",
    "the loaded patch {module} is not signed by a trusted key: {reason}",
    "if this key is a newer one of Canonical or your own, add it to trusted_spki_sha256 or trusted_certificates;"
    f" otherwise {_ISOLATE}",
)
BUILD_ID_DIFFERS = Cause(
    "build_id_differs",
    "the running patch {module} is not the file on the host: its build ID is {running}, and that of the file {file}",
    _ISOLATE,
)
TAMPERED = Cause("tampered", "{reason}", "{remedy}")
NOT_VERIFIED = Cause(
    "not_verified",
    "the signature of {modules} could not be verified: no module file or no certificate of its signer is available, and"
    " the kernel does not contain the key",
    "run the task as root, and add the signer's certificate to trusted_certificates; or accept unverified patches with"
    " verify: best_effort",
)
SRCVERSION_DIFFERS = Cause(
    "srcversion_differs",
    "the running patch {module} is not the file on the host: its srcversion is {running}, and that of the file {file}",
    _ISOLATE,
)
SIGNATURE_NOT_CONFIRMED = Cause(
    "signature_not_confirmed",
    "the kernel did not accept the signature of the loaded patch {module}, and it is not known who signed it",
    "verify the file of the patch (livepatch_verify=file) with the certificates of all trusted keys",
)
BUILD_ID_MISSING = Cause(
    "build_id_missing",
    "the running patch {module} was not compared with its file by build ID, because {places} shows none",
    "verify the complete file: livepatch_verify=file",
)
