# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Results of the modules that run where the files are: names of files and texts in them are those of other users."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._server import download
from ansible_collections.kernelops.livepatch.plugins.modules import exposure_info
from tests.samples import proofs
from tests.samples.notices import notice

HOSTILE = "\x1b[2J\u202e\x9b"
MODULES = Path(exposure_info.__file__).parent


class EndedError(Exception):
    """The module has printed its result."""


class FakeModule:
    """The part of `AnsibleModule` that a module uses."""

    def __init__(self, options: dict[str, t.Any]) -> None:
        self.params = options
        self.check_mode = False
        self.no_log_values: set[str] = set()
        self.result: dict[str, t.Any] = {}

    def warn(self, text: str) -> None:
        assert HOSTILE not in text

    def exit_json(self, **result: t.Any) -> None:
        self.result = result
        raise EndedError

    fail_json = exit_json


def evaluated(monkeypatch: pytest.MonkeyPatch, folder: Path, **options: t.Any) -> FakeModule:
    """Run `exposure_info` with hostile names of files."""
    for name in ("records", "data"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{HOSTILE}.json").write_text("{")
    (folder / "records" / "web1.json").write_text(json.dumps(proofs.a_record("web1")))
    (folder / "data" / "lsn.json").write_text(json.dumps(notice()))
    given = {
        **{name: spec.get("default") for name, spec in exposure_info.ARGUMENT_SPEC.items()},
        "store": [str(folder / "records")],
        "vulnerability_data": [str(folder / "data")],
        "cache_dir": str(folder / "cache"),
        **options,
    }
    module = FakeModule(given)
    monkeypatch.setattr(exposure_info, "AnsibleModule", lambda **_options: module)
    with pytest.raises(EndedError):
        exposure_info.main()
    return module


def test_results_have_no_invisible_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waivers.yml").write_text('- "\\e\\u202e": x\n  reason: y\n  owner: z\n  expires: 2031-01-01\n')
    broken = [str(tmp_path / "data" / f"{HOSTILE}.json")]
    for options in ({}, {"vulnerability_data": broken}, {"waivers": str(tmp_path / "waivers.yml")}):
        result = evaluated(monkeypatch, tmp_path, **options).result
        text = repr(json.dumps(result, ensure_ascii=False))
        # json escapes an escape character as \\u001b, and `visible` as \\x1b.
        assert "u001b" not in text
        assert not {"\u202e", "\x9b"} & set(json.dumps(result, ensure_ascii=False))
    assert "\\u202e" in str(result)


def test_passwords_of_data_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_FIRST_PAUSE_SECONDS", 0)
    url = "https://anna:s3cret@127.0.0.1:9/data.json"
    module = evaluated(monkeypatch, tmp_path, vulnerability_data=[url], timeout=1)
    assert "s3cret" not in str(module.result)
    assert "anna:s3cret" in module.no_log_values


def test_every_module_escapes_its_result() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in MODULES.glob("*.py")}
    ends = {name: [line for line in text.splitlines() if "_json(" in line] for name, text in texts.items()}
    assert sum(map(bool, ends.values())) >= 5
    assert [line for lines in ends.values() for line in lines if "visible_values(" not in line] == []
