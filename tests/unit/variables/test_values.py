# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Values of variables: what each check accepts and refuses."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._variables import values

ACCEPTED: list[tuple[str, t.Any]] = [
    ("livepatch_server", "https://livepatch.example.com"),
    ("livepatch_server", "http://10.0.0.1:8080/path"),
    ("livepatch_seats", 0),
    ("livepatch_retention", 1),
    ("livepatch_max_fail_percentage", 100.0),
    ("livepatch_window", ""),
    ("livepatch_upgrade_states", "failed, upgrade_required"),
    ("livepatch_upgrade_states", []),
    ("livepatch_series", "6.8"),
    ("livepatch_restore_after", 0),
    ("livepatch_import", ["/"]),
    ("livepatch_window", "22:00-04:00 Europe/Berlin"),
    ("livepatch_serial", "10%"),
    ("livepatch_serial", [1, "10%", "100%"]),
    ("livepatch_cve", "CVE-2024-1086"),
    ("livepatch_cve", "CVE-2024-1086, CVE-2024-26924"),
    ("livepatch_cve", ["CVE-2024-1086"]),
    ("livepatch_cve", ["cve-2024-1086"]),
    ("livepatch_cve", "cve-2024-1086,CVE-2024-26924"),
    ("livepatch_releases", ["16.04", "noble"]),
    ("livepatch_vulnerability_deadlines", {"critical": 7, "high": "30"}),
    ("livepatch_package_data_url", "https://mirror.example.com/oval/"),
    ("livepatch_closed_cves", []),
    ("livepatch_config", {"https-proxy": "http://proxy.example.com:3128"}),
    ("livepatch_rules", "default"),
    ("livepatch_rules", []),
    ("livepatch_vulnerability_data", "https://example.com/data/"),
    ("livepatch_pre_tasks", ""),
    ("livepatch_network", False),
    ("livepatch_answer_timeout", 10),
    ("livepatch_answer_timeout", 3600),
    ("livepatch_ca_path", "/"),
    ("livepatch_proxy", "http://user:secret@proxy.example.com:3128"),
    ("livepatch_proxy", "proxy.example.com:3128"),
    ("livepatch_notify", [{"type": "slack", "url": "https://hooks.example.com/services/x"}]),
]
REFUSED: list[tuple[str, t.Any, str]] = [
    ("livepatch_server", "livepatch.example.com", "is not a URL with https:// or http://"),
    ("livepatch_server", "ftp://livepatch.example.com", "is not a URL with https:// or http://"),
    ("livepatch_server", "https://", "is not a URL with https:// or http://"),
    ("livepatch_seats", -1, "-1 is not allowed; the least is 0"),
    ("livepatch_delay", -3, "-3 is not allowed; the least is 0"),
    ("livepatch_reboot_timeout", -3, "-3 is not allowed; the least is 1"),
    ("livepatch_timeout", 0, "the least is 1"),
    ("livepatch_max_fail_percentage", 101.0, "more than 100 percent"),
    ("livepatch_window", "22-04", "the window '22-04' is not valid"),
    ("livepatch_window", "22:00-04:00 Europe/Berlim", "the time zone Europe/Berlim is unknown"),
    ("livepatch_serial", "abc", "the size of a wave is 'abc'"),
    ("livepatch_serial", ["10%", 0], "the size of a wave is '0'"),
    ("livepatch_closed_cves", ["CVE-2024-1086", "CVE-1"], "'CVE-1' is not a number of a vulnerability"),
    ("livepatch_closed_cves", ["cve-2024-1086"], "'cve-2024-1086' is not a number of a vulnerability"),
    ("livepatch_cve", "CVE-2024-1086;CVE-2024-26924", "is not a number of a vulnerability"),
    (
        "livepatch_releases",
        ["24.04", "23.10"],
        "'23.10', which is not a long-term release of Ubuntu; use releases such as 16.04 or xenial",
    ),
    ("livepatch_vulnerability_deadlines", {"urgent": 7}, "has 'urgent', which is not a priority; use critical, high, "),
    ("livepatch_vulnerability_deadlines", {"high": "soon"}, "'soon' for high"),
    ("livepatch_vulnerability_deadlines", {"high": -1}, "-1 for high, which is not a number of days"),
    (
        "livepatch_upgrade_states",
        "upgrade-required",
        "there is no state 'upgrade-required'; did you mean 'upgrade_required'?",
    ),
    ("livepatch_upgrade_states", ["end_of_life", "unreachable"], "did you mean 'no_answer'?"),
    ("livepatch_upgrade_states", ["xyz"], "use some of no_answer, tampered, "),
    ("livepatch_series", "5,15", "'5,15' is not a series of kernels such as 5.15"),
    ("livepatch_reboot_timeout", 0, "the least is 1"),
    ("livepatch_drain_timeout", 0, "the least is 1"),
    ("livepatch_protected_timeout", 0, "the least is 1"),
    ("livepatch_upgrade_timeout", 0, "the least is 1"),
    ("livepatch_import", [__file__], f"{__file__} is not a folder on the controller"),
    ("livepatch_import_history", "/", "/ is not a file on the controller"),
    ("livepatch_notices_url", "/srv/notices.tar.xz", "is not a URL with https:// or http://"),
    ("livepatch_rules", [{"id": "x"}], "rules"),
    ("livepatch_vulnerability_data", ["ftp://example.com"], "neither a URL with https:// or http://"),
    ("livepatch_notify", [{"type": "slack", "urll": "x"}], "there is no key 'urll'; did you mean 'url'?"),
    ("livepatch_notices", "/no/such/folder", "does not exist on the controller"),
    ("livepatch_answer_timeout", -1, "-1 is not between 10 and 3600 seconds"),
    ("livepatch_answer_timeout", 9, "9 is not between 10 and 3600 seconds"),
    ("livepatch_answer_timeout", 3601, "3601 is not between 10 and 3600 seconds"),
    ("livepatch_ca_path", "/no/such/file.pem", "does not exist on the controller"),
    ("livepatch_proxy", "socks5://proxy.example.com", "is not a URL with http:// or https://"),
    ("livepatch_proxy", "proxy example", "is not a URL with http:// or https://"),
    ("livepatch_proxy", "http://:3128", "is not a URL with http:// or https://"),
    ("livepatch_proxy", "http://proxy.example.com:many", "is not a URL with http:// or https://"),
    ("livepatch_post_tasks", "/no/such/file.yml", "is not a file on the controller"),
    ("livepatch_post_tasks", "~no-such-user/file.yml", "is not a file on the controller"),
    ("livepatch_pre_tasks", "/" + "x" * 300, "cannot be used: File name too long"),
    ("livepatch_ca_path", "x" * 300, "cannot be used: File name too long"),
    ("livepatch_notices", "~no-such-user/notices", "does not exist on the controller"),
    ("livepatch_rules", "~no-such-user/rules.yml", "cannot be read"),
    ("livepatch_serial", "9" * 5000, "the size of a wave is"),
    ("livepatch_window", f"22:00-04:00 {'../' * 30_000}", "is unknown on this machine"),
]


