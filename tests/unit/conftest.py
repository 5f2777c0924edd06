# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What holds for all unit tests."""

from __future__ import annotations

from hypothesis import settings

# How long one example takes is the machine's business, which may have others to serve.
settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")
