#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ordinary module: it runs on the host that has the mirror, which needs Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_mirror
short_description: Maintain a mirror of verified live patches
version_added: 1.0.0
description:
  - Copies archives of live patches into a folder. The source is an on-premises server, a web server that has a list of
    archives, or another folder, for example on a portable disk.
  - Each archive is verified. It must have the SHA-256 from the list, contain exactly one kernel module and no path
    outside of the archive, be signed by a trusted key, be a live patch, and match the kernel, the major version and the
    architecture in its file name.
  - An archive gets its final name after it has been verified, and C(index.json) is written last. If a run is
    interrupted at any point, no unverified file has the name of an archive, and the next run resumes the work.
  - Files that fail the verification are moved to O(quarantine_dir), together with the reason. The module then processes
    all other archives and fails at the end.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - cryptography >= 41
  - PyYAML (for O(list))
  - requests (for URLs)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.trust
  - kernelops.livepatch.web
attributes:
  check_mode:
    support: partial
    details:
      - In check mode, the module reads the list and the mirror, but does not write or download anything. Problems with
        archives that are not in the mirror yet are not detected.
  diff_mode:
    support: full
    details:
      - Shows the archives in the mirror before and after, one line with the name and the SHA-256 for each.
  platform:
    support: full
    platforms: posix
    details:
      - Requires Python 3.10 or later on the host where it runs.
options:
  dest:
    description:
      - Folder of the mirror. It is created if it does not exist.
      - Only root and the user that runs the module may be able to write to the folder, and to replace it or a folder
        above it. Otherwise, the module fails with V(unsafe_folder). The same applies to O(quarantine_dir).
      - Links in the folder are not followed. Files that do not have the name of an archive are ignored. An archive that
        is in neither the index nor the list is moved to O(quarantine_dir).
    type: path
    required: true
  list:
    description:
      - Path or URL of a list of archives, in YAML or JSON. Each entry has C(filename) and C(hash) (SHA-256), as in the
        list for the downloader of an on-premises server, and optionally C(tier).
      - The C(index.json) of another mirror can be used as a list.
      - The archives are expected next to the list, unless O(server) or O(folder) is set.
    type: str
  server:
    description:
      - URL of an on-premises server, or of another web server that provides archives below C(/v1/patches/).
      - The server does not provide a list of its archives. Use O(list) for this.
    type: str
  folder:
    description:
      - Folder that contains the archives.
      - Without O(list), all archives in this folder are used. They are then only verified by their signatures.
    type: path
  kernels:
    description:
      - Only mirror patches for these kernels, by full name (V(5.15.0-107.117-generic)) or release
        (V(5.15.0-107-generic)). Each item can be a shell pattern, for example V(5.15.0-*).
      - O(kernels), O(flavours), O(architectures) and O(tiers) select what is copied. Archives that are already in the
        mirror stay there, unless O(keep_days) is set.
    type: list
    elements: str
  flavours:
    description: Only mirror patches for these kernel flavours, for example V(generic).
    type: list
    elements: str
  architectures:
    description: Only mirror patches for these architectures, for example V(amd64).
    type: list
    elements: str
  tiers:
    description:
      - Only mirror patches that have one of these tiers in the list. Entries without a tier are then skipped.
    type: list
    elements: str
  max_list_age:
    description:
      - Maximum age of the list in hours. An attacker who controls the connection to the source can serve an old list
        forever, so that new patches do not arrive. With an older list, or if the age of the list is unknown, the module
        fails with V(list_too_old) and does not change anything.
      - The age counts from the C(Last-Modified) header of a URL, or from the time of a file. These times are not
        signed.
      - The C(index.json) of a mirror has the time of its last change, not of its last check.
      - By default, lists of any age are used.
    type: int
    version_added: 2.0.0
  keep_versions:
    description:
      - Number of major versions to keep for each kernel and architecture. Patches of older major versions are removed
        and not mirrored. All minor versions of a major version that is kept remain, because the minor version is not
        signed.
      - By default, all patches are kept.
    type: int
  keep_days:
    description:
      - Number of days to keep archives that the source no longer has or that are no longer selected, counted from the
        time when they were mirrored.
      - By default, these archives are kept.
    type: int
  allow_downgrade:
    description:
      - Follow the source even if its newest patch for a kernel is older than the newest one in the mirror. The newer
        patches are then removed from the mirror.
      - Also accept an archive that has the name of one in the mirror, but contains another module.
      - An old list reopens vulnerabilities that newer patches fix. By default, the module fails in this case and does
        not change anything.
    type: bool
    default: false
  quarantine_dir:
    description:
      - Folder for files that must not be served. A file with the suffix C(.reason.json) is stored for each of them.
        Only the owner can read the folder.
      - By default, this is C(.quarantine) in O(dest).
    type: path
  parallel:
    description: Number of archives to process at the same time, from 1 to 32.
    type: int
    default: 4
  retries:
    description:
      - Number of retries after a download attempt that made no progress, with pauses from 0.5 to 10 seconds.
      - A partial download is resumed immediately.
    type: int
    default: 4
  timeout:
    description:
      - Maximum time in seconds from the connection to the server until its answer begins, including all redirects, and
        maximum time to wait for further data. A server that sends almost no data for this time is treated in the same
        way.
    type: int
    default: 30
