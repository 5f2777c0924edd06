# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Options of the modules that verify patches: those that a host runs, and files."""

from __future__ import annotations


class ModuleDocFragment:
    """For the patch that a host runs, and for files, where no host has a certificate to give."""

    DOCUMENTATION = r"""
options:
  trusted_certificates:
    description:
      - Files with certificates of signers, each one certificate in DER, or one or more in PEM. They are read where
        signatures are verified; for the patch that a host runs, that is the controller.
      - Without O(trusted_spki_sha256), these certificates are trusted beside Canonical's key.
      - Their dates decide nothing, as with the kernel, and neither does who issued them.
    type: list
    elements: path
    default: []
  trusted_spki_sha256:
    description:
      - The keys to trust instead of Canonical's, each by the SHA-256 of its SubjectPublicKeyInfo in DER, as 64
        hexadecimal digits.
      - The certificate with that key may be among O(trusted_certificates), in the signature, or, for the patch that a
        host runs, in its client (C(/snap/canonical-livepatch/current/keys/livepatch-kmod.x509)). A certificate in
        O(trusted_certificates) with a key that is not listed is an error.
      - With an empty list, O(trusted_certificates) alone are trusted, as they are.
    type: list
    elements: str
"""
