# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lab's hosts change as real ones do: strict in order, honest in errors, and with nothing left over."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab import Fleet, down, load_descriptions, running_fleet, up
from tests.lab.hosts.description import Description
from tests.lab.live_patches import signing
from tests.lab.process_trace import executions

pytestmark = pytest.mark.lab

CLIENT = "/snap/bin/canonical-livepatch"
COMMON = "/var/snap/canonical-livepatch/common"
MODE = "/var/local/canonical_livepatch_mode"
DAEMON = "snap.canonical-livepatch.canonical-livepatchd"
PUBLIC = "/var/snap/canonical-livepatch/current/livepatchd.sock"
PRIVATE = "/var/snap/canonical-livepatch/current/livepatchd-priv.sock"
TOKEN = "d3b07384d113edec49eaa6238ad5ff00"
CONTRACT = "C1234567890abcdefghijklmnop"
STRANGER = signing.make_signer("Stranger")
VENDOR = signing.make_signer("Vendor")
ENABLE = ["enable-2016", "enable-6", "enable-8", "enable-9.3", "enable-9.5", "enable-10", "enable-11"]
INSTALL = ["install-2016", "install-6", "install-8", "install-9.5", "install-10", "install-11"]
WRITING = Path(__file__).parents[1] / "lab" / "host_descriptions" / "70-client-changes.yml"
NAMES = list(yaml.safe_load(WRITING.read_text(encoding="utf-8"))["hosts"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    others = ["snapd-2.14", "no-snapd", "not-root", "lxd-container", "realtime-kernel", "client-10"]
    with running_fleet(tmp_path_factory.mktemp("lab"), only=[*NAMES, *others]) as fleet:
        yield fleet


@pytest.fixture
def fleet(lab: Fleet) -> Iterator[Fleet]:
    """The lab with a server that knows one token with seats for all, and one without any left."""
    lab.set_tokens({TOKEN: {}, "used-up": {"seats": 0}, "paid": {"tier": "stable"}})
    lab.set_contracts({CONTRACT: {"tier": "stable"}})
    lab.state.remove_patches()
    yield lab
    lab.set_faults()


@dataclasses.dataclass(frozen=True)
class Shell:
    """A host that is reset when the test has ended."""

    fleet: Fleet
    name: str

    def __call__(self, line: str, given: str = "") -> tuple[int, str, str]:
        """Exit status, output and errors of a command line."""
        done = self.fleet.run(self.name, line, given.encode())
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def succeed(self, line: str, given: str = "") -> str:
        code, output, errors = self(line, given)
        assert (code, errors) == (0, ""), (line, output, errors)
        return output

    def fail(self, line: str, given: str = "", code: int = 1) -> str:
        ended, output, errors = self(line, given)
        assert (ended, output) == (code, ""), (line, errors)
        return errors

    def status(self) -> dict[str, t.Any]:
        """What a client of today says of the running kernel, with `Tier`."""
        said = json.loads(self.succeed(f"{CLIENT} status --format json"))
        return {**said["Status"][-1], "Tier": said.get("tier")}

    @property
    def machine(self) -> str:
        return self.succeed("cat /etc/machine-id").strip()


@pytest.fixture
def shells(fleet: Fleet) -> Iterator[t.Callable[[str], Shell]]:
    """Hosts by name."""
    used: list[str] = []

    def shell(name: str) -> Shell:
        used.append(name)
        return Shell(fleet, name)

    yield shell
    for name in used:
        fleet.reset(name)
        fleet.state.set_machines({})


Shells = t.Callable[[str], Shell]


# --- enable and disable


@pytest.mark.parametrize("name", ENABLE)
def test_every_generation_enables_once_and_disables(name: str, shells: Shells, fleet: Fleet) -> None:
    host = shells(name)
    machines = len(fleet.machines())
    assert fleet.machine_token(name) is None
    output = host.succeed(f"{CLIENT} enable {TOKEN}")
    token = fleet.machine_token(name)
    assert token is not None
    assert output == f"Successfully enabled device. Using machine-token: {token}\n"
    assert host.succeed(f"cat {COMMON}/machine-token").strip() == token
    assert fleet.machines()[host.machine]["machine_token"] == token
    assert host(f"{CLIENT} status")[0] == 0
    assert "Machine-token already exists! Please use 'disable'" in host.fail(f"{CLIENT} enable {TOKEN}")
    assert fleet.machine_token(name) == token
    assert host.succeed(f"{CLIENT} disable") == f"Successfully disabled device. Removed machine-token: {token}\n"
    assert len(fleet.machines()) == machines
    assert host(f"cat {COMMON}/machine-token")[0] == 1
    code, output, errors = host(f"{CLIENT} status")
    assert (code, "Machine is not enabled." in output + errors) == (1, True)
    assert host(f"{CLIENT} disable")[0] == 0


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("enable-2016", f"Error executing enable?auth-token={TOKEN}. Bad server status code: 403. URL: "),
        ("enable-6", "error executing enable: cannot enable machine: bad server status 403 (URL: "),
        ("enable-9.3", "error executing enable: cannot enable machine: bad server status 403 (URL: "),
        ("enable-9.5", "error executing enable: cannot enable machine: bad server status 403 (URL: "),
        ("enable-10", "failed to register client: POST request to "),
        ("enable-11", "failed to register client: POST request to "),
    ],
)
def test_a_bad_token_is_refused_in_the_words_of_the_generation(
    name: str, start: str, shells: Shells, fleet: Fleet
) -> None:
    host = shells(name)
    fleet.set_tokens({})
    said = host.fail(f"{CLIENT} enable {TOKEN}")
    # The oldest write the time before what they say.
    assert start in said
    assert '{"error": "Unknown Auth-Token"}' in said
    assert (said[:2] == "20") is (name in ("enable-2016", "enable-6", "enable-9.3"))
    assert fleet.machine_token(name) is None
    assert fleet.machines() == {} or host.machine not in fleet.machines()


