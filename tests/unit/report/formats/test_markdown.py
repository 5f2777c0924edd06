# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The report as Markdown: texts of hosts cannot change its structure."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import FailedAttempt, Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.markdown import code, prose, render
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report
from ansible_collections.kernelops.livepatch.plugins.module_utils._text import visible
from tests.samples.changes import a_changed_report
from tests.samples.exposures import an_exposed_report
from tests.samples.records import make_record
from tests.samples.reports import GENERATED_AT, HOSTILE, a_report, a_waived_report, hostile_record, recorded

ANY_TEXT = st.text(st.characters(exclude_categories=()), min_size=1)
PUNCTUATION = st.text(st.sampled_from("\\`*_[]()<>|&~!#@:/.w ax\n"), min_size=1)


def _text(report: Report) -> str:
    return "".join(render(report))


def test_urgent_hosts_come_first() -> None:
    page = _text(
        a_report(
            recorded(make_record("web1")),
            recorded(make_record("web2", "disabled")),
            recorded(make_record("web3", "stale")),
            FailedAttempt("web3", "2026-01-11T00:00:00Z", [{"id": "x", "message": "refused", "remedy": None}]),
            Problem("invalid_json", "/r/a_b.json", "cut off"),
        )
    )
    heading = "| Host | State | Kernel | Patch | Client | Upgrade by | Why | Next step |\n" + "|" + " --- |" * 8 + "\n"
    kernel = "`4.4.0-168.197-generic` | `65.1` | `10.8.3` | `2026-06-01`"
    assert page == (
        "# Livepatch report\n"
        "\n"
        f"Made {GENERATED_AT}.\n"
        "\n"
        "0 of 3 eligible hosts are protected (0%). 1 more was protected in a record that is older than 24 hours.  \n"
        "3 hosts: 1 protected, 1 no\\_answer, 1 disabled.  \n"
        "Policy: launch (2 hosts).  \n"
        "Records of 2 of 3 hosts, collected 2026-01-10T06:00:00Z.  \n"
        "\n"
        "## To do\n"
        "\n"
        "- 1 host (no\\_answer): refused\n"
        "  Then:\n"
        "\n"
        "  ```console\n"
        "  $ ansible-playbook kernelops.livepatch.check --limit web3\n"
        "  ```\n"
        "- 1 host (disabled): Enable the client.\n"
        "  Then:\n"
        "\n"
        "  ```console\n"
        "  $ ansible-playbook kernelops.livepatch.check --limit web2\n"
        "  ```\n"
        "\n"
        "## Not protected\n"
        "\n"
        f"{heading}"
        "| `web3` | no_answer | - | - | - | - | last seen 2026-01-10T06:00:00Z, stale; refused | - |\n"
        f"| `web2` | disabled | {kernel} | The client is not enabled. | Enable the client. |\n"
        "\n"
        "## Protected\n"
        "\n"
        "<details><summary>1 protected</summary>\n"
        "\n"
        f"{heading}"
        f"| `web1` | protected | {kernel} | Patch 65.1 is applied and confirmed. | - |\n"
        "\n"
        "</details>\n"
        "\n"
        "## Problems\n"
        "\n"
        "- `/r/a_b.json` cut off\n"
    )


def test_exposed_containers_have_a_column() -> None:
    counts = {"docker": 2, "lxd": 0, "podman": None, "kubernetes": 1, "containerd": None}
    unknown = dict.fromkeys(counts)
    page = _text(
        a_report(
            recorded(make_record("web1", "disabled", system__containers=counts)),
            recorded(make_record("web2", system__containers=counts)),
            recorded(make_record("web3", "disabled", system__containers=dict.fromkeys(counts, 0))),
            recorded(make_record("web4", "disabled", system__containers=unknown)),
        )
    )
    assert "| Host | State | Containers | Kernel |" in page
    assert "| `web1` | disabled | 3 containers | " in page
    assert "| `web2` | protected | `" in page
    assert "| `web3` | disabled | 0 containers | " in page
    assert "| `web4` | disabled | unknown | " in page
    assert "3 containers on 1 host run on a kernel that is not protected." in page


