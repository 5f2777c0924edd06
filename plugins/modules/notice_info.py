#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ordinary module: it runs where the notices are, and needs Python there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: notice_info
short_description: Tell which vulnerabilities a version of a live patch closes, and which notices a host lacks
version_added: 1.0.0
description:
  - Reads Livepatch Security Notices (LSN) in the form of the Open Source Vulnerability format, from a folder, a file,
    an archive (tar or zip), or an address.
  - A notice is known by its data, never by the name of its file. Of several with one number, the one that was modified
    last counts, and one that was withdrawn does not.
  - For a kernel, it tells of each notice that is for it whether a live patch of a version closes it, whether the kernel
    itself has the fixes, or whether it is open.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - requests (for an address)
extends_documentation_fragment:
  - kernelops.livepatch.attributes
  - kernelops.livepatch.attributes.action_group
  - kernelops.livepatch.attributes.info_module
  - kernelops.livepatch.web
attributes:
  platform:
    support: full
    platforms: posix
    details:
      - Needs Python 3.10 or newer where it runs. Delegate it to the controller.
options:
  source:
    description:
      - Path of a folder, a file or an archive, or an address that begins with C(https://) or C(http://).
      - In folders and archives, files that end with C(.json) are looked at, and those that are no notices are passed
        over, so the archive of everything that OSV has will do.
    type: str
    required: true
  kernel:
    description:
      - The kernel to tell about, by its full name (V(4.4.0-168.197-generic)) or its release (V(4.4.0-168-generic)).
      - Without it, all notices are returned, and nothing is said of how they stand.
    type: str
  release:
    description:
      - The release of Ubuntu that the kernel is of, as V(16.04). One kernel may be in two releases, with the fixes in
        different versions. Without this, the worst of them counts, unless the version of the kernel tells.
    type: str
  patch_version:
    description: The version of the live patch that runs, as V(113.1). Without it, none does.
    type: str
  cache_dir:
    description:
      - Folder in which what came from an address is kept. It is fetched again when the server says that it has changed
        (ETag).
    type: path
    default: ~/.cache/kernelops.livepatch
  timeout:
    description: Seconds after which a server that sends nothing is taken for silent.
    type: int
    default: 30
seealso:
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: What does this host lack, by what its record says?
  kernelops.livepatch.notice_info:
    source: /srv/notices
    kernel: "{{ looked.record.system.kernel.full }}"
    release: "{{ looked.record.system.release }}"
    patch_version: "{{ looked.record.patch.version or omit }}"
  delegate_to: localhost
  register: notices

- name: Stop where a notice is open
  ansible.builtin.assert:
    that: notices.missing == []
    fail_msg: "Open here: {{ notices.open_cves | join(', ') }}"

- name: All notices, from an archive on a server inside
  kernelops.livepatch.notice_info:
    source: https://mirror.example.com/osv/lsn.tar.xz
    ca_path: /etc/ssl/example-ca.pem
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
notices:
  description: The notices that are for the kernel, or all of them, in the order of their publication.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Number of the notice.
      type: str
      returned: always
      sample: LSN-0113-1
    published:
      description: When it was published, RFC 3339, UTC.
      type: str
      returned: always
      sample: "2025-07-10T11:32:20Z"
    cves:
      description: The vulnerabilities that it is about.
      type: list
      elements: str
      returned: always
      sample: [CVE-2024-50047]
    version:
      description: Major number of the live patch that closes it on this kernel.
      type: str
      returned: with O(kernel)
      sample: "113"
    standing:
      description:
        - V(patched), the live patch closes it. V(in_kernel), the kernel itself has the fixes. V(open), neither.
      type: str
      returned: with O(kernel)
      sample: patched
missing:
  description: Numbers of the notices that are open on this kernel.
  returned: success
  type: list
  elements: str
  sample: []
closed_cves:
  description: Vulnerabilities that the live patch closes on this kernel.
  returned: success
  type: list
  elements: str
  sample: [CVE-2024-50047]
open_cves:
  description: Vulnerabilities of the notices that are open on this kernel.
  returned: success
  type: list
  elements: str
  sample: []
read:
  description: How many notices the source has, for whichever kernel.
  returned: success
  type: int
  sample: 113
unreadable:
  description: Files that should be notices and cannot be read as such, or parts of notices. At most 100 are named.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the file, below the source.
      type: str
      returned: always
      sample: osv/lsn/LSN-0113-1.json
    reason:
      description: What is wrong with it.
      type: str
      returned: always
      sample: this is no JSON
  sample: []
fetched:
  description: Whether an address was fetched anew. False when what was kept is what it has, and for paths.
  returned: success
  type: bool
  sample: false
error_id:
  description: What kind of failure it is.
  returned: failure
  type: str
  sample: server
remedy:
  description: What to do.
  returned: failure
  type: str
  sample: Look at the server, the proxy and the certificates on the way to it.
"""

import dataclasses
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.source import as_path, is_address
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import Web, WebOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.kernel_support import ServerError
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_cache import cached_notices
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import read_notices
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import (
    KernelName,
    Notice,
    NoticeError,
    closed_cves,
)

_MOST_UNREADABLE = 100

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "source": {"type": "str", "required": True},
    "kernel": {"type": "str"},
    "release": {"type": "str"},
    "patch_version": {"type": "str"},
    "cache_dir": {"type": "path", "default": "~/.cache/kernelops.livepatch"},
    "proxy": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 30},
}

REMEDIES = {
    "server": "Look at the server, the proxy and the certificates on the way to it, then run this again.",
    "files": "See that the source is there and can be read, and that the cache can be written.",
    "bad_source": "Give a folder, a file or an archive that holds notices in the form of OSV.",
    "bad_option": "Correct the option.",
}


def bring(options: dict[str, t.Any]) -> tuple[Path, bool]:
    """A path with the notices, and whether they were fetched. Raises `OSError` and `ServerError`."""
    if not is_address(options["source"]):
        return as_path(options["source"]), False
    web = Web(WebOptions(options["ca_path"], options["proxy"], options["timeout"]))
    return cached_notices(options["source"], Path(options["cache_dir"]), web)


def as_entry(notice: Notice) -> dict[str, t.Any]:
    """What the module returns of any notice."""
    published = notice.published.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": notice.id, "published": published, "cves": list(notice.cves)}


def tell(notices: list[Notice], kernel: KernelName | None, patch_version: str | None) -> dict[str, t.Any]:
    """What the module returns of notices, and of how they stand on a kernel."""
    if kernel is None:
        return {"notices": list(map(as_entry, notices)), "missing": [], "closed_cves": [], "open_cves": []}
    entries = [
        {
            **as_entry(notice),
            "version": max((module.version for module in modules), key=int),
            "standing": notice.status_for(kernel, patch_version),
        }
        for notice in notices
        if (modules := notice.modules_for(kernel))
    ]
    missing = [entry for entry in entries if entry["standing"] == "open"]
    return {
        "notices": entries,
        "missing": [entry["id"] for entry in missing],
        "closed_cves": closed_cves(notices, kernel, patch_version),
        "open_cves": sorted({cve for entry in missing for cve in entry["cves"]}),
    }


def look(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """Everything that the module returns. Raises `OSError`, `ServerError`, `NoticeError` and `ValueError`."""
    kernel = None if options["kernel"] is None else KernelName(options["kernel"], options["release"])
    path, fetched = bring(options)
    try:
        found = read_notices(path)
    except NoticeError as error:
        raise NoticeError(f"{options['source']} cannot be read: {error}") from error
    return {
        **tell(found.notices, kernel, options["patch_version"]),
        "read": len(found.notices),
        "unreadable": [dataclasses.asdict(one) for one in found.unreadable[:_MOST_UNREADABLE]],
        "fetched": fetched,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = look(module.params)
    except ServerError as error:
        module.fail_json(msg=str(error), error_id="server", remedy=REMEDIES["server"])
    except OSError as error:
        said = f"{error.filename or module.params['source']} cannot be used: {error.strerror or error}"
        module.fail_json(msg=said, error_id="files", remedy=REMEDIES["files"])
    except NoticeError as error:
        module.fail_json(msg=str(error), error_id="bad_source", remedy=REMEDIES["bad_source"])
    except ValueError as error:
        module.fail_json(msg=str(error), error_id="bad_option", remedy=REMEDIES["bad_option"])
    if not result["read"]:
        module.fail_json(
            msg=f"{module.params['source']} holds no notice of Livepatch",
            error_id="bad_source",
            remedy=REMEDIES["bad_source"],
            **result,
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
