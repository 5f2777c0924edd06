# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The Canonical Livepatch client of lab hosts: its output, its configuration and its daemon."""

from __future__ import annotations