@pytest.mark.parametrize("name", ["enable-6", "enable-10"])
def test_seats_are_the_tokens(name: str, shells: Shells, fleet: Fleet) -> None:
    host = shells(name)
    assert "machine limit reached for this token" in host.fail(f"{CLIENT} enable used-up")
    assert fleet.machine_token(name) is None


@pytest.mark.parametrize("name", ["enable-9.3", "enable-10"])
def test_a_token_is_needed(name: str, shells: Shells) -> None:
    assert "No key provided." in shells(name).fail(f"{CLIENT} enable")


def test_a_tier_comes_with_the_token(shells: Shells) -> None:
    host = shells("enable-10")
    host.succeed(f"{CLIENT} enable paid")
    assert host.status()["Tier"] == "stable"
    assert json.loads(host.succeed(f"cat {COMMON}/client-info"))["tier"] == "stable"


def test_a_machine_token_that_somebody_removes_is_gone(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    host.succeed(f"rm {COMMON}/machine-token")
    assert "Machine is not enabled." in host.fail(f"{CLIENT} status")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert fleet.machine_token("enable-10") is not None


@pytest.mark.parametrize(
    ("name", "command", "text"),
    [
        (
            "platform-unsupported",
            "enable 0123",
            "Livepatchd error: The platform Ubuntu 16.10 is not supported. exiting.",
        ),
        (
            "daemon-shutting-down",
            "config log-level=debug",
            "error executing config: livepatchd error: daemon shutting down",
        ),
        ("daemon-shutting-down", "enable 0123", "livepatchd error: daemon shutting down"),
        ("daemon-down", "enable 0123", "livepatchd-priv.sock: connect: no such file or directory"),
        ("daemon-down", "config log-level=debug", "livepatchd-priv.sock: connect: no such file or directory"),
        ("interface-not-connected", "enable 0123", "livepatchd-priv.sock: connect: no such file or directory"),
        ("apparmor", "enable 0123", "cannot change apparmor hat of the support process for mount namespace capture."),
        ("apparmor", "status", "cannot change apparmor hat of the support process for mount namespace capture."),
        ("not-root", "disable", "livepatchd-priv.sock: connect: permission denied"),
        ("enable-10", "refresh", "Machine is not enabled."),
        ("enable-10", "enable --force 0123", "flag provided but not defined: --force"),
    ],
)
def test_a_host_refuses_with_its_text(name: str, command: str, text: str, shells: Shells) -> None:
    code, output, errors = shells(name)(f"{CLIENT} {command}")
    assert (code, output) == (2 if "--force" in command else 1, "")
    assert text in errors


def test_the_first_client_says_the_whole_request_when_its_daemon_is_down(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-2016")
    fleet.kill_daemon("enable-2016")
    assert host.fail(f"{CLIENT} enable 0123").endswith(
        "Error executing enable?auth-token=0123. Connection to the daemon failed: Put http://127.0.0.1/"
        "enable?auth-token=0123: dial unix /var/snap/canonical-livepatch/18/livepatchd-priv.sock: connect: "
        "no such file or directory\n"
    )


@pytest.mark.parametrize(
    ("name", "fault", "text"),
    [
        ("enable-6", {"refuse": True}, "Couldn't send req: Post {server}/api/machine-tokens: dial tcp"),
        (
            "enable-9.3",
            {"refuse": True},
            "cannot enable machine: cannot send request: Post {server}/api/machine-tokens",
        ),
        (
            "enable-10",
            {"refuse": True},
            'failed to register client: POST request to "{server}/v1/client/{machine}" failed',
        ),
        (
            "enable-6",
            {"certificate": "stranger"},
            "x509: certificate signed by unknown authority. Server communication",
        ),
        ("enable-9.5", {"certificate": "expired"}, "x509: certificate has expired or is not yet valid"),
        ("enable-10", {"certificate": "stranger"}, "x509: certificate signed by unknown authority"),
        ("enable-11", {"certificate": "misnamed"}, "x509: certificate is not valid for the name of the server"),
        ("enable-9.3", {"status": 503}, "bad server status 503"),
        ("enable-10", {"status": 503}, "bad server status 503"),
        ("enable-10", {"reset": True}, "failed to register client: POST request to"),
        ("enable-10", {"cut": 5}, "failed to register client: POST request to"),
        ("enable-10", {"status": 503, "method": "GET"}, "Could not retrieve client information.: GET request to"),
        ("enable-10", {"status": 503, "count": 1}, "bad server status 503"),
    ],
)
def test_a_fault_of_the_server_is_named_and_leaves_the_host_as_it_was(
    name: str, fault: dict[str, t.Any], text: str, shells: Shells, fleet: Fleet
) -> None:
    host = shells(name)
    expected = text.format(server="https://livepatch.canonical.com", machine=host.machine)
    fleet.set_faults(fault)
    assert expected in host.fail(f"{CLIENT} enable {TOKEN}")
    assert fleet.machine_token(name) is None
    fleet.set_faults()
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert [held["auth_token"] for held in fleet.machines().values()].count(TOKEN) == 1


def test_a_host_without_network_reaches_no_server(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-9.3")
    fleet.change("enable-9.3", lambda now: dataclasses.replace(now, network=False))
    assert "dial tcp: lookup livepatch.canonical.com on 127.0.0.53:53: no such host" in host.fail(
        f"{CLIENT} enable 0123"
    )


# --- the daemon's own doors


def test_the_token_goes_over_the_socket(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    line = f"curl -q -sS -K - -X PUT --unix-socket {PRIVATE}"
    request = f'url = "http://localhost/enable?auth-token={TOKEN}"\n'
    token = host.succeed(line, request).removeprefix("Successfully enabled device. Using machine-token: ").strip()
    assert token == fleet.machine_token("enable-10")
    assert host.succeed(f"{line} -w '%{{http_code}}'", request).endswith("delete existing machine-token.500")
    assert f"Removed machine-token: {token}" in host.succeed(
        f"curl -q -sS -X PUT --unix-socket {PRIVATE} http://localhost/disable"
    )


def test_nc_can_speak_to_the_daemon(shells: Shells, fleet: Fleet) -> None:
    host = shells("no-curl")
    request = f"PUT /enable?auth-token={TOKEN} HTTP/1.0\r\n\r\n"
    assert host.succeed(f"nc -U {PRIVATE}", request).startswith("HTTP/1.1 200 OK\r\n")
    assert fleet.machine_token("no-curl") is not None
    without_host = host.succeed(f"timeout 5 nc -U {PRIVATE}", "PUT /disable HTTP/1.1\r\n\r\n")
    assert without_host.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert fleet.machine_token("no-curl") is not None


def test_the_status_is_at_the_socket_in_the_formats_of_the_generation(shells: Shells, fleet: Fleet) -> None:
    def ask(name: str, query: str) -> str:
        host = shells(name)
        host(f"{CLIENT} enable {TOKEN}")
        return host.succeed(f"curl -q -sSf --unix-socket {PUBLIC} 'http://localhost/status?{query}'")

    said = json.loads(ask("enable-10", "verbosity=3&format=json"))
    assert said["Machine-Token"] == fleet.machine_token("enable-10")
    assert "machine-token" in yaml.safe_load(ask("enable-6", "verbose=True"))
    assert "machine-token" not in yaml.safe_load(ask("enable-6", "verbose=false&format=json"))
    assert ask("enable-2016", "verbose=false").startswith("kernel: 4.4.0-38.57-generic\n")


@pytest.mark.parametrize(
    ("name", "absent"), [("no-sockets", "livepatchd.sock"), ("daemon-down", "livepatchd.sock"), ("no-curl-no-nc", "")]
)
def test_a_door_that_is_not_described_is_not_there(name: str, absent: str, shells: Shells) -> None:
    host = shells(name)
    listed = host.succeed("ls /var/snap/canonical-livepatch/current/").split()
    assert listed == ([] if absent else ["livepatchd-priv.sock", "livepatchd.sock"])
    for tool in ("curl", "nc") if not absent else ():
        assert host(f"command -v {tool}")[0] != 0


def test_a_client_without_sockets_works_all_the_same(shells: Shells, fleet: Fleet) -> None:
    host = shells("no-sockets")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert fleet.machine_token("no-sockets") is not None


def test_a_user_may_ask_for_the_status_and_nothing_else(shells: Shells) -> None:
    host = shells("not-root")
    assert "Client-Version" in host.succeed(f"curl -q -sS --unix-socket {PUBLIC} 'http://localhost/status?format=json'")
    assert host(f"curl -q -sS --unix-socket {PRIVATE} -X PUT http://localhost/disable")[0] == 7


def test_a_daemon_can_be_killed_and_started(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    fleet.kill_daemon("enable-10")
    assert host.fail(f"test -S {PRIVATE}") == ""
    assert "connect: no such file or directory" in host.fail(f"{CLIENT} status")
    host.succeed("snap restart canonical-livepatch.canonical-livepatchd")
    host.succeed(f"test -S {PRIVATE} && {CLIENT} enable {TOKEN}")


def test_a_daemon_that_may_not_load_modules_does_not_start(shells: Shells) -> None:
    host = shells("interface-not-connected")
    host.succeed("snap restart canonical-livepatch.canonical-livepatchd")
    assert "connect: no such file or directory" in host.fail(f"{CLIENT} status")
    assert "Snappy kernel-module-control interface not connected!" in host.succeed("cat /var/log/syslog")


# --- configuration


@pytest.mark.parametrize("name", ["private-authority", "private-authority-9.3"])
def test_the_server_is_asked_when_it_is_set_so_its_authority_comes_first(
    name: str, shells: Shells, fleet: Fleet
) -> None:
    host = shells(name)
    before = host.succeed(f"{CLIENT} config")
    assert "x509: certificate signed by unknown authority" in host.fail(f"{CLIENT} config remote-server={fleet.server}")
    assert host.succeed(f"{CLIENT} config") == before
    authority = fleet.certificate.read_text(encoding="ascii")
    assert "x509" in host.fail(f"{CLIENT} config remote-server={fleet.server} ca-certs=@stdin", authority)
    assert host.succeed(f"{CLIENT} config") == before
    host.succeed(f"{CLIENT} config ca-certs=@stdin remote-server={fleet.server}", authority)
    said = yaml.safe_load(host.succeed(f"{CLIENT} config"))
    assert (said["ca-certs"], said["remote-server"]) == (authority, fleet.server)
    assert yaml.safe_load(host.succeed(f"cat {COMMON}/config"))["ca-certs"] == authority
    host.succeed(f"{CLIENT} enable {TOKEN}")


@pytest.mark.parametrize(
    ("name", "setting", "text"),
    [
        ("enable-10", "remote-sever=https://x.test", 'unknown configuration key "remote-sever"'),
        ("enable-9.5", "cutoff-date=2024-01-01T00:00:00Z", "unknown configuration key"),
        ("enable-2016", "log-level=debug", "unknown configuration key"),
        ("enable-10", "log-level=loud", "invalid value"),
        ("enable-10", "check-interval=59", "invalid value"),
        ("enable-10", "check-interval=-1", "invalid value"),
        ("enable-10", "dial-timeout=12", "invalid value"),
        ("enable-10", "tls-patch-download=yes", "invalid value"),
        ("enable-10", "https-proxy=proxy.test:3128", "invalid value"),
        ("enable-10", "remote-server=ftp://x.test", "invalid value"),
        ("enable-10", "ca-certs=/etc/ca.pem", "invalid value"),
        ("enable-10", "cutoff-date=2099-01-01T00:00:00Z", "invalid value"),
        ("enable-10", "cutoff-date=2024-01-01", "invalid value"),
        ("enable-10", "patch-delay=3", "invalid value"),
        ("enable-10", "remote-server=https://nowhere.test", "no such host"),
        ("enable-10", "remote-server=https://127.0.0.1:1", "connection refused"),
        ("enable-10", "log-level", "expected key=value"),
    ],
)
def test_a_wrong_setting_is_refused(name: str, setting: str, text: str, shells: Shells) -> None:
    host = shells(name)
    before = host.succeed(f"{CLIENT} config")
    said = host.fail(f"{CLIENT} config {setting}")
    assert text in said
    assert host.succeed(f"{CLIENT} config") == before


def test_settings_are_taken_and_cleared(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    before = host.succeed(f"{CLIENT} config")
    host.succeed(
        f"{CLIENT} config log-level=debug check-interval=0 dial-timeout=1m30s no-proxy=localhost,.test "
        "https-proxy=@stdin cutoff-date=2024-01-01T00:00:00+02:00 patch-delay=1d12h tls-patch-download=true",
        fleet.proxy,
    )
    said = yaml.safe_load(host.succeed(f"{CLIENT} config"))
    assert (said["https-proxy"], said["check-interval"], said["patch-delay"]) == (fleet.proxy, "0", "1d12h")
    assert 'dial-timeout: "1m30s"\n' in host.succeed(f"{CLIENT} config")
    host.succeed(
        f"{CLIENT} config log-level= check-interval= dial-timeout= no-proxy= https-proxy= cutoff-date= patch-delay= "
        "tls-patch-download="
    )
    assert host.succeed(f"{CLIENT} config") == before


def test_one_wrong_setting_spoils_all(shells: Shells) -> None:
    host = shells("enable-10")
    before = host.succeed(f"{CLIENT} config")
    host.fail(f"{CLIENT} config log-level=debug nonsense=1")
    assert host.succeed(f"{CLIENT} config") == before


def test_some_settings_are_for_paying_customers(shells: Shells) -> None:
    host = shells("enable-10")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert "needs a paid subscription" in host.fail(f"{CLIENT} config patch-delay=1d")
    host.succeed(f"{CLIENT} disable && {CLIENT} enable paid >/dev/null && {CLIENT} config patch-delay=1d")


def test_a_server_behind_a_proxy_is_reached_through_it(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    assert "no such host" in host.fail(f"{CLIENT} config remote-server={fleet.behind_proxy}")
    host.succeed(f"{CLIENT} config https-proxy={fleet.proxy} remote-server={fleet.behind_proxy}")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert fleet.proxied()[-1]["method"] == "CONNECT"
    host.succeed(f"{CLIENT} disable")
    host.succeed(f"{CLIENT} config https-proxy=http://127.0.0.1:1")
    host.fail(f"{CLIENT} enable {TOKEN}")


def test_a_proxy_may_want_a_password(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-9.3")
    host.succeed(f"{CLIENT} config remote-server={fleet.server}")
    fleet.set_proxy("ops", "p w")
    try:
        host.succeed(f"{CLIENT} config https-proxy={fleet.proxy}")
        assert "proxyconnect tcp: 407" in host.fail(f"{CLIENT} enable {TOKEN}")
        host.succeed(f"{CLIENT} config https-proxy=@stdin", fleet.proxy.replace("http://", "http://ops:p%20w@"))
        host.succeed(f"{CLIENT} enable {TOKEN}")
    finally:
        fleet.set_proxy()


# --- the mode


def test_a_mode_counts_when_the_daemon_starts(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    host.succeed(f"echo no-apply >{MODE}")
    publish(fleet, host, "107.1")
    host.succeed(f"{CLIENT} refresh")
    assert host.status()["Livepatch"]["State"] == "applied"
    fleet.restart_daemon("enable-10")
    publish(fleet, host, "108.1")
    host.succeed(f"{CLIENT} refresh")
    status = host.status()["Livepatch"]
    assert (status["State"], status["Version"]) == ("unapplied", "108.1")
    assert host.succeed("ls /sys/kernel/livepatch").endswith("_107\n")
    host.succeed(f"echo normal >{MODE}; snap restart canonical-livepatch.canonical-livepatchd")
    assert host.status()["Livepatch"]["State"] == "applied"


def test_the_mode_stop_ends_the_daemon(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    host.succeed(f"echo stop >{MODE} && {CLIENT} enable {TOKEN}")
    fleet.restart_daemon("enable-10")
    assert "connect: no such file or directory" in host.fail(f"{CLIENT} status")


def test_systemd_refuses_a_daemon_that_ends_too_often(shells: Shells) -> None:
    """As in the session `snapd`. Only the name of the service starts a service that has ended."""
    host, service = shells("enable-10"), f"{DAEMON}.service"
    host.succeed(f"echo stop >{MODE}; snap restart canonical-livepatch")
    assert host(f"systemctl is-active {DAEMON}") == (3, "failed\n", "")
    messages = host.succeed(f"journalctl -q --no-pager -o cat -n 2 -u {service}").splitlines()
    assert messages == [
        f"{service}: Start request repeated too quickly.",
        f"{service}: Failed with result 'start-limit-hit'.",
    ]
    host.succeed(f"echo normal >{MODE}; snap restart canonical-livepatch")
    assert "attempted too often" in host.fail(f"systemctl restart {DAEMON}")
    assert "failed with exit status 1: Job for" in host.fail("snap restart canonical-livepatch.canonical-livepatchd")
    host.succeed(f"systemctl reset-failed {DAEMON}; snap restart canonical-livepatch")
    assert host(f"systemctl is-active {DAEMON}") == (3, "inactive\n", "")
    host.succeed("snap restart canonical-livepatch.canonical-livepatchd")
    host.succeed(f"systemctl is-active --quiet {DAEMON} && {CLIENT} enable {TOKEN}")


def test_a_disabled_snap_has_no_command(shells: Shells) -> None:
    host = shells("enable-10")
    assert host.succeed("snap disable canonical-livepatch") == "canonical-livepatch disabled\n"
    assert host(f"test -e {CLIENT} || test -e /snap/canonical-livepatch/current")[0] == 1
    assert host.succeed("snap list canonical-livepatch").split()[-1] == "disabled"
    assert host("snap install canonical-livepatch")[0] == 0
    assert "not found" in host.fail(f"systemctl restart {DAEMON}", code=5)
    assert host.succeed("snap enable canonical-livepatch") == "canonical-livepatch enabled\n"
    host.succeed(f"{CLIENT} enable {TOKEN}")


def test_without_refresh_nothing_is_checked(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    host.succeed(f"echo no-refresh >{MODE}")
    fleet.restart_daemon("enable-10")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert host.status()["Livepatch"]["CheckState"] == "needs-check"


# --- patches


def kernel_of(host: Shell) -> str:
    return host.succeed("cat /proc/version_signature").split()[1]


def publish(fleet: Fleet, host: Shell, version: str, kernel: str | None = None) -> None:
    """Publish a patch for the host's kernel, or one that is made for another."""
    name, archive = signing.patch_for(kernel or kernel_of(host), version, VENDOR)
    if kernel is not None:
        name = name.replace(kernel, kernel_of(host))
    fleet.add_patch(name, archive, fixes=["CVE-2024-0001"])


@pytest.mark.parametrize("name", ["enable-2016", "enable-6", "enable-9.5", "enable-10", "enable-bionic"])
def test_a_patch_is_fetched_applied_and_shown_by_kernel_and_client(name: str, shells: Shells, fleet: Fleet) -> None:
    host = shells(name)
    host.succeed(f"{CLIENT} enable {TOKEN}")
    publish(fleet, host, "65.1")
    assert [line for line in host.succeed(f"{CLIENT} refresh").splitlines() if line] == [
        *("Before refresh:", f"kernel: {kernel_of(host)}", "fully-patched: true", 'version: ""'),
        *("After refresh:", f"kernel: {kernel_of(host)}", "fully-patched: true", 'version: "65.1"'),
    ]
    module = host.succeed("ls /sys/kernel/livepatch").strip()
    assert module.endswith("_65")
    note = fleet.run(name, f"cat /sys/module/{module}/notes/.note.gnu.build-id").stdout
    file = fleet.run(name, f"cat {COMMON}/payload/{module}.ko").stdout
    assert note in file
    assert host.succeed(f"cat /sys/kernel/livepatch/{module}/enabled") == "1\n"
    old = name != "enable-bionic"
    assert host(f"cat /sys/kernel/livepatch/{module}/transition")[:2] == ((1, "") if old else (0, "0\n"))
    keyless = name in ("enable-2016", "enable-6", "enable-9.5")
    assert host.succeed(f"cat /sys/module/{module}/taint") == ("OEK\n" if keyless else "OK\n")
    log = host.succeed("cat /var/log/kern.log")
    assert f"livepatch: enabling patch '{module}'" in log
    assert ("module verification failed" in log) is keyless
    assert "65.1" in host.succeed(f"{CLIENT} status")
    publish(fleet, host, "66.1")
    host.succeed(f"{CLIENT} refresh")
    assert host.succeed("ls /sys/kernel/livepatch").strip().endswith("_66")
    # No patch leaves a running kernel.
    host.succeed(f"{CLIENT} disable && snap remove canonical-livepatch")
    assert host.succeed("ls /sys/kernel/livepatch").strip().endswith("_66")


def test_a_patch_that_takes_time_is_in_transition(shells: Shells, fleet: Fleet) -> None:
    host = shells("slow-to-apply")
    publish(fleet, host, "102.1")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert host.status()["Livepatch"]["State"] == "applying"
    assert host.succeed("cat /sys/kernel/livepatch/*/transition") == "1\n"
    # The kernel is done before its client says so.
    done = f'{CLIENT} status --format json | grep -q \'"State": "applied"\''
    host.succeed(f"i=0; until {done} || [ $i = 300 ]; do i=$((i+1)); sleep 0.1; done")
    assert host.status()["Livepatch"]["State"] == "applied"
    assert host.succeed("cat /sys/kernel/livepatch/*/transition") == "0\n"


def test_a_process_may_hold_a_patch_up(shells: Shells, fleet: Fleet) -> None:
    host = shells("never-applies")
    publish(fleet, host, "102.1")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    held = 'for p in /proc/[0-9]*; do [ "$(cat $p/patch_state 2>/dev/null)" != 0 ] || cat $p/comm; done'
    assert host(held)[1] == "kworker/0:1\n"
    fleet.finish_apply("never-applies")
    assert host(held)[1] == ""
    assert host.status()["Livepatch"]["State"] == "applied"
    assert host.succeed("cat /sys/kernel/livepatch/*/transition") == "0\n"


def spoil(fleet: Fleet, host: Shell) -> None:
    publish(fleet, host, "65.1")
    fleet.set_faults(hash=True)


@pytest.mark.parametrize(
    ("name", "prepare", "text"),
    [
        ("apply-fails", lambda fleet, host: publish(fleet, host, "65.1"), "could not insert module"),
        ("enable-9.5", spoil, "payload checksum does not match"),
        (
            "enable-9.5",
            lambda fleet, host: publish(fleet, host, "65.1", kernel="4.4.0-169.198-generic"),
            "Payload does not match current kernel version.",
        ),
    ],
)
def test_a_patch_that_cannot_be_applied_is_not(
    name: str, prepare: t.Callable[[Fleet, Shell], None], text: str, shells: Shells, fleet: Fleet
) -> None:
    host = shells(name)
    prepare(fleet, host)
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert host.status()["Livepatch"]["State"] == "apply-failed"
    assert host.succeed("ls /sys/kernel/livepatch") == ""
    assert text in host.succeed("cat /var/log/syslog")


def test_a_patch_that_another_has_signed_is_not_applied(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-9.5")
    keys = "/snap/canonical-livepatch/current/keys"
    host.succeed(f"mkdir {keys} && base64 -d >{keys}/livepatch-kmod.x509", base64.b64encode(STRANGER.der).decode())
    publish(fleet, host, "65.1")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert host.status()["Livepatch"]["State"] == "apply-failed"
    assert "cannot verify module: bad signature" in host.succeed("tail -1 /var/log/syslog")
    host.succeed(f"base64 -d >{keys}/livepatch-kmod.x509", base64.b64encode(VENDOR.der).decode())
    host.succeed(f"{CLIENT} refresh")
    assert host.status()["Livepatch"]["State"] == "applied"
    host.succeed(f"rm -r {keys}")


def test_a_crash_lock_keeps_its_patch_out_until_it_is_removed(shells: Shells, fleet: Fleet) -> None:
    host = shells("crash-lock-waits")
    publish(fleet, host, "65.1")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    assert host.status()["Livepatch"]["State"] == "apply-failed"
    said = host.succeed("cat /var/log/syslog")
    lock = f"{COMMON}/locks/livepatch_Ubuntu_4_4_0_168_197_generic_65_65.1"
    assert f"To override this warning, remove {lock}" in said
    host.succeed(f"rm {lock} && {CLIENT} refresh")
    assert host.status()["Livepatch"]["State"] == "applied"


def test_a_failed_check_leaves_the_patch_and_says_so(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    publish(fleet, host, "107.1")
    host.succeed(f"{CLIENT} enable {TOKEN}")
    fleet.set_faults(status=503)
    host.succeed(f"{CLIENT} refresh")
    status = host.status()["Livepatch"]
    assert (status["CheckState"], status["State"], status["Version"]) == ("check-failed", "applied", "107.1")
    fleet.set_faults(supported="kernel-upgrade-required")
    host.succeed(f"{CLIENT} refresh")
    assert host.status()["Supported"] == "kernel-upgrade-required"
    assert host.status()["Livepatch"]["State"] == "kernel-upgrade-required"


# --- snap


@pytest.mark.parametrize("name", INSTALL)
def test_every_generation_can_be_installed_and_removed(name: str, shells: Shells, fleet: Fleet) -> None:
    host = shells(name)
    version = load_descriptions()[name].offers.version
    assert host(f"{CLIENT} --version")[0] == 127
    assert host.succeed("snap install canonical-livepatch").startswith(f"canonical-livepatch {version} from")
    assert version in host.succeed(f"{CLIENT} --version")
    assert version in host.succeed("snap list canonical-livepatch")
    host.succeed(f"test -S {PRIVATE}")
    assert 'remote-server: "https://livepatch.canonical.com"\n' in host.succeed(f"{CLIENT} config")
    code, output, errors = host("snap install canonical-livepatch")
    assert (code, output) == (0, "")
    assert errors.startswith('snap "canonical-livepatch" is already installed')
    host.succeed(f"{CLIENT} enable {TOKEN}")
    seats = fleet.machines()
    assert host.succeed("snap remove --purge canonical-livepatch") == "canonical-livepatch removed\n"
    assert host("ls /var/snap/canonical-livepatch /snap/canonical-livepatch")[1] == ""
    assert fleet.machines() == seats
    assert host(f"{CLIENT} status")[0] == 127
    assert host("snap remove canonical-livepatch") == (0, "", 'snap "canonical-livepatch" is not installed\n')
    assert host.fail("snap list canonical-livepatch").endswith("no matching snaps installed\n")


def test_a_snap_follows_a_channel(shells: Shells) -> None:
    host = shells("install-10")
    assert host.succeed("snap install --channel=candidate canonical-livepatch").startswith(
        "canonical-livepatch (candid"
    )
    assert "latest/candidate" in host.succeed("snap list canonical-livepatch")
    assert host.succeed("snap refresh --channel=latest/stable canonical-livepatch").endswith("refreshed\n")
    assert "tracking:  latest/stable\n" in host.succeed("snap info canonical-livepatch")
    assert host.succeed("snap refresh canonical-livepatch").endswith("has no updates available\n")
    assert "is not available on 99/stable" in host.fail("snap refresh --channel=99/stable canonical-livepatch")


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("not-seeded-yet", "too early for operation, device not yet seeded or device model not acknowledged", 10),
        ("store-unreachable", 'cannot install "canonical-livepatch": Post\n       "https://api.snapcraft.io', 1),
        ("snapd-down-not-installed", "dial unix /run/snapd.socket: connect: connection refused", 1),
        ("snapd-2.14", "assumes unsupported features: snapd2.15", 1),
        ("not-root", "access denied (try with sudo)", 1),
    ],
)
def test_a_snap_cannot_be_installed(name: str, text: str, code: int, shells: Shells) -> None:
    assert text in shells(name).fail("snap install canonical-livepatch", code=code)


def test_seeding_ends(shells: Shells, fleet: Fleet) -> None:
    host = shells("not-seeded-yet")
    assert host("timeout 0.5 snap wait system seed.loaded")[0] == 124
    host.succeed("timeout 20 snap wait system seed.loaded && snap install canonical-livepatch")
    old = shells("not-seeded-old-snapd")
    assert "Unknown command `wait'" in old.fail("snap wait system seed.loaded")


@pytest.mark.parametrize("name", ["snapd-2.14", "no-snapd"])
def test_snapd_comes_from_the_archive(name: str, shells: Shells) -> None:
    host = shells(name)
    host.succeed("apt-get -q update && apt-get -q -y install snapd")
    assert "snapd   2.61.3\n" in host.succeed("snap version")
    host.succeed("snap install canonical-livepatch")


# --- Ubuntu Pro


ATTACH = "umask 077; cat >/run/attach; pro attach --attach-config /run/attach; code=$?; rm /run/attach; exit $code"


def attach_config(token: str = CONTRACT) -> str:
    return json.dumps({"token": token, "enable_services": ["livepatch"]})


@pytest.mark.parametrize("name", ["pro", "pro-with-client"])
def test_pro_attaches_with_a_file_and_enables(name: str, shells: Shells, fleet: Fleet, tmp_path: Path) -> None:
    host = shells(name)
    assert json.loads(host.succeed("pro status --format json"))["attached"] is False
    log = tmp_path / "processes"
    with fleet.recorded(name, log):
        host.succeed(ATTACH, attach_config())
    assert not [one for one in executions(log) if CONTRACT in one]
    said = json.loads(host.succeed("pro status --format json"))
    assert (said["attached"], said["services"][0]["status"]) == (True, "enabled")
    assert host.status()["Tier"] == "stable"
    asked = [request["path"] for request in fleet.requests() if request.get("auth_token") == CONTRACT]
    assert set(asked) == {"/v1/context/machines/token"}
    held = [path for path in fleet.root(name).rglob("*") if path.is_file() and CONTRACT.encode() in path.read_bytes()]
    assert held == []
    assert "already attached" in host(ATTACH, attach_config())[2]
    host.succeed("pro disable livepatch --assume-yes")
    assert host(f"{CLIENT} status")[0] == 1
    host.succeed("pro enable livepatch && pro detach --assume-yes")
    assert json.loads(host.succeed("pro status --format json"))["attached"] is False
    assert host(f"{CLIENT} status")[0] == 1


def test_pro_takes_a_pipe_with_a_name(shells: Shells) -> None:
    host = shells("pro-with-client")
    host.succeed(
        "mkfifo /run/a; exec 3<&0; cat <&3 >/run/a & pro attach --attach-config /run/a </dev/null", attach_config()
    )


def test_pro_reads_no_token_from_its_input(shells: Shells, fleet: Fleet) -> None:
    host = shells("pro")
    assert "Invalid token" in host.fail("pro attach -", CONTRACT)
    assert "Invalid token" in host.fail(ATTACH, attach_config("C-nobody-knows-this"))
    assert "Invalid token" in host.fail(ATTACH, attach_config(TOKEN))
    assert "you need an Ubuntu Pro subscription" in host.fail("pro enable livepatch")


def test_a_contract_is_no_livepatch_token(shells: Shells) -> None:
    assert "Unknown Auth-Token" in shells("pro-with-client").fail(f"{CLIENT} enable {CONTRACT}")


@pytest.mark.parametrize(
    ("become", "text"),
    [
        ({"virtualization": "lxc"}, "Cannot install Livepatch on a container."),
        ({"virtualization": "wsl"}, "Cannot install Livepatch on WSL."),
        ({"kernel": {"fips": True}}, "Cannot enable Livepatch when FIPS is enabled."),
        ({"kernel": {"preemption": "PREEMPT_RT"}}, "Cannot enable Livepatch when Real-time kernel is enabled."),
    ],
)
def test_pro_refuses_conflicts(become: dict[str, t.Any], text: str, shells: Shells, fleet: Fleet) -> None:
    def conflicting(now: Description) -> Description:
        kernel = dataclasses.replace(now.kernel, **become.get("kernel", {}))
        return dataclasses.replace(now, kernel=kernel, virtualization=become.get("virtualization", "kvm"))

    host = shells("pro")
    fleet.change("pro", conflicting)
    code, _output, errors = host(ATTACH, attach_config())
    assert code == 1
    assert text in errors
    assert fleet.machine_token("pro") is None


# --- secrets, copies


def test_every_process_is_recorded_with_its_arguments_and_its_environment(
    shells: Shells, fleet: Fleet, tmp_path: Path
) -> None:
    host = shells("enable-10")
    careful, careless, worse = (tmp_path / name for name in ("careful", "careless", "worse"))
    with fleet.recorded("enable-10", careful):
        request = f'url = "http://localhost/enable?auth-token={TOKEN}"\n'
        host.succeed(f"curl -q -sS -K - -X PUT --unix-socket {PRIVATE} >/dev/null", request)
    assert fleet.machine_token("enable-10") is not None
    assert "curl" in {Path(one.argv[0]).name for one in executions(careful)}
    assert [one for one in executions(careful) if TOKEN in one] == []
    with fleet.recorded("enable-10", careless):
        host.succeed("read -r token; curl -q -s -m 1 http://127.0.0.1:1/$token || :", TOKEN)
    assert [one.argv[0] for one in executions(careless) if TOKEN in one] == ["curl"]
    with fleet.recorded("enable-10", worse):
        host.succeed("read -r token; export token; true; ls >/dev/null", TOKEN)
    assert [one.argv for one in executions(worse) if TOKEN in one] == [("ls",)]
    assert host.succeed("echo usual") == "usual\n"


def test_the_client_hides_no_token_that_it_was_given_as_an_argument(
    shells: Shells, fleet: Fleet, tmp_path: Path
) -> None:
    host = shells("enable-9.5")
    with fleet.recorded("enable-9.5", tmp_path / "log"):
        host.succeed(f"read -r token; {CLIENT} enable $token", TOKEN)
    carriers = {Path(one.argv[0]).name for one in executions(tmp_path / "log") if TOKEN in one}
    assert carriers == {"canonical-livepatch"}
    assert fleet.commands("enable-9.5")[-1] == f"canonical-livepatch enable {TOKEN}"


def test_a_setting_given_on_standard_input_is_no_argument(shells: Shells, fleet: Fleet, tmp_path: Path) -> None:
    host = shells("enable-10")
    with fleet.recorded("enable-10", tmp_path / "log"):
        host.succeed(f"{CLIENT} config https-proxy=@stdin", "http://ops:canary@proxy.test:3128")
    assert "canary" in host.succeed(f"{CLIENT} config")
    assert [one for one in executions(tmp_path / "log") if "canary" in one] == []


def test_the_auth_token_stays_nowhere_but_in_the_servers_log(shells: Shells, fleet: Fleet) -> None:
    host = shells("enable-10")
    request = f'url = "http://localhost/enable?auth-token={TOKEN}"\n'
    host.succeed(f"curl -q -sS -K - -X PUT --unix-socket {PRIVATE}", request)
    holding = {
        path.relative_to(fleet.directory).as_posix()
        for path in (fleet.directory / "hosts" / "enable-10").rglob("*")
        if path.is_file() and TOKEN.encode() in path.read_bytes()
    }
    # What an earlier test typed stands in the log of its command lines.
    assert holding <= {"hosts/enable-10/lab/commands"}
    assert fleet.requests()[-1].get("auth_token") is None
    assert [request for request in fleet.requests() if request.get("auth_token") == TOKEN]


def test_copies_that_can_be_changed_have_machine_ids_of_their_own(tmp_path: Path) -> None:
    with running_fleet(tmp_path, count=3, replicated="enable-10", writable=True) as fleet:
        fleet.set_tokens({TOKEN: {"seats": 2}})
        ended = [fleet.run(name, f"{CLIENT} enable {TOKEN}").returncode for name in fleet.hosts]
        assert ended == [0, 0, 1]
        ids = {fleet.run(name, "cat /etc/machine-id").stdout.decode().strip() for name in fleet.hosts}
        assert len(ids) == 3
        assert fleet.machines().keys() < ids


def test_clones_fight_over_one_registration(tmp_path: Path) -> None:
    with running_fleet(tmp_path, count=2, replicated="enable-10", writable=True) as fleet:
        fleet.set_tokens({TOKEN: {"seats": 1}})
        one, two = (Shell(fleet, name) for name in fleet.hosts)
        identity = (fleet.root(one.name).parent / "lab" / "machine-id").read_text(encoding="ascii")
        (fleet.root(two.name).parent / "lab" / "machine-id").write_text(identity, encoding="ascii")
        for host in (one, two):
            host.succeed(f"{CLIENT} enable {TOKEN}")
        one.succeed(f"{CLIENT} refresh")
        two.succeed(f"{CLIENT} refresh")
        assert one.status()["Livepatch"]["CheckState"] == "check-failed"
        assert two.status()["Livepatch"]["CheckState"] == "checked"
        assert '{"error": "Invalid Machine Token"}' in one.succeed("cat /var/log/syslog")
        assert list(fleet.machines()) == [identity.strip()]


@pytest.mark.parametrize("name", ["client-6", "client-10"])
def test_a_host_that_is_enabled_from_the_beginning_can_refresh(name: str, tmp_path: Path) -> None:
    with running_fleet(tmp_path, count=1, replicated=name) as fleet:
        host = Shell(fleet, "web-0001")
        host.succeed(f"{CLIENT} refresh")
        assert host.succeed("tail -1 /var/log/syslog").endswith("No updates available at this time.\n")
        assert "Successfully disabled" in host.succeed(f"{CLIENT} disable")
        assert fleet.machines() == {}


def test_the_daemon_ends_with_its_lab(tmp_path: Path) -> None:
    def daemon(fleet: Fleet) -> Path:
        return Path("/proc", str(json.loads((fleet.directory / "lab.json").read_text(encoding="utf-8"))["services"]))

    with running_fleet(tmp_path / "one", count=1) as fleet:
        process = daemon(fleet)
        assert process.exists()
    assert not process.exists()
    fleet = up(tmp_path / "two", count=1)
    process = daemon(fleet)
    shutil.rmtree(tmp_path / "two" / "hosts")
    assert os.waitpid(int(process.name), 0) == (int(process.name), 0)
    down(tmp_path / "two")


def test_copies_of_one_root_cannot_be_changed(tmp_path: Path) -> None:
    with running_fleet(tmp_path, count=2, replicated="not-enabled") as fleet:
        ended = fleet.run("web-0002", f"{CLIENT} enable {TOKEN}")
        assert ended.returncode == 64
        assert b"this host is a read-only copy" in ended.stderr
