# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The probe in shells of hosts: equal results, few processes, bounded answers, and no secrets in them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import select
import shutil
import socket
import socketserver
import subprocess
import threading
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import ServerReachability, read_facts
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.loaded_patches import ModuleFile
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections, parse
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.integration.shells import SHELLS, each_shell
from tests.lab.certificates import make_authority
from tests.lab.fleet import Fleet, running_fleet
from tests.lab.live_patches import module_files, signing
from tests.lab.livepatch_server import Server

NONCE = "0f" * 16
# Commands of the probe for which busybox has its own version.
APPLETS = ("awk", "base64", "cut", "date", "grep", "head", "id", "od", "sha512sum", "timeout", "tr")
HOSTS = (
    "xenial-generic",
    "client-2016",
    "client-6",
    "client-11",
    "secure-boot",
    "container-host",
    "bash-only",
    "trusty",
    "no-snapd",
    "lxd-container",
    "not-enabled",
    "not-installed",
    "not-root",
    "hostile-values",
)
# Hosts that have the file of the loaded module.
WITH_FILES = ("xenial-generic", "client-2016", "client-6", "client-11", "secure-boot", "not-root")
HOSTED = "https://livepatch.canonical.com"
NETWORK_TOOLS = ("curl", "wget", "openssl", "bash")
MOST_PROCESSES = 25
MOST_BYTES_OF_A_SIGNATURE = 2048
MOST_BYTES = 2_000_000
# Far more than a busy machine needs, and far less than a probe without limits.
MOST_SECONDS = 60
NOISE_BYTES = 50_000_000


