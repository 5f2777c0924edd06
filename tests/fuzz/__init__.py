# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fuzzing of everything that reads untrusted input. See `__main__.py`."""
