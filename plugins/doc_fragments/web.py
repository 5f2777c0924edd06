# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Options of the modules that download from a server."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  proxy:
    description:
      - URL of an HTTP proxy. It can contain a user name and a password, which are not shown in results.
      - By default, the environment variables E(https_proxy), E(http_proxy) and E(no_proxy) are used.
    type: str
  ca_path:
    description:
      - File with certificates of certificate authorities in PEM format, or folder with such certificates that was
        prepared with C(openssl rehash). They are trusted instead of the authorities that are trusted by default.
    type: path
notes:
  - At most five redirects are followed, never from HTTPS to HTTP. A redirect to another server gets no credentials.
  - A user name and a password for the server can be part of a URL. C(netrc) files are not used.
"""
