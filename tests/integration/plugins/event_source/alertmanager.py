# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Stands in for the event source ansible.eda.alertmanager: the same events, of alerts that lie in a file.

As the original does, it makes an event of each alert, and takes the host from where `data_host_path` leads, less what
follows a colon.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import typing as t
from pathlib import Path


async def main(queue: asyncio.Queue[t.Any], args: dict[str, t.Any]) -> None:
    """Called by ansible-rulebook; when this returns, the rulebook ends."""
    received = json.loads(Path(os.environ["ALERTS"]).read_text(encoding="utf-8"))
    assert args["skip_original_data"] is True, "without it, the message as a whole would be an event, too"
    for alert in received["alerts"]:
        host = functools.reduce(lambda place, key: place[key], args["data_host_path"].split("."), alert)
        headers = {"Authorization": alert["authorization"]} if "authorization" in alert else {}
        meta = {"endpoint": "alerts", "headers": headers, "hosts": [host.split(":")[0]]}
        await queue.put({"alert": alert, "meta": meta})
