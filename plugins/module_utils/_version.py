# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The version of this collection, as stored in records. A test compares it with galaxy.yml."""

from __future__ import annotations

COLLECTION_VERSION = "2.0.0"
