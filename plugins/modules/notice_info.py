#!/usr/bin/python
# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Ordinary module: it runs on the host that has the notices, which needs Python."""

from __future__ import annotations

DOCUMENTATION = r"""
module: notice_info
short_description: Evaluate Livepatch Security Notices for a kernel and its live patch
version_added: 1.0.0
description:
  - Reads Livepatch Security Notices (LSN) in OSV format (Open Source Vulnerability format) from a folder, a file, an
    archive (tar or zip) or a URL. For a kernel, it returns the notices that apply, and whether each of them is fixed by
    the live patch, fixed by the kernel itself, or open.
  - Notices are identified by their content, not by their file names. If several documents have the same notice ID, the
    one that was modified last is used. Withdrawn notices are ignored.
author:
  - The kernelops.livepatch contributors (@kernelops)
requirements:
  - requests (for a URL)
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
      - Requires Python 3.10 or later on the host where it runs. Usually, this is the controller, with C(delegate_to).
options:
  source:
    description:
      - Path of a folder, a file or an archive, or a URL that starts with C(https://) or C(http://).
      - In folders and archives, only files whose names end in C(.json) are read. Files that are not Livepatch Security
        Notices are ignored, so the archive of all OSV data of Ubuntu can be used.
    type: str
    required: true
  kernel:
    description:
      - Kernel to evaluate the notices for, as a full name (V(4.4.0-168.197-generic)) or a release
        (V(4.4.0-168-generic)).
      - By default, all notices are returned, and they are not evaluated.
    type: str
  release:
    description:
      - Ubuntu release of the kernel, for example V(16.04). The same kernel can be part of two releases, with the fixes
        in different versions. By default, the release is taken from the version of the kernel if possible. Otherwise,
        the worst result of all releases is returned.
    type: str
  patch_version:
    description: Version of the applied live patch, for example V(113.1). By default, no live patch is assumed.
    type: str
  cache_dir:
    description:
      - Folder to cache downloads in. A URL is downloaded again if the server reports that the content has changed
        (ETag).
      - Only root and the user that runs the module may be able to write to it. Otherwise, the module fails with
        V(unsafe_folder).
    type: path
    default: ~/.cache/kernelops.livepatch
  timeout:
    description: Maximum time in seconds to wait for data from the server.
    type: int
    default: 30
seealso:
  - module: kernelops.livepatch.patch_info
  - module: kernelops.livepatch.fleet_report
"""

EXAMPLES = r"""
- name: Collect the Livepatch state of the host
  kernelops.livepatch.patch_info:
  register: livepatch

- name: Evaluate the notices for this host
  kernelops.livepatch.notice_info:
    source: /srv/notices
    kernel: "{{ livepatch.record.system.kernel.full }}"
    release: "{{ livepatch.record.system.release }}"
    patch_version: "{{ livepatch.record.patch.version or omit }}"
  delegate_to: localhost
  register: notices

- name: Fail if a notice is open
  ansible.builtin.assert:
    that: notices.missing == []
    fail_msg: "Open CVEs: {{ notices.open_cves | join(', ') }}"

- name: Read all notices from an archive on an internal server
  kernelops.livepatch.notice_info:
    source: https://mirror.example.com/osv/lsn.tar.xz
    ca_path: /etc/ssl/example-ca.pem
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
notices:
  description: Notices that apply to O(kernel), or all notices if it is not set, in the order of their publication.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: ID of the notice.
      type: str
      returned: always
      sample: LSN-0113-1
    published:
      description: Time of publication (RFC 3339, UTC).
      type: str
      returned: always
      sample: "2025-07-10T11:32:20Z"
    cves:
      description: CVEs of the notice.
      type: list
      elements: str
      returned: always
      sample: [CVE-2024-50047]
    version:
      description: Major version of the live patch that fixes these CVEs on O(kernel).
      type: str
      returned: when O(kernel) is set
      sample: "113"
    standing:
      description:
        - Status of the notice on O(kernel). V(patched) if the live patch fixes its CVEs, V(in_kernel) if the kernel
          itself contains the fixes, V(open) otherwise.
      type: str
      returned: when O(kernel) is set
      sample: patched
missing:
  description: IDs of the notices that are open on O(kernel).
  returned: success
  type: list
  elements: str
  sample: []
closed_cves:
  description: CVEs that the live patch fixes on O(kernel).
  returned: success
  type: list
  elements: str
  sample: [CVE-2024-50047]
open_cves:
  description: CVEs of the notices that are open on O(kernel).
  returned: success
  type: list
  elements: str
  sample: []
read:
  description: Number of notices in the source, for all kernels.
  returned: success
  type: int
  sample: 113
unreadable:
  description: Files, or entries of notices, that cannot be parsed. At most 100 are returned.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the file, relative to the source.
      type: str
      returned: always
      sample: osv/lsn/LSN-0113-1.json
    reason:
      description: Description of the problem.
      type: str
      returned: always
      sample: invalid JSON
  sample: []
fetched:
  description: Whether a URL was downloaded in this run. V(false) if the cache is up to date, and for paths.
  returned: success
  type: bool
  sample: false
error_id:
  description: Identifier of the error.
  returned: failure
  type: str
  sample: server
remedy:
  description: How to fix the problem.
  returned: failure
  type: str
  sample: Check the server, the proxy and the certificates, then run the task again.
"""

