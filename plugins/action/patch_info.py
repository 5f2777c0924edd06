# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Everything about a host's patches, as one record."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.trust import TrustAnchors
from ansible_collections.kernelops.livepatch.plugins.plugin_utils import _probe, _recording, _trust


class ActionModule(_recording.RecordingAction):
    ARGUMENT_SPEC: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **_recording.RECORDING_ARGUMENTS,
        "verify": {"type": "str", "choices": ["auto", "file", "off"], "default": "auto"},
    }

    def execute(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        policy = _probe.load_policy(options["policy"])
        anchors = _anchors(options)
        started = datetime.datetime.now(datetime.timezone.utc)
        facts = _probe.probe_host(
            self,
            options,
            options["verify"] if anchors else "off",
            certificate=anchors is not None and bool(anchors.unmet_pins),
        )
        word = _probe.asked_service_word(options, facts)
        return self.kept(self.record_of(facts, policy, started, anchors, word), options)


def _anchors(options: dict[str, t.Any]) -> TrustAnchors | None:
    """Whom to trust, or nobody where no signature is to be verified here."""
    verify = options["verify"]
    if verify == "off" or (verify == "auto" and _trust.usual_trust_is_impossible(options)):
        return None
    return _trust.trust_anchors(options)
