# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Live patches of the lab: signed modules, the archives that carry them, and the files that hosts keep of them."""

from __future__ import annotations
