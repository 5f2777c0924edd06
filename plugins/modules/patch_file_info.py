#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ordinary module: it runs on the host that has the file, which needs Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_file_info
short_description: Verify the file of a live patch
version_added: 1.0.0
description:
  - Verifies the signature of a kernel module (C(.ko)), or of the kernel module in an archive of the Livepatch service,
    and returns the kernel that the live patch is for.
  - By default, a file is valid if it is signed with the key that Canonical uses for live patches. The SHA-256 of this
    key and its certificate are part of the collection.
  - Archives are not unpacked to disk. An archive is V(malformed) if it contains links, devices, paths outside of the
    archive, several kernel modules, or more than 128 MiB.
  - Files larger than 64 MiB are rejected.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - cryptography >= 41
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.info_module
  - kernelops.livepatch.trust
attributes:
  platform:
    support: full
    platforms: posix
    details:
      - Requires Python 3.10 or later on the host where it runs. For files on the controller, use C(delegate_to).
options:
  path:
    description:
      - Path of a kernel module or an archive (tar, compressed with bzip2, gzip or xz). The type is detected from the
        content.
      - If the file name of an archive has the form C(livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2), the kernel
        and the version of the module must match this name.
    type: path
    required: true
  kernel:
    description:
      - Kernel that the patch must be for, as a full name (V(4.4.0-168.197-generic)) or a release
        (V(4.4.0-168-generic)).
      - Use the full name if possible. A release does not distinguish between different builds of the same kernel.
    type: str
  require_valid:
    description: Fail if the file is not valid.
    type: bool
    default: false
notes:
  - The return values RV(build_id), RV(srcversion), RV(vermagic), RV(kernel) and RV(version) are read from the file.
    They can only be trusted if the file is valid.
seealso:
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Verify an archive on a mirror
  kernelops.livepatch.patch_file_info:
    path: /srv/livepatch/livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2
  register: patch

- name: Fail unless a module is signed with your own key and is for the right kernel
  kernelops.livepatch.patch_file_info:
    path: build/lkp_fix.ko
    trusted_certificates: [keys/signing.pem]
    trusted_spki_sha256: []
    kernel: 6.1.0-28-cloud-amd64
    require_valid: true
  delegate_to: localhost
"""

RETURN = r"""
valid:
  description: Whether the file is complete, is signed by a trusted key, and is for the right kernel.
  returned: success, or failure because of O(require_valid)
  type: bool
  sample: true
verdict:
  description:
    - V(valid), or the first problem that was found.
    - V(unsigned) if there is no signature.
    - V(truncated) if the file is incomplete.
    - V(malformed) if the file is not a kernel module, its archive is malformed, or the Linux kernel refuses the form of
      its signature (for example signed attributes).
    - V(unsupported_algorithm) if the signature does not use rsaEncryption or ECDSA, with SHA-256, SHA-384 or SHA-512,
      or cannot be judged for another reason.
    - V(wrong_signer) if the signer is not trusted.
    - V(no_certificate) if the signer is unknown because the certificate for a key in O(trusted_spki_sha256) is missing.
    - V(digest_mismatch) if the file was changed after it was signed, or if the signature was made with a different key
      than it claims.
    - V(not_for_this_kernel) if the signature is valid, but the module is for another kernel.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: valid
reason:
  description: Explanation of the verdict in one sentence.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: signed by Canonical Ltd. Live Patch Signing
signer:
  description: Name of the trusted certificate that the signature refers to. Null if it does not refer to one.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: Canonical Ltd. Live Patch Signing
key_id:
  description: SHA-1 of the public key of the signer, as in C(/proc/keys).
  returned: success, or failure because of O(require_valid)
  type: str
  sample: 14df34d1a87cf37625abec039ef2bf521249b969
certificate_expired:
  description:
    - Whether the certificate has expired. Informational only. The certificate of Canonical's older key
      expired on 2026-07-16.
  returned: success, or failure because of O(require_valid)
  type: bool
  sample: true
hash_algorithm:
  description: V(sha256), V(sha384) or V(sha512). Null if there is no readable signature.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: sha512
build_id:
  description: Build ID of the module. A running kernel shows the same value for the loaded module.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: 5d41402abc4b2a76b9719d911017c592a1b2c3d4
srcversion:
  description: Checksum of the source of the module. Null if the module was built without it.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: 0C7D2E3B0F6F2A1D9B8E4C5
vermagic:
  description: Kernel release and options that the module was built with.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: "4.4.0-168-generic SMP mod_unload modversions "
kernel:
  description: Kernel that the patch is for. This is the full name if the archive or the module contains it, and the
    release otherwise.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: 4.4.0-168.197-generic
version:
  description: Version of the patch from the file name of the archive. For a module, only the major version is known.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: "65.1"
sha256:
  description: SHA-256 of the file, as in lists of patches.
  returned: success, or failure because of O(require_valid)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
error_id:
  description: Identifier of the error.
  returned: failure
  type: str
  sample: patch_not_valid
remedy:
  description: How to fix the problem.
  returned: failure
  type: str
  sample: set `path` to a regular file that is readable and at most 64 MiB
"""

import dataclasses
import datetime as dt
import hashlib
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import file_error, read_bounded
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible_values
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, trust

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "trusted_certificates": {"type": "list", "elements": "path", "default": []},
    "trusted_spki_sha256": {"type": "list", "elements": "str"},
    "kernel": {"type": "str"},
    "require_valid": {"type": "bool", "default": False},
}


def examine(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the module. Raises `LivepatchError`."""
    anchors = trust.read_anchors(options["trusted_certificates"], options["trusted_spki_sha256"])
    path = options["path"]
    try:
        data = read_bounded(path, patch_file.FILE_LIMIT)
    except OSError as error:
        raise file_error(error, path, "set `path` to a regular file that is readable and at most 64 MiB") from error
    patch = patch_file.examine(
        data, Path(path).name, anchors, now=dt.datetime.now(dt.timezone.utc), kernel=options["kernel"]
    )
    result = {"valid": patch.valid, "sha256": hashlib.sha256(data).hexdigest(), **dataclasses.asdict(patch)}
    if options["require_valid"] and not patch.valid:
        raise LivepatchError(
            "patch_not_valid",
            f"{path} is {patch.verdict}: {patch.reason}",
            "do not use this file; get it again from a trusted source, or correct the trust options and `kernel`",
            **result,
        )
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = examine(module.params)
    except LivepatchError as error:
        module.fail_json(**visible_values(error.as_result()))
    module.exit_json(**visible_values(result))


if __name__ == "__main__":
    main()
