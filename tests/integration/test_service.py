# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The lab's server: it keeps its seats, it serves what is published, and it fails as it is told."""

from __future__ import annotations

import concurrent.futures
import hashlib
import time
import typing as t
from collections.abc import Iterator

import pytest
import requests

from tests.lab import Fleet, running_fleet
from tests.lab.live_patches import signing

pytestmark = pytest.mark.lab

KERNEL = "4.4.0-168.197-generic"
VENDOR = signing.make_signer("Vendor")
QUESTION = {"kernel": KERNEL, "architecture": "amd64"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("lab"), count=1) as fleet:
        yield fleet


@pytest.fixture
def fleet(lab: Fleet) -> Iterator[Fleet]:
    """The lab's server without memory of the test before."""
    lab.set_tokens({"token-of-three": {"seats": 3}, "token-of-one": {"seats": 1, "tier": "stable"}, "boundless": {}})
    lab.state.set_machines({})
    lab.state.remove_patches()
    yield lab
    lab.set_faults()
    lab.set_proxy()


def ask(fleet: Fleet, method: str, path: str, body: t.Any = None, **options: t.Any) -> requests.Response:
    options = {"verify": str(fleet.certificate), **options}
    address = options.pop("address", fleet.server).replace("livepatch.lab.test", "127.0.0.1")
    return requests.request(method, address + path, json=body, timeout=20, **options)


def enable(fleet: Fleet, machine: str, token: str) -> tuple[int, t.Any]:
    response = ask(fleet, "POST", f"/v1/client/{machine}", {"auth-token": token})
    return response.status_code, response.json()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- seats


def test_a_client_of_2016_enables_checks_and_leaves(fleet: Fleet) -> None:
    refused = ask(fleet, "POST", "/api/machine-tokens", {"auth-token": "nonsense", "machine-id": "m1"})
    assert (refused.status_code, refused.json()) == (403, {"error": "Unknown Auth-Token"})
    given = ask(fleet, "POST", "/api/machine-tokens", {"auth-token": "token-of-one", "machine-id": "m1"})
    assert given.status_code == 200
    token = given.json()["machine-token"]
    assert fleet.machines()["m1"]["machine_token"] == token
    for headers in ({}, bearer("another")):
        wrong = ask(fleet, "PUT", "/api/machine/m1", QUESTION, headers=headers)
        assert (wrong.status_code, wrong.json()) == (403, {"error": "Invalid Machine Token"})
    checked = ask(fleet, "PUT", "/api/machine/m1", {**QUESTION, "architecture": "x86_64"}, headers=bearer(token))
    assert checked.json() == {"supported": "supported", "patch": None}
    assert fleet.machines()["m1"]["checked_at"] is not None
    assert ask(fleet, "DELETE", "/api/machine/m1", headers=bearer(token)).status_code == 200
    assert fleet.machines() == {}


def test_a_client_since_2021_registers_and_learns_its_tier(fleet: Fleet) -> None:
    status, given = enable(fleet, "m1", "token-of-one")
    assert (status, given["tier"]) == (200, "stable")
    assert ask(fleet, "GET", "/v1/client/m1/info").json()["tier"] == "stable"
    assert ask(fleet, "GET", "/v1/client/m2/info").status_code == 403
    assert ask(fleet, "GET", "/v1/client/m1/info", headers=bearer("another")).status_code == 403
    assert ask(fleet, "POST", "/v1/client/m1/updates", {}).json() == {"error": "missing kernel"}


def test_seats_are_never_more_than_the_token_has(fleet: Fleet) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: enable(fleet, f"m{number}", "token-of-three"), range(8)))
    assert sorted(status for status, _body in answers) == [200] * 3 + [403] * 5
    assert {body["error"] for status, body in answers if status == 403} == {"machine limit reached for this token"}
    assert len(fleet.machines()) == 3


def test_a_machine_that_registers_again_keeps_its_seat_and_ends_its_twin(fleet: Fleet) -> None:
    _status, first = enable(fleet, "m1", "token-of-one")
    assert enable(fleet, "m2", "token-of-one")[0] == 403
    status, second = enable(fleet, "m1", "token-of-one")
    assert status == 200
    assert ask(fleet, "POST", "/v1/client/m1/updates", QUESTION, headers=bearer(first["machine-token"])).ok is False
    assert ask(fleet, "POST", "/v1/client/m1/updates", QUESTION, headers=bearer(second["machine-token"])).ok
    assert enable(fleet, "m1", "boundless")[0] == 200
    assert enable(fleet, "m2", "token-of-one")[0] == 200