@pytest.mark.parametrize(("variable", "value"), ACCEPTED)
def test_a_valid_value_has_no_fault(variable: str, value: t.Any) -> None:
    assert values.value_faults(variable, value) == []


@pytest.mark.parametrize(("variable", "value", "text"), REFUSED)
def test_a_wrong_value_has_one_fault(variable: str, value: t.Any, text: str) -> None:
    [fault] = values.value_faults(variable, value, "web-1")
    assert (fault.variable, fault.host) == (variable, "web-1")
    assert text in fault.problem


def test_all_faults_of_a_configuration_are_listed() -> None:
    [fault] = values.value_faults("livepatch_config", {"remote-sever": "x", "https-proxy": "proxy:3128"})
    assert "remote-sever" in fault.problem
    assert "https-proxy" in fault.problem


def test_a_password_in_an_address_is_masked() -> None:
    for variable in ("livepatch_server", "livepatch_proxy"):
        [fault] = values.value_faults(variable, "ftp://user:secret@example.com")
        assert "secret" not in fault.problem


@pytest.mark.parametrize("name", ["no_answer", "warning", "cloned", "CVE-2024-1086"])
def test_fail_on_accepts_states_severities_and_rules(name: str) -> None:
    assert values.fail_on_faults("livepatch_fail_on", [name], "default", ["CVE-2024-1086"]) == []


def test_another_word_in_fail_on_is_a_fault() -> None:
    [fault] = values.fail_on_faults("livepatch_fail_on", ["tampered", "erorr"], "default", [])
    assert fault.problem == "there is no state, severity or rule 'erorr'; did you mean 'error'?"


def test_unusable_rules_hide_no_other_fault() -> None:
    assert values.fail_on_faults("livepatch_fail_on", ["own_rule"], "no-such-file.yml", []) == []


def test_unknown_hosts_are_faults() -> None:
    [fault] = values.host_faults("livepatch_priority", ["web-1", "web-22"], ["web-1", "web-2"])
    assert fault.problem == "'web-22' is not a host of the inventory; did you mean 'web-2'?"


def test_each_trust_option_is_checked_alone(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    found = values.trust_faults([str(tmp_path / "empty.pem"), "/no/such.pem"], ["abc", "0" * 64])
    assert [fault.variable for fault in found] == [
        "livepatch_trusted_certificates",
        "livepatch_trusted_certificates",
        "livepatch_trusted_spki_sha256",
    ]
