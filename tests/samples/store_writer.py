# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A process that stores records, one after the other, as the workers of Ansible do.

python -m tests.samples.store_writer ADDRESS LOG NAME FIRST LAST

The log has the number of each record whose task has succeeded. A process that is started again continues after them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import store_place
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.store import open_store
from tests.samples.records import make_record


def stored(log: Path) -> list[int]:
    """Return the numbers in a log. A process that was killed can have left a line without its end."""
    return [int(line) for line in log.read_text("ascii").split("\n")[:-1]] if log.exists() else []


def main(address: str, log: str, name: str, first: str, last: str) -> None:
    store = open_store(store_place(address))
    begin = max([int(first) - 1, *stored(Path(log))]) + 1
    with open(log, "ab", buffering=0) as file:
        file.truncate(len("".join(f"{number}\n" for number in stored(Path(log)))))
        for number in range(begin, int(last)):
            store.put(make_record(f"{name}-{number}"))
            os.write(file.fileno(), f"{number}\n".encode("ascii"))


if __name__ == "__main__":
    main(*sys.argv[1:])
