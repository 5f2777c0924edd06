# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Settings of all unit tests."""

from __future__ import annotations

from hypothesis import settings

from tests.temporary_files import keep_in_memory

keep_in_memory()

# There is no deadline for an example, because the machine may be busy.
settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")
# For further versions of Python: see noxfile.py.
settings.register_profile("few", deadline=None, max_examples=10)
