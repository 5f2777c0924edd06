#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ordinary module: it runs where the file is, and needs Python there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_file_info
short_description: Verify the file of a live patch, and tell what it is
version_added: 1.0.0
description:
  - Verifies the signature of a kernel module (C(.ko)), or of the one in an archive as the Livepatch service names and
    packs it, and tells for which kernel it is.
  - By default a file is valid when it was signed with Canonical's key for live patches. The SHA-256 of that key is
    built in, and so is its certificate.
  - An archive is never unpacked to disk. One that holds links, devices, paths that lead out of it, more than one kernel
    module, or more than 128 MiB is V(malformed).
  - Files of more than 64 MiB are not looked at.
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
      - Needs Python 3.10 or newer where it runs. Delegate it to the controller for files that lie there.
options:
  path:
    description:
      - The file, a kernel module or an archive (tar, packed with bzip2, gzip or xz). Its content tells which.
      - When an archive is named like C(livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2), the module in it must be
        for that kernel and of that version.
    type: path
    required: true
  kernel:
    description:
      - The kernel for which the patch must be, by its full name (V(4.4.0-168.197-generic)) or its release
        (V(4.4.0-168-generic)).
      - A release does not tell builds of the same kernel apart. Give the full name where it is known.
    type: str
  require_valid:
    description: Fail when the file is not valid.
    type: bool
    default: false
notes:
  - What a file says of itself (RV(build_id), RV(srcversion), RV(vermagic), RV(kernel), RV(version)) is proven only when
    it is valid.
seealso:
  - module: kernelops.livepatch.patch_info
"""

EXAMPLES = r"""
- name: Look at the patch that the client has on a mirror
  kernelops.livepatch.patch_file_info:
    path: /srv/livepatch/livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2
  register: patch

- name: Stop unless a module of one's own is signed with one's own key, and for the kernel that is meant
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
  description: Whether the file is signed by a trusted key, whole, and for the kernel it must be for.
  returned: success, and failure by O(require_valid)
  type: bool
  sample: true
verdict:
  description:
    - V(valid), or the first fault.
    - V(unsigned), there is no signature. V(truncated), the file ends too early. V(malformed), it is no kernel module,
      or its signature or archive is not as it must be.
    - V(unsupported_algorithm), the signature is neither RSA (PKCS 1, version 1.5) nor ECDSA, or not with SHA-256,
      SHA-384 or SHA-512.
    - V(wrong_signer), the signature names a signer that is not trusted. V(no_certificate), the same, and the
      certificate with a key of O(trusted_spki_sha256) is not at hand, so it cannot be told who signed.
    - V(digest_mismatch), the file was changed after it was signed, or signed with another key than it says.
    - V(not_for_this_kernel), the signature is good, and the module is for another kernel.
  returned: success, and failure by O(require_valid)
  type: str
  sample: valid
reason:
  description: The verdict in a sentence.
  returned: success, and failure by O(require_valid)
  type: str
  sample: signed by Canonical Ltd. Live Patch Signing
signer:
  description: Name of the trusted certificate that the signature names. Null when it names none.
  returned: success, and failure by O(require_valid)
  type: str
  sample: Canonical Ltd. Live Patch Signing
key_id:
  description: SHA-1 of its public key, as computed, by which C(/proc/keys) lists it.
  returned: success, and failure by O(require_valid)
  type: str
  sample: 14df34d1a87cf37625abec039ef2bf521249b969
certificate_expired:
  description:
    - Whether its time is over. This is told, and decides nothing. The one of Canonical's key expired on 2026-07-16.
  returned: success, and failure by O(require_valid)
  type: bool
  sample: true
hash_algorithm:
  description: V(sha256), V(sha384) or V(sha512). Null when there is no signature that can be read.
  returned: success, and failure by O(require_valid)
  type: str
  sample: sha512
build_id:
  description: The build ID of the module, which a running kernel shows for a module that it has loaded.
  returned: success, and failure by O(require_valid)
  type: str
  sample: 5d41402abc4b2a76b9719d911017c592a1b2c3d4
srcversion:
  description: Checksum of the module's sources. Null when it was built without.
  returned: success, and failure by O(require_valid)
  type: str
  sample: 0C7D2E3B0F6F2A1D9B8E4C5
vermagic:
  description: The kernel and the options with which the module was built.
  returned: success, and failure by O(require_valid)
  type: str
  sample: "4.4.0-168-generic SMP mod_unload modversions "
kernel:
  description: The kernel for which the patch is, by its full name where archive or module tell it, else by its release.
  returned: success, and failure by O(require_valid)
  type: str
  sample: 4.4.0-168.197-generic
version:
  description: Version of the patch by the archive's name. For a module, the major number, which is all that it tells.
  returned: success, and failure by O(require_valid)
  type: str
  sample: "65.1"
sha256:
  description: SHA-256 of the file, as lists of patches give it.
  returned: success, and failure by O(require_valid)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

import dataclasses
import datetime as dt
import hashlib
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import patch_file, trust

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "trusted_certificates": {"type": "list", "elements": "path", "default": []},
    "trusted_spki_sha256": {"type": "list", "elements": "str"},
    "kernel": {"type": "str"},
    "require_valid": {"type": "bool", "default": False},
}


def examine(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """What the module returns of the file. Raises `OSError` and `TrustError`."""
    anchors = trust.read_anchors(options["trusted_certificates"], options["trusted_spki_sha256"])
    path = options["path"]
    data = trust.read_named(path, patch_file.FILE_LIMIT)
    patch = patch_file.examine(
        data, Path(path).name, anchors, now=dt.datetime.now(dt.timezone.utc), kernel=options["kernel"]
    )
    return {"valid": patch.valid, "sha256": hashlib.sha256(data).hexdigest(), **dataclasses.asdict(patch)}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = examine(module.params)
    except (OSError, trust.TrustError) as error:
        module.fail_json(msg=str(error))
    if module.params["require_valid"] and not result["valid"]:
        module.fail_json(msg=f"{module.params['path']} is {result['verdict']}: {result['reason']}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
