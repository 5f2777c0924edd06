# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Whom a task trusts to sign patches: the options that say it, and what they come to."""

from __future__ import annotations

import pathlib
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.kernelops.livepatch.plugins.module_utils._io import read_bounded
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._action import ActionError

TRUST_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "trusted_certificates": {"type": "list", "elements": "path", "default": []},
    "trusted_spki_sha256": {"type": "list", "elements": "str"},
}


def _usual() -> trust.TrustAnchors | None:
    try:
        return trust.canonical_anchors()
    except trust.TrustError:
        return None


# Made when the plugin is loaded: once a run, before Ansible forks a process for each host.
_USUAL = _usual()


def trust_anchors(options: Mapping[str, t.Any]) -> trust.TrustAnchors:
    """The trust that a task asks for. Raises `ActionError`."""
    paths, pins = options["trusted_certificates"], options["trusted_spki_sha256"]
    if not paths and pins is None and _USUAL is not None:
        return _USUAL
    try:
        return trust.operator_anchors(_read_certificates(paths), pins)
    except trust.TrustError as error:
        raise ActionError(f"Nobody can be trusted as asked: {error}", error_id="trust_unusable") from error


def usual_trust_is_impossible(options: Mapping[str, t.Any]) -> bool:
    """Whether the task asks for no trust of its own, and the usual one needs a library that is not here."""
    return _USUAL is None and not options["trusted_certificates"] and options["trusted_spki_sha256"] is None


def _read_certificates(paths: Sequence[str]) -> list[trust.Certificate]:
    certificates = []
    for path in paths:
        try:
            certificates += trust.read_certificates(read_bounded(path, trust.CERTIFICATE_FILE_LIMIT))
        except OSError as error:
            raise trust.TrustError(
                f"{pathlib.Path(path)} cannot be read on the controller: {error.strerror}"
            ) from error
        except trust.TrustError as error:
            raise trust.TrustError(f"{path}: {error}") from error
    return certificates
