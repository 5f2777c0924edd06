# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The setup of the client from the sections of a host, whatever it sends."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.client_files import (
    MACHINE_TOKEN,
    ClientSetup,
    ProStatus,
    channel_name,
    fingerprint_of,
    read_client_setup,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections

SALT = "0123456789abcdef" * 2
TOKEN = "made-up-token-of-a-test"
PROBE = Path(__file__).resolve().parents[3] / "plugins" / "plugin_utils" / "shell" / "probe.sh"
HEADER = "Name                 Version   Rev    Tracking       Publisher   Notes\n"


def read(**outputs: str | Section) -> ClientSetup:
    sections = [
        body if isinstance(body, Section) else Section(name, "ok", body, exit_code=0) for name, body in outputs.items()
    ]
    return read_client_setup(Sections(sections, complete=True))


def test_without_sections_nothing_is_known() -> None:
    assert read() == ClientSetup()


@pytest.mark.parametrize(("access", "registered"), [("ok", True), ("absent", False), ("denied", None)])
def test_the_machine_token_shows_an_enabled_client(access: str, registered: bool | None) -> None:
    assert read(client_files=f"{access} {MACHINE_TOKEN}\n").registered is registered


def test_a_disabled_snap_is_recognised() -> None:
    assert read(client_snap_disabled="disabled\n").snap_disabled is True


@pytest.mark.parametrize(
    ("section", "mode"),
    [
        (Section("client_mode", "ok", "no-apply\n", exit_code=0), "no-apply"),
        (Section("client_mode", "ok", "\n", exit_code=0), "normal"),
        (Section("client_mode", "absent"), "normal"),
        (Section("client_mode", "denied"), None),
        (Section("client_mode", "lost", "no"), None),
    ],
)
def test_the_mode_is_read_from_its_file(section: Section, mode: str | None) -> None:
    assert read(client_mode=section).mode == mode


@pytest.mark.parametrize("shell", ["dash", "bash", "mksh", "busybox sh"])
@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("ro quiet canonical_livepatch_mode=stop splash", "canonical_livepatch_mode=stop\n"),
        (
            "canonical_livepatch_mode=stop * canonical_livepatch_mode=normal",
            "canonical_livepatch_mode=stop\ncanonical_livepatch_mode=normal\n",
        ),
        ("password=secret x_canonical_livepatch_mode=stop -- canonical_livepatch_mode=stop", ""),
    ],
)
def test_only_the_mode_is_printed_from_the_command_line(shell: str, line: str, printed: str, tmp_path: Path) -> None:
    if shutil.which(shell.partition(" ")[0]) is None:
        pytest.skip(f"{shell} is not installed on this machine")
    (tmp_path / "cmdline").write_text(f"{line}\n", encoding="ascii")
    program = f". '{PROBE}'; lp_kernel_parameters='{tmp_path}/cmdline'; command_line; echo *"
    output = subprocess.run(
        [*shell.split(), "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert output == f"{printed}cmdline\n", "the patterns of the shell must work afterwards"


@pytest.mark.parametrize(
    ("parameters", "mode"),
    [
        ("canonical_livepatch_mode=stop\n", "stop"),
        ("canonical_livepatch_mode=stop\ncanonical_livepatch_mode=no-refresh\n", "no-refresh"),
        ('canonical_livepatch_mode="no-apply"\n', "no-apply"),
        ("canonical_livepatch_mode=\n", None),
        ("canonical_livepatch_mode=sometimes\n", None),
        ("", None),
    ],
)
def test_the_mode_of_the_command_line_is_read(parameters: str, mode: str | None) -> None:
    setup = read(
        client_mode=Section("client_mode", "ok", "no-apply\n", exit_code=0),
        command_line=Section("command_line", "ok", parameters, exit_code=0),
    )
    assert (setup.kernel_mode, setup.mode, setup.effective_mode) == (mode, "no-apply", mode or "no-apply")


def test_a_fingerprint_matches_only_its_secret() -> None:
    fingerprint = fingerprint_of(TOKEN, SALT)
    (name, found), *rest = read(client_fingerprints=f"token {fingerprint}\n").fingerprints.items()
    assert (name, rest) == ("token", [])
    assert found.matches(TOKEN)
    assert not found.matches(f"{TOKEN}x")
    assert TOKEN not in str(fingerprint)
    assert fingerprint_of(TOKEN, "f" * 32) != fingerprint


@pytest.mark.parametrize("line", ["token", "token x y", f"token {SALT} {'A' * 64}", f"to ken {SALT} {'a' * 64}", "\0"])
def test_a_damaged_fingerprint_is_ignored(line: str) -> None:
    assert read(client_fingerprints=line).fingerprints == {}


def test_unknown_tools_are_ignored() -> None:
    assert read(client_tools="curl\nnc\nrm\n").tools == ("curl", "nc")


@pytest.mark.parametrize(
    ("row", "channel"),
    [
        ("canonical-livepatch  10.8.3  95  latest/stable  canonical*  -", "latest/stable"),
        ("canonical-livepatch  10.8.3  95  stable  canonical*  -", "latest/stable"),
        ("canonical-livepatch  10.8.3  95  10.x/candidate  canonical*  -", "10.x/candidate"),
        ("canonical-livepatch  10.8.3  95  latest/stable/…  canonical*  -", None),
        ("canonical-livepatch  10.8.3  95  -  canonical*  -", None),
        ("core  16-2.54  12725  latest/stable  canonical*  core", None),
        ("canonical-livepatch", None),
    ],
)
def test_the_tracked_channel_is_read(row: str, channel: str | None) -> None:
    assert read(client_snap=f"{HEADER}{row}\n").channel == channel


def test_old_snapd_reports_no_channel() -> None:
    table = "Name                 Version  Rev  Developer  Notes\ncanonical-livepatch  7.23     21   canonical  -\n"
    assert read(client_snap=table).channel is None


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("stable", "latest/stable"),
        ("edge", "latest/edge"),
        ("latest", "latest/stable"),
        ("10.x", "10.x/stable"),
        ("latest/beta", "latest/beta"),
        ("stable/hotfix", "latest/stable/hotfix"),
    ],
)
def test_a_channel_gets_track_and_risk(word: str, name: str) -> None:
    assert channel_name(word) == name


PRO = {"attached": True, "services": [{"name": "livepatch", "status": "enabled"}]}


@pytest.mark.parametrize(
    ("section", "status"),
    [
        (Section("client_pro", "absent"), ProStatus(installed=False)),
        (Section("client_pro", "ok", json.dumps(PRO), exit_code=0), ProStatus(True, True)),
        (Section("client_pro", "ok", f"WARNING: x\n{json.dumps(PRO)}", exit_code=0), ProStatus(True, True)),
        (Section("client_pro", "ok", '{"attached": false, "services": []}'), ProStatus(True, False)),
        (Section("client_pro", "ok", "no such command"), ProStatus(True)),
        (Section("client_pro", "ok", "[" * 100_000 + "{"), ProStatus(True)),
        (Section("client_pro", "ok", '{"result": "failure"}'), ProStatus(True)),
        (Section("client_pro", "ok", '{"attached": "maybe"}'), ProStatus(True, False)),
        (Section("client_pro", "timeout", ""), ProStatus(True)),
    ],
)  # fmt: skip
def test_the_status_of_ubuntu_pro_is_read(section: Section, status: ProStatus) -> None:
    assert read(client_pro=section).pro == status
