# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Whom a task trusts to sign patches: the options that say it, and what they come to."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _options
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._options import TRUST_ARGUMENTS

__all__ = ["TRUST_ARGUMENTS"]


def trust_anchors(options: Mapping[str, t.Any]) -> trust.TrustAnchors:
    """The trust that a task asks for."""
    return t.cast("trust.TrustAnchors", _options.trust_anchors(options))


def usual_trust_is_impossible(options: Mapping[str, t.Any]) -> bool:
    """Whether the task asks for no trust of its own, and the usual one needs a library that is not here."""
    return _options.trust_anchors(options, optional=True) is None
