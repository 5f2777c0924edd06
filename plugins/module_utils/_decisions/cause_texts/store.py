# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes of a store that cannot be used."""

from __future__ import annotations

from .cause import Cause

STORE_UNREACHABLE = Cause(
    "store_unreachable",
    "the store {store} cannot be reached",
    "check that PostgreSQL runs, and that it accepts the user from this controller: psql '{store}' -c 'SELECT 1'",
)
STORE_REFUSED = Cause(
    "store_refused",
    "the store {store} refused a command",
    "give the role its rights: docs/guide/store.md has the commands",
)
STORE_NOT_PREPARED = Cause(
    "store_not_prepared",
    "the store {store} has schema {found}, and this version of the collection needs {known}",
    "run as a role that may create tables: ansible-playbook kernelops.livepatch.store -e livepatch_store={store}",
)
STORE_NEWER = Cause(
    "store_newer",
    "the store {store} was written by a later version of this collection: it has schema {found}, and this version"
    " knows schemas up to {known}",
    "upgrade kernelops.livepatch on this controller",
)
STORE_SPOOL_FULL = Cause(
    "record_not_stored",
    "the record of host {host} cannot be written to the spool {path}",
    "give the user who runs Ansible write access to that folder, and room on its disk, or name another folder in the"
    " environment variable LIVEPATCH_SPOOL_DIR",
)