import dataclasses
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import file_error
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.source import as_path, is_url
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import (
    mask_credentials,
    user_and_password,
    visible_values,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._time import format_time
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_cache import cached_notices
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_files import read_notices
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import (
    Notice,
    NoticeError,
    UbuntuKernel,
    patched_cves,
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


def bad_source(message: str) -> LivepatchError:
    """Return the error for a source without usable notices."""
    remedy = "specify a folder, a file or an archive that contains Livepatch Security Notices in OSV format"
    return LivepatchError("bad_source", message, remedy)


def parse_kernel(name: str | None, release: str | None) -> UbuntuKernel | None:
    """Return the kernel that the options name. Raises `LivepatchError`."""
    try:
        return None if name is None else UbuntuKernel.parse(name, release)
    except ValueError as error:
        raise LivepatchError("bad_option", str(error), "correct the value of the option kernel") from error


def fetch(options: dict[str, t.Any]) -> tuple[Path, bool]:
    """Return the path of the notices, and True if they were downloaded. Raises `OSError` and `LivepatchError`."""
    if not is_url(options["source"]):
        return as_path(options["source"]), False
    downloader = Downloader(DownloadOptions(options["ca_path"], options["proxy"], options["timeout"]))
    return cached_notices(options["source"], Path(options["cache_dir"]), downloader)


def as_entry(notice: Notice) -> dict[str, t.Any]:
    """Return the part of a result entry that does not depend on a kernel."""
    return {"id": notice.id, "published": format_time(notice.published), "cves": list(notice.cves)}


def evaluate(notices: list[Notice], kernel: UbuntuKernel | None, patch_version: str | None) -> dict[str, t.Any]:
    """Return the notices that apply to a kernel with their status, or all notices if there is no kernel."""
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
        "closed_cves": patched_cves(notices, kernel, patch_version),
        "open_cves": sorted({cve for entry in missing for cve in entry["cves"]}),
    }


def collect(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the module. Raises `OSError` and `LivepatchError`."""
    kernel = parse_kernel(options["kernel"], options["release"])
    path, fetched = fetch(options)
    source = mask_credentials(options["source"]) if is_url(options["source"]) else options["source"]
    try:
        found = read_notices(path)
    except NoticeError as error:
        raise bad_source(f"cannot read {source}: {error}") from error
    result = {
        **evaluate(found.notices, kernel, options["patch_version"]),
        "read": len(found.notices),
        "unreadable": [dataclasses.asdict(one) for one in found.unreadable[:_MOST_UNREADABLE]],
        "fetched": fetched,
    }
    if not found.notices:
        raise bad_source(f"no Livepatch Security Notice in {source}").with_details(**result)
    return result


def run(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the module. Raises `LivepatchError`."""
    try:
        return collect(options)
    except OSError as error:
        remedy = "check that the source exists and is readable, and that cache_dir is writable"
        raise file_error(error, options["source"], remedy) from error


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    # This option is shown with -vvv. Its credentials are masked there, and in the result.
    module.no_log_values.update(filter(None, [user_and_password(str(module.params["source"]))]))
    try:
        result = run(module.params)
    except LivepatchError as error:
        module.fail_json(**visible_values(error.as_result()))
    module.exit_json(changed=False, **visible_values(result))


if __name__ == "__main__":
    main()
