# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Hosts of the lab: their descriptions, their files, and the sandboxes in which commands run."""

from __future__ import annotations
