# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Valid records for tests, as in `plugins/module_utils/_record.py`."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._record import SCHEMA, Record, State, validate

COLLECTED_AT = "2026-01-10T06:00:00Z"

_REASONS: dict[State, dict[str, str | None]] = {
    "no_answer": {"id": "no_answer", "message": "The host gave no answer.", "remedy": "Start the host."},
    "tampered": {
        "id": "signature_failed",
        "message": "The signature of lkp_Ubuntu_4_4_0_168_197_generic_65 does not verify.",
        "remedy": "Take the host out of service and reboot it.",
    },
    "ineligible": {
        "id": "release",
        "message": "Ubuntu 16.10 is no long-term release.",
        "remedy": "Upgrade to Ubuntu 16.04 LTS.",
    },
    "held_back": {
        "id": "mode_withholds",
        "message": "The mode of the client is no-apply.",
        "remedy": "Set the mode to normal.",
    },
    "failed": {
        "id": "apply_failed",
        "message": "The patch could not be applied.",
        "remedy": "Read the log of the client.",
    },
    "end_of_life": {"id": "end_of_life", "message": "The kernel's support has ended.", "remedy": "Upgrade the kernel."},
    "upgrade_required": {
        "id": "upgrade_required",
        "message": "Only a newer kernel closes the remaining holes.",
        "remedy": "Upgrade the kernel and reboot.",
    },
    "disabled": {"id": "not_enabled", "message": "The client is not enabled.", "remedy": "Enable the client."},
    "stale": {"id": "stale", "message": "The last check is 3 days old.", "remedy": "Refresh the client."},
    "applying": {"id": "transition", "message": "The patch is being applied.", "remedy": "Wait, then check again."},
    "unverified": {"id": "one_witness", "message": "Only the client says so.", "remedy": "Check with root."},
    "exposed": {
        "id": "vulnerability_open",
        "message": "1 vulnerability of priority high or higher is open.",
        "remedy": "Upgrade linux and reboot.",
    },
    "protected": {"id": "confirmed", "message": "Patch 65.1 is applied and confirmed.", "remedy": None},
    "unknown": {"id": "state_unknown", "message": "The client says 'perhaps'.", "remedy": "Upgrade this collection."},
}

_RECORD: dict[str, t.Any] = {
    "schema": SCHEMA,
    "host": "web1",
    "collected_at": COLLECTED_AT,
    "collector": {"collection": "1.0.0", "ansible_core": "2.19.0"},
    "system": {
        "distribution": "Ubuntu",
        "release": "16.04",
        "codename": "xenial",
        "architecture": "amd64",
        "virtualization": "kvm",
        "containers": {"docker": 0, "lxd": None, "podman": 0},
        "machine_id_sha256": "5f" * 32,
        "secure_boot": False,
        "kernel": {
            "release": "4.4.0-168-generic",
            "full": "4.4.0-168.197-generic",
            "series": "4.4",
            "flavour": "generic",
            "origin": "ubuntu",
            "build_date": "2019-11-06T10:04:11Z",
            "booted_at": "2026-01-01T00:00:00Z",
            "newest_installed": "4.4.0-168-generic",
        },
    },
    "eligibility": {
        "policy": "launch",
        "verdict": "eligible",
        "checks": [
            {
                "id": "release",
                "status": "pass",
                "found": "16.04",
                "required": "16.04",
                "message": "Ubuntu 16.04 LTS is covered.",
                "remedy": None,
            }
        ],
    },
    "client": {
        "installed": True,
        "snapd_version": "2.54.3",
        "version": "10.8.3",
        "generation": "10",
        "enabled": True,
        "tier": "updates",
        "server": "https://livepatch.canonical.com",
        "check_state": "checked",
        "last_check": "2026-01-10T05:31:02Z",
    },
    "patch": {
        "state": "applied",
        "version": "65.1",
        "fixes": [{"cve": "CVE-2019-14895", "patched": True}],
        "support": "supported",
        "upgrade_required_by": "2026-06-01",
    },
    "kernel_patches": [
        {
            "module": "lkp_Ubuntu_4_4_0_168_197_generic_65",
            "enabled": True,
            "transition": None,
            "build_id": "ab" * 20,
            "taint": "OEK",
            "verification": {
                "level": "file",
                "result": "verified",
                "signer": "Canonical Ltd. Live Patch Signing",
                "key_id": "14df34d1a87cf37625abec039ef2bf521249b969",
                "sha512": "cd" * 64,
            },
        }
    ],
    "assessment": {"state": "protected", "reasons": [], "reboot_needed": False},
}


def make_record(host: str = "web1", state: State = "protected", **places: t.Any) -> Record:
    """Make a valid record of a protected host on 16.04; `state` adds a matching reason.

    `places` replaces values: each name is a path into the record with ``__`` between its keys,
    as in ``make_record("db1", "disabled", client__enabled=False)``.
    """
    document = copy.deepcopy(_RECORD)
    document["host"] = host
    document["assessment"]["state"] = state
    document["assessment"]["reasons"] = [dict(_REASONS[state])]
    for place, value in places.items():
        *parents, last = place.split("__")
        target = document
        for key in parents:
            target = target[key]
        if last not in target:
            raise KeyError(f"a record holds no {place.replace('__', '.')}")
        target[last] = value
    return validate(document)