class Answer(t.NamedTuple):
    """The answer of a host, and its duration."""

    stdout: str
    stderr: str
    seconds: float

    @property
    def sections(self) -> Sections:
        return parse(self.stdout, self.stderr, NONCE, files=True)

    @property
    def reach(self) -> ServerReachability:
        (reach,) = read_facts(self.sections).reachability
        return reach

    @property
    def size(self) -> int:
        return len(self.stdout) + len(self.stderr)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet for these tests only, because they change clients and files of its hosts."""
    with running_fleet(tmp_path_factory.mktemp("lab")) as fleet:
        for host in WITH_FILES:
            module_files.put(fleet, host, module_files.loaded(fleet, host).file())
        yield fleet


def probe(server: str = "", network: bool = False, verify: str = "auto") -> str:
    options = {"server": server, "network": "1" if network else "", "verify": verify, "certificate": "1"}
    return compose("probe", NONCE, options)


def hurried(script: str) -> str:
    """Return the script with every wait of more than two seconds reduced to one second."""
    script, bounds = re.subn(r"\b((?:exec_)?bounded) ([3-9]|1[0-9]) ", r"\1 1 ", script)
    script, times = re.subn(r"(--max-time|-T) 8\b", r"\1 1", script)
    assert bounds
    assert times
    return script


def look(lab: Fleet, host: str, script: str, shell: str = "/bin/sh") -> Answer:
    started = time.monotonic()
    done = lab.run(host, f"{shell} -s", script.encode())
    seconds = time.monotonic() - started
    return Answer(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), seconds)


def give(lab: Fleet, host: str, command: str) -> str:
    """Copy a command of this machine to a host; return its path there."""
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"{command} is not installed on this machine")
    place = lab.root(host).parent / "tmp" / command
    if not place.exists():
        shutil.copy(found, place)
    return f"/tmp/{command}"  # noqa: S108  (the host's own)


def install_client(lab: Fleet, host: str, script: str) -> None:
    client = lab.root(host) / "snap/bin/canonical-livepatch"
    client.unlink()
    client.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    client.chmod(0o755)


def path_of(lab: Fleet, host: str, *tools: str) -> str:
    """Return a PATH on which these are the only network tools."""
    folder = lab.root(host).parent / "tmp" / "-".join(["with", *tools])
    if not folder.exists():
        folder.mkdir()
        for name in lab.run(host, "ls /usr/bin").stdout.decode().split():
            if name not in NETWORK_TOOLS or name in tools:
                (folder / name).symlink_to(f"/usr/bin/{name}")
    return f"PATH=/tmp/{folder.name}"


# --- shells ---


def without_clock(sections: Sections) -> dict[str, t.Any]:
    """Return sections without the parts that differ between two checks of a host."""
    compared = {}
    for name, section in sections.items():
        output = "" if name == "clock" else re.sub(r"(?m)^/proc/uptime:.*$", "", section.output)
        texts = [re.sub(r"after \d+ ms", "", text) for text in (output, section.errors)]
        compared[name] = (section.status, section.exit_code, section.cut, *texts)
    return compared


@pytest.fixture(scope="module")
def by_sh(lab: Fleet) -> dict[str, Sections]:
    return {host: look(lab, host, probe(lab.server, network=True)).sections for host in HOSTS}


@each_shell
def test_every_shell_gives_the_same_sections(shell: str, lab: Fleet, by_sh: dict[str, Sections]) -> None:
    name, _blank, options = SHELLS[shell].partition(" ")
    # A busybox that was built to prefer its own commands finds a wget where there is none.
    finds_wget = lab.run("bash-only", f"{give(lab, 'bash-only', name)} {options} -c 'command -v wget'").stdout
    for host in [host for host in HOSTS if host != "bash-only" or not finds_wget]:
        answer = look(lab, host, probe(lab.server, network=True), f"{give(lab, host, name)} {options}")
        assert answer.sections.complete, (host, answer)
        assert list(answer.sections) == list(by_sh[host])
        assert without_clock(answer.sections) == without_clock(by_sh[host])


def test_busybox_tools_give_the_same_sections(lab: Fleet, by_sh: dict[str, Sections]) -> None:
    # Few hosts: its timeout looks only once a second whether the command has ended.
    for host in ("xenial-generic", "client-6", "secure-boot", "not-installed", "not-root", "hostile-values"):
        busybox = give(lab, host, "busybox")
        applets = lab.root(host).parent / "tmp" / "applets"
        applets.mkdir()
        for applet in APPLETS:
            (applets / applet).symlink_to(busybox)
        answer = look(lab, host, probe(lab.server, network=True), f"PATH=/tmp/applets:$PATH {busybox} ash")
        assert without_clock(answer.sections) == without_clock(by_sh[host])


def test_the_script_passes_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed on this machine")
    words = ["shellcheck", "--shell=sh", "--severity=style", "-"]
    checked = subprocess.run(words, input=probe(), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


# --- cost ---


class Trace(t.NamedTuple):
    """The result of strace: each process with its parent, and every command line with its process."""

    parents: dict[str, str]
    commands: list[tuple[str, str]]


def traced(lab: Fleet, host: str, script: str, environment: str = "") -> tuple[Answer, Trace]:
    strace = give(lab, host, "strace")
    options = "-f -qq -s 4096 -e signal=none -e trace=execve,clone,clone3,fork,vfork -o /tmp/trace"
    answer = look(lab, host, script, f"{environment} {strace} {options} /bin/sh")
    trace = Trace({}, [])
    begun: dict[str, str] = {}
    for line in (lab.root(host).parent / "tmp" / "trace").read_text(encoding="utf-8").splitlines():
        process, _blank, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[process] = call
        elif "resumed>" in call:
            call = begun.pop(process, "") + call
        if call.startswith("execve(") and "resumed>" not in call:
            trace.commands.append((process, call))
        child = re.search(r"\b(?:clone3?|v?fork)\b.*\) += (\d+)$", call)
        if child and "CLONE_THREAD" not in call:
            trace.parents[child[1]] = process
    return answer, trace


# Where it has most to do: snapd, a patch, the network, and either Secure Boot or a client that needs a second question.
# The hosted service has two servers, whose names nothing resolves here.
@pytest.mark.parametrize("hosted", [False, True])
@pytest.mark.parametrize(
    ("host", "statuses"), [("secure-boot", ["status json"]), ("client-6", ["status json", "status plain"])]
)
def test_the_probe_starts_few_processes(host: str, statuses: list[str], hosted: bool, lab: Fleet) -> None:
    answer, trace = traced(lab, host, probe(HOSTED if hosted else lab.server, network=True))
    sections = answer.sections
    assert "snapd " in sections["snapd"].output
    assert sections[statuses[-1]].exit_code == 0
    assert [name for name in sections if name.startswith("status")] == statuses
    assert any(name.startswith("module ") for name in sections)
    assert ("secure_boot_variable" in sections) == (host == "secure-boot")
    outcomes = [(each.tool, each.outcome) for each in read_facts(sections).reachability]
    assert outcomes == ([("curl", "refused")] * 2 if hosted else [("curl", "reached")])
    assert sections.complete
    clients = {process for process, command in trace.commands if '("/snap/bin/canonical-livepatch"' in command}
    assert clients
    assert "digest sha512 " in next(sections[name].output for name in sections if name.startswith("module "))
    own = [process for process, parent in trace.parents.items() if not clients & {process, parent}]
    started = len(["the shell itself", *own])
    assert len(trace.commands) > 10, "strace recorded nothing"
    assert started <= MOST_PROCESSES, f"{started} processes: {trace.parents}"


# --- the file of the loaded module ---


def report_of(answer: Answer) -> ModuleFile:
    facts = read_facts(answer.sections)
    assert facts.patches is not None
    (patch,) = facts.patches
    assert patch.file is not None
    return patch.file


def test_a_signature_needs_few_bytes(lab: Fleet) -> None:
    """The key is RSA-4096, like the one that signs all patches."""
    without, with_it = (look(lab, "xenial-generic", probe(verify=verify)) for verify in ("", "auto"))
    assert report_of(with_it).trailer
    assert len(report_of(with_it).trailer or b"") > 600, "a signature of another size says nothing"
    assert 0 < with_it.size - without.size <= MOST_BYTES_OF_A_SIGNATURE


@pytest.mark.parametrize("verify", ["auto", "file"])
@pytest.mark.parametrize("name", ["livepatch.ko", "kernel/patch-107.1.ko", None])
def test_the_module_file_is_found(name: str | None, verify: str, lab: Fleet) -> None:
    """A file of another module in the same folder is not used."""
    host = "container-host"
    content = module_files.loaded(lab, host).file()
    other = module_files.put(lab, host, signing.sign(signing.module(name="lkp_other"), module_files.vendor()), "a.ko")
    place = module_files.put(lab, host, content, name)
    try:
        file = report_of(look(lab, host, probe(verify=verify)))
    finally:
        place.unlink()
    assert file.path == f"/{place.relative_to(lab.root(host))}"
    if verify == "file":
        assert file.content == content
    else:
        end = content.rindex(signing.MARK) - 12 - int.from_bytes(content[-32:-28], "big")
        assert file.trailer == content[end:]
        assert file.digest == ("sha512", hashlib.sha512(content[:end]).digest())
        assert file.built == content[64 : 64 + len(file.built)]
        assert len(file.built) >= 36
    assert report_of(look(lab, host, probe(verify=verify))).access == "absent", "otherwise the file is missing"
    other.unlink()


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_the_digest_covers_the_signed_content(hash_name: str, lab: Fleet) -> None:
    host = "container-host"
    content = signing.module(name=module_files.loaded(lab, host).module)
    signer = signing.make_signer("Curve", "p256")
    place = module_files.put(lab, host, signing.sign(content, signer, hash_name))
    file = report_of(look(lab, host, probe()))
    place.unlink()
    assert file.digest == (hash_name, hashlib.new(hash_name, content).digest())


def test_an_unreadable_file_is_denied(lab: Fleet) -> None:
    assert report_of(look(lab, "not-root", probe())).access == "denied"
    assert report_of(look(lab, "container-host", probe())).access == "absent"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF",
        b"\x7fELF\2\1" + b"\xff" * 200,
        b"\x7fELF\2\1" + b"\0" * 500,
        signing.elf({}, bits=32),
        signing.elf({}, order=">"),
        b"#!/bin/sh\n" * 1000,
    ],
    ids=["empty", "cut", "all ones", "all zeros", "32 bits", "big-endian", "text"],
)
@each_shell
def test_other_files_give_no_digest(content: bytes, shell: str, lab: Fleet) -> None:
    host = "container-host"
    name, _blank, options = SHELLS[shell].partition(" ")
    place = module_files.put(lab, host, content)
    answer = look(lab, host, probe(), f"{give(lab, host, name)} {options}")
    place.unlink()
    assert answer.sections.complete
    file = report_of(answer)
    assert (file.access, file.trailer, file.digest) == ("ok", None, None)


def test_an_oversized_file_is_not_transferred(lab: Fleet) -> None:
    host = "container-host"
    content = module_files.loaded(lab, host).file()
    place = module_files.put(lab, host, content[:-40] + bytes(9 << 20) + content[-40:])
    large = look(lab, host, probe(verify="file"))
    place.write_bytes(content + bytes((8 << 20) - len(content)))
    fits = look(lab, host, probe(verify="file"))
    place.unlink()
    assert report_of(large).content is None
    assert large.size < 13_000_000
    assert len(report_of(fits).content or b"") == 8 << 20


def test_the_certificate_is_sent_on_demand(lab: Fleet) -> None:
    keys = lab.root("container-host") / "snap/canonical-livepatch/current/keys"
    folder = lab.root("container-host") / "snap/canonical-livepatch" / keys.parent.readlink() / "keys"
    folder.mkdir()
    (folder / "livepatch-kmod.x509").write_bytes(module_files.vendor().der)
    assert read_facts(look(lab, "container-host", probe()).sections).certificate == module_files.vendor().der
    script = compose("probe", NONCE, {"server": "", "network": "", "verify": "auto", "certificate": ""})
    assert read_facts(look(lab, "container-host", script).sections).certificate is None


# --- noise ---


def assert_bounded(answer: Answer) -> None:
    assert answer.seconds < MOST_SECONDS
    assert answer.size < MOST_BYTES
    assert answer.sections.complete
    assert answer.sections.output("architecture") == "amd64"


def test_large_output_is_cut(lab: Fleet) -> None:
    answer = look(lab, "hostile-noise", probe())
    assert (lab.root("hostile-noise") / "etc/os-release").stat().st_size >= NOISE_BYTES
    assert_bounded(answer)
    assert answer.sections["status json"].cut
    assert answer.sections["config"].output.strip()


# awk reads a long line slowly: a second for 10 MB.
@pytest.mark.parametrize("line", ["x" * (NOISE_BYTES // 10), "a=b\n" * (NOISE_BYTES // 4)], ids=["one", "many"])
def test_file_size_does_not_matter(line: str, lab: Fleet) -> None:
    """The next file is still read."""
    release = lab.root("stale") / "etc/os-release"
    release.unlink()
    release.write_text(line, encoding="ascii")
    answer = look(lab, "stale", probe())
    assert_bounded(answer)
    assert len(answer.sections["files"].output) < 100_000
    assert "/proc/version_signature:Ubuntu 4.4.0-" in answer.sections["files"].output


def test_endless_output_is_cut(lab: Fleet) -> None:
    install_client(lab, "tampered", 'exec yes "$*"')
    answer = look(lab, "tampered", hurried(probe(network=True, server="https://127.0.0.1:1")))
    assert_bounded(answer)
    status = answer.sections["status json"]
    assert (status.status, status.cut) == ("timeout", True)
    assert answer.sections["config"].cut
    assert answer.reach.outcome == "refused"


def test_endless_settings_are_cut(lab: Fleet) -> None:
    """The shell keeps them in memory, which has no other limit."""
    install_client(lab, "tampered", '[ "$1" = config ] || exit 1; exec yes "$*"')
    assert_bounded(look(lab, "tampered", probe()))


def test_a_hanging_client_is_ended(lab: Fleet) -> None:
    install_client(lab, "applying", "echo started; exec sleep 1000")
    answer = look(lab, "applying", hurried(probe()))
    assert_bounded(answer)
    assert (answer.sections["status json"].status, answer.sections["status json"].output) == ("timeout", "started\n")
    assert answer.sections["config"].status == "ok"


def on_this_machine(tmp_path: Path, script: str, client: str) -> Answer:
    """Run the probe with this client, and with the real uptime, which the hosts of the lab do not have."""
    command = tmp_path / "canonical-livepatch"
    command.write_text(f"#!/bin/sh\necho $$ >>{tmp_path}/pids\n{client}\n", encoding="utf-8")
    command.chmod(0o755)
    started = time.monotonic()
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-s"], input=script, env=environment, capture_output=True, text=True, check=False)
    return Answer(done.stdout, done.stderr, time.monotonic() - started)


def test_both_questions_for_the_status_share_a_limit(tmp_path: Path) -> None:
    """The first one fails after a second of its three; the second one would take its whole limit again."""
    client = "case $* in config) ;; *json) sleep 1; exit 1 ;; *) exec sleep 1000 ;; esac"
    answer = on_this_machine(
        tmp_path, probe().replace("bounded 9", "bounded 3").replace("lp_start + 9", "lp_start + 3"), client
    )
    assert answer.sections.complete
    assert answer.sections["status json"].exit_code == 1
    assert answer.sections["status plain"].status == "timeout"
    assert 3 * 0.9 < answer.seconds < 3 + 2


def ends(pid: str) -> bool:
    """Return True if the process has ended, or ends now: the signal that kills it has been sent already."""
    try:
        process = os.pidfd_open(int(pid))
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 5)[0])
    finally:
        os.close(process)


def test_no_process_survives_the_probe(tmp_path: Path) -> None:
    answer = on_this_machine(tmp_path, hurried(probe()), "trap '' TERM; while :; do sleep 0.1; done")
    assert answer.sections["status json"].status == "timeout"
    pids = (tmp_path / "pids").read_text(encoding="ascii").split()
    assert len(pids) == 2, "the configuration and the status"
    assert [pid for pid in pids if not ends(pid)] == []


def test_a_script_that_ends_early_is_incomplete(lab: Fleet) -> None:
    script = probe().replace("    slow_questions\n", "    exit 0\n")
    assert script != probe()
    answer = look(lab, "xenial-generic", script)
    assert not answer.sections.complete
    assert "containers" in answer.sections


# --- secrets ---


@pytest.mark.parametrize(
    "text",
    [
        "machine-token: {}",
        'machine-token: "{}"',
        "machine-token: '{}'",
        '"Machine-Token":"{}"',
        '  "Machine-Token" : "{}",',
        "Machine-Token: {}, and more",
        "Successfully enabled device. Using machine-token: {}",
        "PUT /enable?auth-token={}: refused",
        'http-proxy: "http://proxy-user:{}@proxy.test:3128"',
        'https-proxy: "socks5://proxy-user:with@and/{}@proxy.test:3128"',
    ],
)
@pytest.mark.parametrize("stream", [1, 2])
def test_secrets_stay_on_the_host(text: str, stream: int, lab: Fleet) -> None:
    secret = "5ec2e7" * 5
    said = text.format(secret).replace("'", "'\\''")
    install_client(lab, "unverified", f"echo before >&{stream}; echo '{said}' >&{stream}; echo after >&{stream}")
    answer = look(lab, "unverified", probe())
    assert secret not in answer.stdout + answer.stderr
    assert "removed" in answer.stdout + answer.stderr
    # The errors of `config` are not sent.
    for name in ("status json", "config") if stream == 1 else ("status json",):
        section = answer.sections[name]
        assert {"before", "after"} <= set(f"{section.output}\n{section.errors}".splitlines())


# --- network ---


class Servers(t.NamedTuple):
    """Addresses by the answer that a host gets."""

    trusted: str
    untrusted: str
    closed: str
    silent: str


@pytest.fixture(scope="module")
def servers(lab: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("untrusted")
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _each in range(3)]
        untrusted, closed, silent = (f"https://127.0.0.1:{each.getsockname()[1]}" for each in listeners)
        listeners[1].close()
        server = Server(listeners[0], make_authority(folder).server, folder)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        yield Servers(lab.server, untrusted, closed, silent)


@pytest.mark.parametrize(
    ("tools", "used", "outcomes"),
    [
        (NETWORK_TOOLS, "curl", ("reached", "untrusted", "refused", "refused")),
        (("curl",), "curl", ("reached", "untrusted", "refused", "refused")),
        (("wget",), "wget", ("reached", "untrusted", "refused", "refused")),
        (("openssl", "bash"), "openssl", ("reached", "untrusted", "refused", "refused")),
        # It opens a connection and cannot report more.
        (("bash",), "bash", ("reached", "reached", "refused", "reached")),
        ((), "none", ("no_tool", "no_tool", "no_tool", "no_tool")),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_every_network_tool_reaches_the_server(
    tools: tuple[str, ...], used: str, outcomes: tuple[str, ...], lab: Fleet, servers: Servers
) -> None:
    host = "xenial-generic"
    path = path_of(lab, host, *tools)
    for address, outcome in zip(servers, outcomes, strict=True):
        reach = look(lab, host, hurried(probe(address, network=True)), f"{path} /bin/sh").reach
        assert (reach.url, reach.tool, reach.outcome) == (address, used, outcome), reach
        assert not reach.by_proxy


@pytest.mark.parametrize("tool", ["curl", "wget"])
@pytest.mark.parametrize("status", [403, 503])
def test_a_server_error_is_an_answer(tool: str, status: int, lab: Fleet) -> None:
    path = path_of(lab, "xenial-generic", tool)
    lab.set_faults(status=status)
    try:
        answer = look(lab, "xenial-generic", probe(lab.server, network=True), f"{path} /bin/sh")
    finally:
        lab.set_faults()
    assert (answer.reach.tool, answer.reach.outcome) == (tool, "reached")


def test_without_permission_no_connection_is_made(lab: Fleet) -> None:
    before = len(lab.requests())
    assert "network" not in look(lab, "xenial-generic", probe(lab.server)).sections
    assert len(lab.requests()) == before


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy for CONNECT that requires a name and a password, and connects every tunnel to loopback."""

    daemon_threads = True
    password = "made-up-5ec2e7"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.tunnels: list[str] = []

    @property
    def address(self) -> str:
        return f"http://proxy-user:{self.password}@127.0.0.1:{self.server_address[1]}"


