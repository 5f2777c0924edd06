# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Options of the modules that verify live patches, on hosts and in files."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  trusted_certificates:
    description:
      - Certificate files of trusted signers. Each file contains one certificate in DER format, or one or more in PEM
        format. They are read on the machine that verifies the signatures. For patches that are loaded on a host, this
        is the controller.
      - If O(trusted_spki_sha256) is not set, these certificates are trusted in addition to Canonical's keys.
      - The validity period and the issuer of a certificate are ignored, as in the Linux kernel.
    type: list
    elements: path
    default: []
  trusted_spki_sha256:
    description:
      - Public keys to trust instead of Canonical's two keys for live patches. Each key is identified by the SHA-256 of
        its SubjectPublicKeyInfo in DER format, as 64 hexadecimal digits.
      - The certificate with this key can be in O(trusted_certificates) or in the signature. For patches that are loaded
        on a host, it can also be in the client (C(/snap/canonical-livepatch/current/keys/livepatch-kmod.x509)).
      - A certificate in O(trusted_certificates) whose key is not in this list is an error.
      - With an empty list, exactly the certificates in O(trusted_certificates) are trusted.
    type: list
    elements: str
"""
