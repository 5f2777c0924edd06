# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Archives for a mirror, and two commands that transfer them: the core of `patch_mirror`, and curl with sha256sum.

The command ``python tests/bench/mirror.py FOLDER`` runs the first one in its own process, which can be measured.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror import source, sync  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import Selection  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.plan import Retention  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server import download  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust  # noqa: E402  (found by the path above)
from tests.lab.fleet import Fleet  # noqa: E402  (found by the path above)
from tests.lab.live_patches import signing  # noqa: E402  (found by the path above)

SIZE = 1_000_000


@dataclasses.dataclass(frozen=True)
class Job:
    """Archives on the server of a lab, and a folder with everything that a transfer needs."""

    folder: Path

    @property
    def ours(self) -> list[str]:
        """Return the command that transfers them into a mirror."""
        return [sys.executable, str(Path(__file__)), str(self.folder)]

    def plain(self, *, test: str = "") -> list[str]:
        """Return the command that transfers them into a folder and compares their SHA-256.

        With `test`, that command also reads each archive.
        """
        steps = ["cd plain", "curl -sS --fail -K ../curl.conf", "sha256sum --check --quiet ../sums"]
        return ["sh", "-c", " && ".join([f"cd '{self.folder}'", *steps, *([f"{test} *.tar.*"] if test else [])])]

    def clear(self) -> None:
        """Remove the transferred archives."""
        for name in ("mirror", "plain"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "plain").mkdir(parents=True)


def publish(fleet: Fleet, folder: Path, count: int, packing: str) -> Job:
    """Publish `count` signed archives of 1 MB on the server, each for a different kernel."""
    vendor = signing.make_signer("Vendor", bits=4096)
    fleet.state.remove_patches()
    hashes = {}
    for number in range(count):
        kernel = f"4.4.0-{100 + number}.{200 + number}-generic"
        name, content = signing.patch_for(kernel, "65.1", vendor, size=SIZE, packing=packing)
        hashes[name] = fleet.add_patch(name, content)
    job = Job(folder)
    folder.mkdir(parents=True, exist_ok=True)
    job.clear()
    server = fleet.server.replace("livepatch.lab.test", "localhost")
    urls = "".join(f'url = "{server}/v1/patches/{name}"\n' for name in hashes)
    (folder / "curl.conf").write_text(f'remote-name-all\ncacert = "{fleet.certificate}"\n{urls}', encoding="utf-8")
    (folder / "sums").write_text("".join(f"{value}  {name}\n" for name, value in hashes.items()), encoding="utf-8")
    listed = [{"filename": name, "hash": value} for name, value in hashes.items()]
    (folder / "list.json").write_text(json.dumps(listed), encoding="utf-8")
    (folder / "vendor.pem").write_bytes(vendor.pem)
    (folder / "job.json").write_text(json.dumps({"server": server, "ca": str(fleet.certificate)}), encoding="utf-8")
    return job


def make_mirror(folder: Path) -> int:
    """Create a mirror of the published archives; return the number of failed ones."""
    settings = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    client = download.Downloader(download.DownloadOptions(ca_path=settings["ca"]))
    outcome = sync.run_mirror(
        sync.MirrorTask(
            folder=folder / "mirror",
            quarantine=folder / "mirror" / ".quarantine",
            source=source.make_source(settings["server"], str(folder / "list.json"), None, client),
            anchors=trust.read_anchors([str(folder / "vendor.pem")], []),
            selection=Selection(),
            retention=Retention(),
            allow_downgrade=False,
            parallel=4,
            now=dt.datetime.now(dt.timezone.utc),
        )
    )
    return len(outcome.quarantined) + len(outcome.failed)


if __name__ == "__main__":
    raise SystemExit(make_mirror(Path(sys.argv[1])))