class Tunnel(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(65536)
        credentials = base64.b64encode(f"proxy-user:{self.server.password}".encode())
        if b"Proxy-Authorization: Basic " + credentials not in head:
            self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        target = head.split()[1].decode()
        self.server.tunnels.append(target)
        with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as peer:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other = {self.request: peer, peer: self.request}
            while True:
                for side in select.select(list(other), [], [])[0]:
                    data = side.recv(65536)
                    if not data:
                        return
                    other[side].sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()


def configured(**settings: str) -> str:
    """Return a client that prints these settings only."""
    lines = "\n".join(f'{key.replace("_", "-")}: "{value}"' for key, value in settings.items())
    return f"[ \"$1\" = config ] || exit 1\ncat <<'END'\n{lines}\nEND"


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_the_proxy_password_is_no_argument(tool: str, lab: Fleet, proxy: Proxy) -> None:
    host = "crash-lock"
    install_client(lab, host, configured(https_proxy=proxy.address, remote_server=lab.server))
    answer, trace = traced(lab, host, probe(network=True), path_of(lab, host, tool))
    assert (answer.reach.tool, answer.reach.outcome) == (tool, "reached"), answer.reach
    assert answer.reach.by_proxy
    assert proxy.tunnels == [lab.server.removeprefix("https://")]
    assert any(f"/{tool}" in command for _process, command in trace.commands)
    assert [command for _process, command in trace.commands if proxy.password in command] == []
    assert proxy.password not in answer.stdout + answer.stderr
    assert "proxy-user" not in answer.stdout + answer.stderr


def test_a_proxy_needs_a_capable_tool(lab: Fleet, proxy: Proxy) -> None:
    host = "crash-lock"
    install_client(lab, host, configured(https_proxy=proxy.address, remote_server=lab.server))
    reach = look(lab, host, probe(network=True), f"{path_of(lab, host, 'openssl', 'bash')} /bin/sh").reach
    assert (reach.by_proxy, reach.outcome) == (True, "no_tool")
    assert proxy.tunnels == []


def test_a_direct_server_needs_no_proxy(lab: Fleet, proxy: Proxy) -> None:
    host = "crash-lock"
    settings = {"https_proxy": proxy.address, "no_proxy": "livepatch.lab.test", "remote_server": lab.server}
    install_client(lab, host, configured(**settings))
    assert look(lab, host, probe(network=True), f"{path_of(lab, host, 'curl')} /bin/sh").reach.outcome == "reached"
    assert proxy.tunnels == []
