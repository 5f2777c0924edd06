# Copyright: (c) The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Options of the modules that fetch from a server by themselves."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  proxy:
    description:
      - Address of an HTTP proxy, which may hold a name and a password. They are never shown.
      - By default, the variables C(https_proxy), C(http_proxy) and C(no_proxy) say.
    type: str
  ca_path:
    description:
      - A file with certificates of authorities in PEM, or a folder as openssl has them, to trust instead of the
        system's.
    type: path
"""