def test_empty_sections_are_omitted() -> None:
    page = _text(a_report(recorded(make_record())))
    assert "## Not protected" not in page
    assert "## Problems" not in page
    assert "## Protected" not in _text(a_report(recorded(make_record(state="failed"))))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain words, 4.4.0-168 (yes)", "plain words, 4.4.0-168 (yes)"),
        ("a|b", "a&#124;b"),
        ("\\|", "\\\\&#124;"),
        ("<b>&lt;", "&lt;b&gt;&amp;lt;"),
        ("[a](b) ![c](d)", "\\[a\\](b) \\!\\[c\\](d)"),
        ("`x` **y** __z__", "\\`x\\` \\*\\*y\\*\\* \\_\\_z\\_\\_"),
        ("http://x WWW.y me@z", "http\\://x WWW\\.y me`@`z"),
        ("a\nb", "a\\\\nb"),
    ],
)
def test_running_text_is_shown_unchanged(text: str, written: str) -> None:
    assert prose(text) == written


@given(ANY_TEXT | PUNCTUATION)
def test_running_text_is_never_markup(text: str) -> None:
    written = prose(text)
    assert "\n" not in written
    assert not set(written) & set("<>|")
    bare = re.sub(r"\\[!-/:-@\[-`{-~]|&(?:amp|lt|gt|#124);|`@`", " ", written)
    assert not set(bare) & set("\\`*_[]~!#&@")
    assert "://" not in bare
    assert "www." not in bare.lower()


@given(ANY_TEXT | PUNCTUATION)
def test_a_code_span_ends_correctly(text: str) -> None:
    written = code(text)
    assert written.isprintable()
    assert "|" not in written
    assert written.count("`") == 2
    assert (written[0], written[-1]) == ("`", "`")
    assert written[1:-1].replace(r"\x60", "`").replace(r"\x7c", "|") == visible(text).replace(r"\x60", "`").replace(
        r"\x7c", "|"
    )


@pytest.mark.parametrize("absent", [None, ""])
def test_a_missing_value_is_a_dash(absent: str | None) -> None:
    assert code(absent) == prose(absent) == "-"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_host_changes_only_its_line(text: str) -> None:
    def page(text: str) -> list[str]:
        problem = Problem("invalid_json", text, text)
        text = _text(a_report(recorded(hostile_record(text)), recorded(make_record()), problem))
        before, _heading, actions = text.partition("## To do\n\n")
        actions, heading, after = actions.partition("\n## Not protected")
        # A name that cannot be written in a command has a sentence instead.
        first, *command = actions.splitlines()
        assert first.startswith("- 1 host (failed): ")
        assert command[0] == "  Then:"
        assert not [line for line in command if line and not line.startswith("  ")]
        return f"{before}{heading}{after}".split("\n")

    hostile, ordinary = page(text), page("x")
    assert len(hostile) == len(ordinary)
    differing = [one for one, other in zip(hostile, ordinary, strict=True) if one != other]
    assert differing == [hostile[ordinary.index(line)] for line in ordinary if line.startswith(("| `evil", "- `x`"))]
    assert differing[0].count("|") == 9, "eight cells"


def test_changes_are_lists() -> None:
    text = _text(a_changed_report())
    assert "\n## Changes\n\nSince the report of 2026-01-11T06:00:00Z: 1 of 3 eligible hosts" in text
    assert (
        "\nNo longer protected (1 host):\n\n- web1: protected -&gt; failed: The patch could not be applied.\n" in text
    )
    assert "$ ansible-playbook kernelops.livepatch.enable --limit new -e livepatch_policy=current\n" in text


def test_waived_findings_have_a_table() -> None:
    text = "".join(render(a_waived_report("a | b")))
    assert "| `build1` | not_protected | it is disabled | a &#124; b | build team | 2026-03-01 |" in text
    assert "| the fleet | seats_exceeded | 4 of 3 seats | more seats are ordered | purchasing | 2026-01-19 |" in text


def test_open_vulnerabilities_have_a_column() -> None:
    text = "".join(render(an_exposed_report()))
    assert "| Host | State | Open CVEs | Kernel |" in text
    assert "| `web1` | exposed | 1 critical, 1 high | " in text
    assert "| `web4` | no_answer | - | " in text
