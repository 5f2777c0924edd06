#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ordinary module: it runs where the mirror is, and needs Python there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_mirror
short_description: Keep a folder of live patches, each verified before it is served
version_added: 1.0.0
description:
  - Brings the archives of live patches into a folder, from an on-premises server, from beside a list, or from another
    folder, such as a disk that was carried in.
  - Each archive must have the SHA-256 that the list names, must hold one kernel module and nothing that leads out of
    it, must be signed by a trusted key, and must be for the kernel and of the version that its name says.
  - An archive gets its name when all of that has been verified, and C(index.json) is written last. A run that is ended
    at any point leaves nothing unverified under the name of an archive, and the next one goes on where it was.
  - What is wrong is moved to O(quarantine_dir) with its reason beside it, and the module fails after it has done
    everything else.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - cryptography >= 41
  - PyYAML (for O(list))
  - requests (for addresses)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.trust
  - kernelops.livepatch.web
attributes:
  check_mode:
    support: partial
    details:
      - The list is read and what is in the mirror is looked at, and nothing is written. Archives are not fetched, so
        what would be wrong with them is not predicted.
  diff_mode:
    support: full
    details:
      - The archives in the mirror before and after, a line each with its SHA-256.
  platform:
    support: full
    platforms: posix
    details:
      - Needs Python 3.10 or newer where it runs.
options:
  dest:
    description:
      - The folder of the mirror. It is made where it is missing.
      - Files in it that are not named like archives are left alone. An archive that neither the index nor the list
        knows is moved to O(quarantine_dir).
    type: path
    required: true
  list:
    description:
      - Path or address of a list of archives. It is YAML or JSON, and has C(filename) and C(hash) (SHA-256) of each, as
        the downloader of an on-premises server works with. An entry may have a C(tier).
      - The C(index.json) of another mirror is such a list.
      - Archives are beside the list, unless O(server) or O(folder) is given.
    type: str
  server:
    description:
      - Address of an on-premises server, or of anything that serves archives at C(/v1/patches/) as it does.
      - The server does not tell which archives it has. O(list) does.
    type: str
  folder:
    description:
      - A folder that holds the archives.
      - Without O(list), all archives in it are taken. Their signatures are then the only proof.
    type: path
  kernels:
    description:
      - Bring patches for these kernels only, by full name (V(5.15.0-107.117-generic)) or release
        (V(5.15.0-107-generic)). Each may be a pattern, such as V(5.15.0-*).
      - What the mirror holds already stays, whatever is selected here and below.
    type: list
    elements: str
  flavours:
    description: Bring patches for kernels of these flavours only, such as V(generic).
    type: list
    elements: str
  architectures:
    description: Bring patches for these architectures only, such as V(amd64).
    type: list
    elements: str
  tiers:
    description:
      - Bring patches that the list names in these tiers only. One that it names in no tier is not brought then.
    type: list
    elements: str
  keep_versions:
    description:
      - Of each kernel and architecture, keep so many of the newest patches, and bring no others.
      - By default, all are kept.
    type: int
  keep_days:
    description:
      - Remove archives that the source does not have any more once they have been in the mirror for so many days.
      - By default, they stay.
    type: int
  allow_downgrade:
    description:
      - Follow the source when the newest patch that it has for a kernel is older than the newest one in the mirror, and
        remove what is newer. Patches close holes, so an older list brings them back. By default, nothing is done at all
        then, and the module fails.
    type: bool
    default: false
  quarantine_dir:
    description:
      - Folder for what must not be served, with a C(.reason.json) beside each file. Only its owner can read it.
      - By default C(.quarantine) in O(dest).
    type: path
  parallel:
    description: How many archives to work on at a time, 1 to 32.
    type: int
    default: 4
  retries:
    description:
      - How often to try again after an attempt that brought nothing, with pauses from half a second to ten seconds.
      - An attempt that brought a part of an archive is gone on with at once.
    type: int
    default: 4
  timeout:
    description: Seconds after which a server that sends nothing, or next to nothing, is taken for silent.
    type: int
    default: 30
notes:
  - One run at a time works on a mirror. Another one fails at once.
  - What has been verified is not verified again, as long as it has the SHA-256 that the index names. To verify
    everything anew, with other trusted keys for instance, remove C(index.json).
seealso:
  - module: kernelops.livepatch.patch_file_info
"""

EXAMPLES = r"""
- name: Bring what an on-premises server has for two series, generic and lowlatency
  kernelops.livepatch.patch_mirror:
    dest: /srv/livepatch
    server: http://livepatch.example.com:8080
    list: /etc/livepatch/patches.yaml
    kernels: [4.4.0-*, 5.15.0-*]
    flavours: [generic, lowlatency]

