# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fixtures of the tests of components: the hosts of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# Fixtures are found by their names in this module.
from tests.integration.conftest import ansible, fleet, lab_processes
from tests.lab.runtimes.machine import Machine, running_machine
from tests.lab.vm.debian_packages import UnavailableError

__all__ = ["ansible", "fleet", "lab_processes"]

# Removes all containers, and the files of the collection.
_CLEAN = """\
systemctl disable --now --quiet web.service front.service container-plain.service pod-group.service
docker ps -aq | xargs -r docker rm -f
podman pod rm -f -a
podman rm -f -a -t 0
lxc delete -f one
systemctl stop of-bob.service
for user in alice bob; do
    cd "/home/$user"
    folder=/run/user/$(id -u "$user")
    [ -d "$folder" ] || folder=
    runuser -u "$user" -- env HOME="$PWD" ${folder:+XDG_RUNTIME_DIR=$folder} podman rm -f -a -t 0
done
for space in default k8s.io; do
    ctr -n "$space" task ls -q | xargs -r -n 1 ctr -n "$space" task rm -f
    ctr -n "$space" container ls -q | xargs -r ctr -n "$space" container rm
done
rm -rf /var/lib/kernelops-livepatch
"""


@pytest.fixture(scope="session")
def running_runtimes() -> Iterator[tuple[Machine, Path]]:
    """The machine with container runtimes, and its inventory."""
    try:
        with running_machine() as started:
            yield started
    except UnavailableError as reason:
        pytest.skip(f"no machine with container runtimes: {reason}")


@pytest.fixture
def machine(running_runtimes: tuple[Machine, Path]) -> Machine:
    """The machine without containers."""
    running_runtimes[0].run(_CLEAN)
    return running_runtimes[0]