def test_a_freed_seat_can_be_taken(fleet: Fleet) -> None:
    fleet.state.set_machines({"old": {"auth_token": "token-of-one"}})
    assert enable(fleet, "m1", "token-of-one")[0] == 403
    assert ask(fleet, "DELETE", "/v1/client/old").ok
    assert ask(fleet, "DELETE", "/v1/client/old").status_code == 403
    assert enable(fleet, "m1", "token-of-one")[0] == 200


def test_the_log_holds_the_token_and_nothing_else_of_a_body(fleet: Fleet) -> None:
    enable(fleet, "m1", "token-of-one")
    assert fleet.requests()[-1] == {
        "method": "POST",
        "path": "/v1/client/m1",
        "query": {},
        "auth_token": "token-of-one",
    }


# --- patches


def test_the_newest_patch_of_the_tier_is_named_and_is_what_it_is_said_to_be(fleet: Fleet) -> None:
    archives = {}
    for version, tier in (("65.1", "stable"), ("9.2", "stable"), ("66.1", "updates"), ("67.1", "proposed")):
        name, archives[version] = signing.patch_for(KERNEL, version, VENDOR)
        fleet.add_patch(name, archives[version], tier=tier, fixes=["CVE-2016-0758"])
    fleet.add_patch(*signing.patch_for("4.4.0-169.198-generic", "70.1", VENDOR))
    for token, version in (("token-of-one", "65.1"), ("token-of-three", "66.1")):
        enable(fleet, "m1", token)
        patch = ask(fleet, "POST", "/v1/client/m1/updates", QUESTION).json()["patch"]
        assert (patch["version"], patch["fixes"]) == (version, ["CVE-2016-0758"])
        assert patch["filename"] == f"livepatch-{KERNEL}-{version}-amd64.tar.bz2"
        got = requests.get(patch["url"], verify=str(fleet.certificate), timeout=20)
        assert got.content == archives[version]
        assert hashlib.sha256(got.content).hexdigest() == patch["sha256"]
    wrong = {"kernel": "4.8.0-1.1-generic", "architecture": "amd64"}
    assert ask(fleet, "POST", "/v1/client/m1/updates", wrong).json() == {
        "supported": "kernel-end-of-life",
        "patch": None,
    }


def test_a_file_is_sent_whole_in_parts_or_not_again(fleet: Fleet) -> None:
    fleet.state.put_file("list.yml", b"0123456789")
    whole = ask(fleet, "GET", "/files/list.yml", address=fleet.on_premises)
    tag = whole.headers["ETag"]
    assert whole.content == b"0123456789"
    part = ask(fleet, "GET", "/files/list.yml", headers={"Range": "bytes=4-", "If-Range": tag})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"456789", "bytes 4-9/10")
    assert fleet.requests()[-1]["range"] == "bytes=4-"
    assert ask(fleet, "GET", "/files/list.yml", headers={"Range": "bytes=10-"}).status_code == 416
    assert ask(fleet, "GET", "/files/list.yml", headers={"If-None-Match": tag}).status_code == 304
    fleet.state.put_file("list.yml", b"abcdefghijk")
    changed = ask(fleet, "GET", "/files/list.yml", headers={"Range": "bytes=4-", "If-Range": tag})
    assert (changed.status_code, changed.content) == (200, b"abcdefghijk")
    assert ask(fleet, "GET", "/files/list.yml", headers={"If-None-Match": tag}).status_code == 200
    assert ask(fleet, "GET", "/files/none").status_code == 404
    assert ask(fleet, "GET", "/v1/patches/none").status_code == 404
    assert ask(fleet, "DELETE", "/files/list.yml").status_code == 405


# --- faults


def test_a_fault_holds_where_and_as_often_as_it_is_told(fleet: Fleet) -> None:
    fleet.set_faults({"path": "/files/", "status": 503, "count": 2}, {"method": "POST", "status": 403})
    fleet.state.put_file("a", b"content")
    assert [ask(fleet, "GET", "/files/a").status_code for _time in range(3)] == [503, 503, 200]
    assert ask(fleet, "GET", "/").status_code == 200
    assert ask(fleet, "POST", "/").status_code == 403
    fleet.set_faults({"path": "/files/", "status": 503, "count": 1})
    assert [ask(fleet, "GET", "/files/a").status_code for _time in range(2)] == [503, 200]