- name: Follow another mirror, and keep the two newest patches of each kernel
  kernelops.livepatch.patch_mirror:
    dest: /srv/livepatch
    list: https://mirror.example.com/livepatch/index.json
    ca_path: /etc/ssl/example-ca.pem
    keep_versions: 2

- name: Take in what was carried across the air gap
  kernelops.livepatch.patch_mirror:
    dest: /srv/livepatch
    folder: /media/disk/livepatch
    list: /media/disk/livepatch/index.json
"""

RETURN = r"""
fetched:
  description: Archives that were brought and verified in this run.
  returned: success, and failure for single archives
  type: list
  elements: str
  sample: [livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2]
kept:
  description: Archives that were there before, and are what they were.
  returned: success, and failure for single archives
  type: list
  elements: str
  sample: [livepatch-5.15.0-107.117-generic-106.1-amd64.tar.bz2]
pruned:
  description: Archives that were removed.
  returned: success, and failure for single archives
  type: list
  elements: str
  sample: []
quarantined:
  description:
    - Archives that must not be served, and were moved to O(quarantine_dir). Where there are any, the module fails.
  returned: success, and failure for single archives
  type: list
  elements: dict
  contains:
    filename:
      description: Name of the archive.
      type: str
      returned: always
      sample: livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2
    verdict:
      description:
        - Why, in a word. One of the verdicts of M(kernelops.livepatch.patch_file_info), or V(wrong_hash), it does not
          have the SHA-256 that it must have, or V(unknown), nothing accounts for it, or V(changed), it was in the
          mirror and is not what was verified. In the last case, its name has C(.changed) behind it.
      type: str
      returned: always
      sample: unsigned
    reason:
      description: The same in a sentence.
      type: str
      returned: always
      sample: the module carries no signature
  sample: []
failed_patches:
  description: Archives that could not be had. Where there are any, the module fails. A later run goes on with them.
  returned: success, and failure for single archives
  type: list
  elements: dict
  contains:
    filename:
      description: Name of the archive.
      type: str
      returned: always
      sample: livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2
    verdict:
      description: V(not_fetched), or V(missing) when neither the mirror nor the source has it any more.
      type: str
      returned: always
      sample: not_fetched
    reason:
      description: What happened, in a sentence.
      type: str
      returned: always
      sample: the server answered 404
  sample: []
index:
  description: Path of the index.
  returned: success, and failure for single archives
  type: str
  sample: /srv/livepatch/index.json
error_id:
  description: What kind of failure it is.
  returned: failure
  type: str
  sample: downgrade_refused
remedy:
  description: What to do.
  returned: failure
  type: str
  sample: Find out why the source has older patches.