notes:
  - Only one run can use a mirror at a time. A second run fails immediately.
  - An archive in the mirror is verified again if the trusted keys, the archive or its entry in the index have changed
    since its last verification. If it fails, for example because its key is not trusted any more, it is moved to
    O(quarantine_dir). The private file C(.verified.json) stores what has been verified. It can be removed at any time.
seealso:
  - module: kernelops.livepatch.patch_file_info
"""

EXAMPLES = r"""
- name: Mirror patches for two kernel series from an on-premises server
  kernelops.livepatch.patch_mirror:
    dest: /srv/livepatch
    server: http://livepatch.example.com:8080
    list: /etc/livepatch/patches.yaml
    kernels: [4.4.0-*, 5.15.0-*]
    flavours: [generic, lowlatency]

- name: Mirror the two newest patches of each kernel from another mirror
  kernelops.livepatch.patch_mirror:
    dest: /srv/livepatch
    list: https://mirror.example.com/livepatch/index.json
    ca_path: /etc/ssl/example-ca.pem
    keep_versions: 2

- name: Import patches from a portable disk at an air-gapped site
  kernelops.livepatch.patch_mirror:
    dest: /srv/livepatch
    folder: /media/disk/livepatch
    list: /media/disk/livepatch/index.json
"""

RETURN = r"""
fetched:
  description: Archives that were copied and verified in this run.
  returned: success, or failure of single archives
  type: list
  elements: str
  sample: [livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2]
kept:
  description: Archives that were already in the mirror and are unchanged.
  returned: success, or failure of single archives
  type: list
  elements: str
  sample: [livepatch-5.15.0-107.117-generic-106.1-amd64.tar.bz2]
pruned:
  description: Archives that were removed.
  returned: success, or failure of single archives
  type: list
  elements: str
  sample: []
quarantined:
  description:
    - Archives that must not be served and were moved to O(quarantine_dir). If there are any, the module fails.
  returned: success, or failure of single archives
  type: list
  elements: dict
  contains:
    filename:
      description: Name of the archive. If the verdict is V(changed), the name ends in C(.changed).
      type: str
      returned: always
      sample: livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2
    verdict:
      description:
        - Reason, as a verdict of M(kernelops.livepatch.patch_file_info) or one of the following values.
        - V(wrong_hash) if the archive does not have the SHA-256 from the list.
        - V(unknown) if the archive is in neither the index nor the list.
        - V(changed) if the archive in the mirror differs from the one that was verified.
        - V(other_build) if its module is also in the mirror under an older version, or if the mirror has another module
          under its name. Such an archive can be an old patch under a new name.
      type: str
      returned: always
      sample: unsigned
    reason:
      description: Explanation of the verdict in one sentence.
      type: str
      returned: always
      sample: the module has no signature
  sample: []
failed_patches:
  description: Archives that could not be copied. If there are any, the module fails. A later run tries again.
  returned: success, or failure of single archives
  type: list
  elements: dict
  contains:
    filename:
      description: Name of the archive.
      type: str
      returned: always
      sample: livepatch-5.15.0-107.117-generic-107.1-amd64.tar.bz2
    verdict:
      description: V(not_fetched), or V(missing) if neither the mirror nor the source has the archive any more.
      type: str
      returned: always
      sample: not_fetched
    reason:
      description: Explanation in one sentence.
      type: str
      returned: always
      sample: the server answered 404
  sample: []
list_age_hours:
  description: Age of the list in hours, or V(null) if the source gives no time for it.
  returned: success, or failure of single archives
  type: float
  sample: 4.5
index:
  description: Path of the index.
  returned: success, or failure of single archives
  type: str
  sample: /srv/livepatch/index.json
error_id:
  description: Identifier of the error.
  returned: failure
  type: str
  sample: downgrade_refused
remedy:
  description: How to fix the problem.
  returned: failure
  type: str
  sample: Find out why the source has older patches. If this is intended, set allow_downgrade.