def test_every_fault_of_a_body_is_seen(fleet: Fleet) -> None:
    content = b"0123456789" * 1000
    fleet.state.put_file("a", content)
    for fault in ({"cut": 5000}, {"length": 10}, {"reset": True}):
        fleet.set_faults(**fault)
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            ask(fleet, "GET", "/files/a")
    fleet.set_faults(spoil=True)
    spoilt = ask(fleet, "GET", "/files/a").content
    assert (len(spoilt), spoilt != content) == (10_000, True)
    fleet.set_faults(slow=20_000)
    started = time.monotonic()
    assert ask(fleet, "GET", "/files/a").content == content
    assert time.monotonic() - started > 0.4
    fleet.set_faults(ranges=False)
    assert ask(fleet, "GET", "/files/a", headers={"Range": "bytes=4-"}).content == content


def test_a_reply_can_name_a_wrong_hash(fleet: Fleet) -> None:
    name, archive = signing.patch_for(KERNEL, "65.1", VENDOR)
    sha256 = fleet.add_patch(name, archive)
    enable(fleet, "m1", "token-of-one")
    fleet.set_faults(hash=True)
    named = ask(fleet, "POST", "/v1/client/m1/updates", QUESTION).json()["patch"]["sha256"]
    assert (len(named), named != sha256) == (64, True)


@pytest.mark.parametrize(
    ("certificate", "message"),
    [("stranger", "unable to get local issuer"), ("misnamed", "mismatch"), ("expired", "expired")],
)
def test_a_wrong_certificate_is_shown(fleet: Fleet, certificate: str, message: str) -> None:
    fleet.set_faults(certificate=certificate, count=1)
    with pytest.raises(requests.exceptions.SSLError, match=message):
        ask(fleet, "GET", "/")
    assert ask(fleet, "GET", "/").ok


def test_connections_are_refused_until_the_server_is_well(fleet: Fleet) -> None:
    for _time in range(2):
        fleet.set_faults(refuse=True)
        for address in (fleet.server, fleet.on_premises):
            with pytest.raises(requests.ConnectionError, match="refused"):
                ask(fleet, "GET", "/", address=address)
        fleet.set_faults()
        assert ask(fleet, "GET", "/").ok
        assert ask(fleet, "GET", "/", address=fleet.on_premises).ok


@pytest.mark.parametrize(
    "fault",
    [{"statuz": 503}, {"path": "/"}, {"refuse": True, "path": "/"}, {"refuse": True, "count": 1}, {"certificate": "x"}],
)
def test_a_fault_that_is_none_is_refused(fleet: Fleet, fault: dict[str, t.Any]) -> None:
    with pytest.raises(ValueError, match=r"fault|connection|certificate"):
        fleet.set_faults(fault)


# --- the proxy


def test_the_proxy_leads_to_the_server_and_says_who_came(fleet: Fleet) -> None:
    by_proxy = f"curl -sS -m 20 -o /dev/null -w '%{{http_code}}' -x {fleet.proxy}"
    reached = fleet.run("web-0001", f"{by_proxy} {fleet.behind_proxy}/")
    assert reached.stdout == b"200", reached.stderr
    assert fleet.proxied()[-1] == {
        "method": "CONNECT",
        "target": fleet.behind_proxy.removeprefix("https://"),
        "authorized": True,
    }
    assert fleet.run("web-0001", f"curl -sS -m 20 {fleet.behind_proxy}/").returncode == 6
    assert fleet.run("web-0001", f"{by_proxy} {fleet.on_premises}/").stdout == b"200"
    assert fleet.proxied()[-1]["method"] == "GET"


def test_the_proxy_asks_for_a_password_where_it_is_told(fleet: Fleet) -> None:
    fleet.set_proxy("user", "made-up-91af")
    line = f"curl -sS -m 20 -o /dev/null -w '%{{http_code}}' {fleet.server}/ -x"
    assert fleet.run("web-0001", f"{line} {fleet.proxy}").returncode != 0
    assert fleet.proxied()[-1]["authorized"] is False
    with_password = fleet.proxy.replace("://", "://user:made-up-91af@")
    assert fleet.run("web-0001", f"{line} {with_password}").stdout == b"200"
    assert fleet.proxied()[-1]["authorized"] is True
