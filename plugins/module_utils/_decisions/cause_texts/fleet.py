# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Causes in the records of a fleet: a host without a usable record, or a seat, or a store without records."""

from __future__ import annotations

from .cause import Cause

_FREE_A_SEAT = "disable a host that does not need Livepatch, or get more seats"

NO_ANSWER = Cause("no_answer", "the host gave no answer", "check that the host runs and is reachable")
NO_RECORD = Cause("no_record", "this host has no record", "run the check playbook on the host")
RECORD_FROM_FUTURE = Cause(
    "record_from_future",
    "the record of the host is dated in the future",
    "correct the clock of the controller that stored it, then run the check playbook on the host, or remove {path} if"
    " the host no longer exists",
)
RECORD_UNUSABLE = Cause(
    "record_unusable",
    "the record of the host cannot be used",
    "run the check playbook on the host, or remove {path} if the host no longer exists",
)
SEATS_USED_UP = Cause("seats_used_up", "{seats_taken}", _FREE_A_SEAT)
SEATS_EXCEEDED = Cause("seats_exceeded", "the host is or may be enabled, but {seats_taken}", _FREE_A_SEAT)
CLONED = Cause(
    "cloned",
    "{hosts} have the same machine identity: the server counts them as one machine, and each can take over the"
    " registration of the others",
    "give each host its own identity (empty /etc/machine-id, then run systemd-machine-id-setup), and check it again; if"
    " one is the old name of another, remove its record",
)
INELIGIBLE = Cause("ineligible", "{reasons}", "{remedy}")
ELIGIBILITY_UNKNOWN = Cause("eligibility_unknown", "the host may be ineligible: {reasons}", "{remedy}")
UNREACHABLE = Cause("unreachable", "the host could not be checked: {reason}", "{remedy}")
GRANTED_WITHOUT_RECORD = Cause(
    "no_record", "the host was granted a seat, but has no record since then", "check the host again"
)
STORE_UNREACHABLE = Cause(
    "database_unreachable",
    "the store {store} cannot be reached",
    "check that PostgreSQL runs, and that it accepts the user from this controller: psql '{store}' -c 'SELECT 1'",
)
STORE_REFUSED = Cause(
    "database_refused",
    "the store {store} refused a command",
    "give the role its rights: docs/guide/store.md has the commands",
)
STORE_NOT_PREPARED = Cause(
    "database_not_prepared",
    "the store {store} has schema {found}, and this version of the collection needs {known}",
    "run as a role that may create tables: ansible-playbook kernelops.livepatch.store -e livepatch_store={store}",
)
STORE_NEWER = Cause(
    "database_newer",
    "the schema {found} of the store {store} is of a later release of this collection. This one knows {known}",
    "install that release on this controller too: ansible-galaxy collection install --upgrade kernelops.livepatch",
)
STORE_SPOOL_FULL = Cause(
    "record_not_stored",
    "the record of host {host} cannot be written to the spool {path}",
    "give the user who runs Ansible write access to that folder, and room on its disk, or name another folder in the"
    " environment variable LIVEPATCH_SPOOL_DIR",
)