"""

import dataclasses
import datetime as dt
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import file_error
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import INDEX
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import Selection
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.plan import Retention
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.source import make_source
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.sync import (
    MirrorTask,
    Outcome,
    predict_mirror,
    run_mirror,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import user_and_password, visible_values
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust

_MOST_PARALLEL = 32
_NAMED_IN_FAILURE = 5
_CHECK_FILES = "check that the files and folders are readable and writable, and that there is free disk space"
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
    "max_list_age": {"type": "int"},
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


def check_options(options: dict[str, t.Any]) -> None:
    """Check the values of the options. Raises `LivepatchError` (``bad_option``)."""
    minimums = {"max_list_age": 1, "keep_versions": 1, "keep_days": 0, "parallel": 1, "retries": 0, "timeout": 1}
    for name, minimum in minimums.items():
        if options[name] is not None and options[name] < minimum:
            raise bad_option(f"the option {name} is {options[name]}, but must be {minimum} or more")
    if options["parallel"] > _MOST_PARALLEL:
        raise bad_option(f"the option parallel is {options['parallel']}, but must be {_MOST_PARALLEL} or less")
    if options["server"] is not None and not options["server"].startswith(("https://", "http://")):
        raise bad_option("the option server must begin with https:// or http://")
    if options["max_list_age"] is not None and options["list"] is None:
        raise bad_option("the option max_list_age requires the option list")


def bad_option(message: str) -> LivepatchError:
    """Return the error for an option with a value that it cannot have."""
    return LivepatchError("bad_option", message, "correct the value of the option")


def read_anchors(options: dict[str, t.Any]) -> trust.TrustAnchors:
    """Return the trust anchors that the options name. Raises `LivepatchError`."""
    try:
        return trust.read_anchors(options["trusted_certificates"], options["trusted_spki_sha256"])
    except trust.CertificateFileError as error:
        raise LivepatchError("files", error.message, _CHECK_FILES) from error
    except trust.TrustError as error:
        raise bad_option(error.message) from error


def make_task(options: dict[str, t.Any]) -> MirrorTask:
    """Convert the options into a task. Raises `LivepatchError`."""
    downloader = Downloader(
        DownloadOptions(
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
        source=make_source(options["server"], options["list"], options["folder"], downloader),
        anchors=read_anchors(options),
        selection=Selection(**selected),
        retention=Retention(options["keep_versions"], options["keep_days"]),
        allow_downgrade=options["allow_downgrade"],
        parallel=options["parallel"],
        now=dt.datetime.now(dt.timezone.utc),
        max_list_age=None if options["max_list_age"] is None else dt.timedelta(hours=options["max_list_age"]),
    )


def as_result(outcome: Outcome, folder: Path) -> dict[str, t.Any]:
    """Return the result of the module."""
    return {
        "changed": outcome.changed,
        "fetched": outcome.fetched,
        "kept": outcome.kept,
        "pruned": outcome.pruned,
        "quarantined": [dataclasses.asdict(fault) for fault in outcome.quarantined],
        "failed_patches": [dataclasses.asdict(fault) for fault in outcome.failed],
        "list_age_hours": None if outcome.list_age is None else round(outcome.list_age / dt.timedelta(hours=1), 1),
        "index": str(folder / INDEX),
        "diff": {
            "before": outcome.before.lines(),
            "after": outcome.after.lines(),
            "before_header": str(folder),
            "after_header": str(folder),
        },
    }


def incomplete(outcome: Outcome, folder: Path) -> LivepatchError | None:
    """Return the error for archives that failed, or ``None`` if there are none."""
    faults = [*outcome.quarantined, *outcome.failed]
    if not faults:
        return None
    named = "; ".join(f"{fault.filename}: {fault.reason}" for fault in faults[:_NAMED_IN_FAILURE])
    more = f"; and {len(faults) - _NAMED_IN_FAILURE} more" if len(faults) > _NAMED_IN_FAILURE else ""
    return LivepatchError(
        "incomplete",
        f"some archives of the mirror in {folder} failed: {len(outcome.quarantined)} are in quarantine, and "
        f"{len(outcome.failed)} could not be copied. {named}{more}",
        "fix the reported problems, then run the task again: it processes the remaining archives",
    )


def run(options: dict[str, t.Any], *, check_mode: bool) -> dict[str, t.Any]:
    """Update the mirror and return the result of the module. Raises `LivepatchError`."""
    check_options(options)
    try:
        task = make_task(options)
        outcome = predict_mirror(task) if check_mode else run_mirror(task)
    except OSError as error:
        raise file_error(error, options["dest"], _CHECK_FILES) from error
    result = as_result(outcome, task.folder)
    failed = incomplete(outcome, task.folder)
    if failed is not None:
        raise failed.with_details(**result)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("server", "folder")],
        required_one_of=[("list", "folder")],
    )
    # These options are shown with -vvv. Their credentials are masked there, and in the result.
    urls = (module.params["list"], module.params["server"])
    module.no_log_values.update(filter(None, (user_and_password(url) for url in urls if url)))
    try:
        result = run(module.params, check_mode=module.check_mode)
    except LivepatchError as error:
        module.fail_json(**visible_values(error.as_result()))
    module.exit_json(**visible_values(result))


if __name__ == "__main__":
    main()