"""

import dataclasses
import datetime as dt
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import INDEX, MirrorIndexError
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import PatchListError, Selection
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.plan import DowngradeError, Retention
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.source import make_source
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.sync import (
    MirrorBusyError,
    MirrorTask,
    Outcome,
    predict_mirror,
    run_mirror,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import Web, WebOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.kernel_support import ServerError
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust

_MOST_PARALLEL = 32
_NAMED_IN_FAILURE = 5
_SELECTED_BY = ("kernels", "flavours", "architectures", "tiers")

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "dest": {"type": "path", "required": True},
    "list": {"type": "str"},
    "server": {"type": "str"},
    "folder": {"type": "path"},
    "kernels": {"type": "list", "elements": "str"},
    "flavours": {"type": "list", "elements": "str"},
    "architectures": {"type": "list", "elements": "str"},
    "tiers": {"type": "list", "elements": "str"},
    "keep_versions": {"type": "int"},
    "keep_days": {"type": "int"},
    "allow_downgrade": {"type": "bool", "default": False},
    "quarantine_dir": {"type": "path"},
    "trusted_certificates": {"type": "list", "elements": "path", "default": []},
    "trusted_spki_sha256": {"type": "list", "elements": "str"},
    "parallel": {"type": "int", "default": 4},
    "retries": {"type": "int", "default": 4},
    "timeout": {"type": "int", "default": 30},
    "proxy": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
}

REMEDIES = {
    "bad_option": "Correct the option.",
    "bad_list": "Correct the list, or give the right one.",
    "bad_index": "Restore the index, or remove it, so that every archive is verified anew.",
    "busy": "Wait for the other run to end.",
    "downgrade_refused": "Find out why the source has older patches. If that is meant, set allow_downgrade.",
    "server": "Look at the server, the proxy and the certificates on the way to it, then run this again.",
    "files": "See that the folders can be read and written, and that there is room on the disk.",
    "incomplete": "Look at the reasons, then run this again: it goes on where it was.",
}


def check_options(options: dict[str, t.Any]) -> None:
    """Raises `ValueError` with a message for the user."""
    least = {"keep_versions": 1, "keep_days": 0, "parallel": 1, "retries": 0, "timeout": 1}
    for name, minimum in least.items():
        if options[name] is not None and options[name] < minimum:
            raise ValueError(f"{name} is {options[name]} and must be {minimum} or more")
    if options["parallel"] > _MOST_PARALLEL:
        raise ValueError(f"parallel is {options['parallel']} and must be {_MOST_PARALLEL} or less")
    if options["server"] is not None and not options["server"].startswith(("https://", "http://")):
        raise ValueError("server must begin with https:// or http://")


def make_task(options: dict[str, t.Any]) -> MirrorTask:
    """What is asked of the core. Raises `OSError`, `TrustError`, `PatchListError` and `ServerError`."""
    web = Web(
        WebOptions(
            ca_path=options["ca_path"],
            proxy=options["proxy"],
            timeout=options["timeout"],
            retries=options["retries"],
        )
    )
    folder = Path(options["dest"]).absolute()
    selected = {name: None if options[name] is None else tuple(options[name]) for name in _SELECTED_BY}
    return MirrorTask(
        folder=folder,
        quarantine=Path(options["quarantine_dir"] or folder / ".quarantine").absolute(),
        source=make_source(options["server"], options["list"], options["folder"], web),
        anchors=trust.read_anchors(options["trusted_certificates"], options["trusted_spki_sha256"]),
        selection=Selection(**selected),
        retention=Retention(options["keep_versions"], options["keep_days"]),
        allow_downgrade=options["allow_downgrade"],
        parallel=options["parallel"],
        now=dt.datetime.now(dt.timezone.utc),
    )


def as_result(outcome: Outcome, folder: Path) -> dict[str, t.Any]:
    """What the module returns."""
    return {
        "changed": outcome.changed,
        "fetched": outcome.fetched,
        "kept": outcome.kept,
        "pruned": outcome.pruned,
        "quarantined": [dataclasses.asdict(fault) for fault in outcome.quarantined],
        "failed_patches": [dataclasses.asdict(fault) for fault in outcome.failed],
        "index": str(folder / INDEX),
        "diff": {
            "before": outcome.before.names(),
            "after": outcome.after.names(),
            "before_header": str(folder),
            "after_header": str(folder),
        },
    }


def failure(outcome: Outcome, folder: Path) -> str | None:
    """What is wrong after all is done, in a sentence."""
    faults = [*outcome.quarantined, *outcome.failed]
    if not faults:
        return None
    named = "; ".join(f"{fault.filename}: {fault.reason}" for fault in faults[:_NAMED_IN_FAILURE])
    more = f"; and {len(faults) - _NAMED_IN_FAILURE} more" if len(faults) > _NAMED_IN_FAILURE else ""
    return (
        f"The mirror in {folder} needs a look: {len(outcome.quarantined)} archives are in quarantine, and "
        f"{len(outcome.failed)} could not be had. {named}{more}."
    )


def error_id(error: Exception) -> str:
    """What kind of failure an exception is."""
    kinds: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
        (MirrorBusyError, "busy"),
        (MirrorIndexError, "bad_index"),
        (DowngradeError, "downgrade_refused"),
        (PatchListError, "bad_list"),
        (ServerError, "server"),
        (OSError, "files"),
    ]
    return next((word for kind, word in kinds if isinstance(error, kind)), "bad_option")


def message(error: Exception) -> str:
    """The failure in a sentence."""
    if isinstance(error, DowngradeError):
        return f"The source has only older patches than the mirror: {error}. Nothing was changed."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file of the mirror'} cannot be used: {error.strerror}"
    return str(error)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("server", "folder")],
        required_one_of=[("list", "folder")],
    )
    try:
        check_options(module.params)
        task = make_task(module.params)
        outcome = predict_mirror(task) if module.check_mode else run_mirror(task)
    except (
        *(MirrorBusyError, MirrorIndexError, DowngradeError, PatchListError, ServerError),
        *(OSError, ValueError, trust.TrustError),
    ) as error:
        kind = error_id(error)
        module.fail_json(msg=message(error), error_id=kind, remedy=REMEDIES[kind])
    result = as_result(outcome, task.folder)
    wrong = failure(outcome, task.folder)
    if wrong is not None:
        module.fail_json(msg=wrong, error_id="incomplete", remedy=REMEDIES["incomplete"], **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
