# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connection plugin of the lab: it plays a host that controls every byte of its answers."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hostile
short_description: Play a hostile host
description:
  - Nothing is executed. The plugin takes the nonce from the script, and returns the answer of a scenario.
  - Up to its stage, the host answers like an honest one, so that a playbook continues with it.
author:
  - The kernelops.livepatch contributors
options:
  host:
    description: The name of the host.
    type: str
    required: true
    vars:
      - name: inventory_hostname
  scenario:
    description: The name of the scenario.
    type: str
    required: true
    vars:
      - name: hostile_scenario
  stage:
    description: The first kind of script to which the answer is that of the scenario.
    type: str
    choices: [facts, plan, change]
    default: facts
    vars:
      - name: hostile_stage
  claims:
    description: What the host is according to its honest answers.
    type: str
    choices: [protected, enrollable, outdated]
    default: protected
    vars:
      - name: hostile_claims
"""

import base64
import hashlib
import json
import lzma
import re
import secrets
import subprocess
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

_NONCE = re.compile(rb"^lp_nonce=([0-9a-f]+)$", re.MULTILINE)
_MEGABYTE = 1 << 20
_FULL, _RELEASE, _NEW = "4.4.0-210.242-generic", "4.4.0-210-generic", "4.4.0-215-generic"
_MODULE = b"lkp_Ubuntu_4_4_0_210_242_generic_65"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e".encode()
PLANTED = "PLANTED_BY_A_TEMPLATE"
"""The variable of the environment that names a file. The file exists if a text of a host was evaluated."""
TEMPLATE = b"{{ lookup('ansible.builtin.pipe', 'touch $" + PLANTED.encode() + b"') }}"

STAGES = ("facts", "plan", "change")
_Parts = dict[bytes, bytes]


def _stage_of(script: bytes) -> str:
    """Return the kind of a script: it collects facts, it is the plan of a change, or it makes the change."""
    if b"step_enable()" in script or b"order_reboot()" in script:
        return "change"
    if b"in_transition()" in script:
        return "change" if re.search(rb"^lp_refresh=[0-9]", script, re.MULTILINE) else "plan"
    if b"kernel_files()" in script:
        return "plan" if b"\nlp_task=look\n" in script else "change"
    return "plan" if b"client_read()" in script else "facts"


# --- what an honest host would send


def _files(host: str) -> _Parts:
    return {
        b"/etc/os-release": b'ID=ubuntu\nVERSION_ID="16.04"\nVERSION_CODENAME=xenial',
        b"/etc/machine-id": hashlib.sha256(host.encode()).hexdigest()[:32].encode(),
        b"/proc/sys/kernel/osrelease": _RELEASE.encode(),
        b"/proc/sys/kernel/version": b"#242-Ubuntu SMP Fri Apr 16 09:57:56 UTC 2021",
        b"/proc/version_signature": f"Ubuntu {_FULL} 4.4.262".encode(),
        b"/proc/uptime": b"93784.25 180000.00",
    }


def _status(state: str = "nothing-to-apply", version: str = "", **more: t.Any) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    livepatch = {"CheckState": "checked", "State": state, "Version": version, **more}
    entry = {"Kernel": _FULL, "Running": True, "Livepatch": livepatch, "Supported": "supported"}
    status = {
        "Client-Version": "10.8.3",
        "Architecture": "amd64",
        "Last-Check": now,
        "Status": [entry],
        "tier": "updates",
    }
    return json.dumps(status).encode()


_CLAIMED_STATES = {"protected": "nothing-to-apply", "outdated": "kernel-upgrade-required"}


def _client(claims: str) -> _Parts:
    enabled = claims in _CLAIMED_STATES
    status = _status(_CLAIMED_STATES[claims]) if enabled else b"Machine is not enabled. Please run 'sudo enable'"
    return {
        b"snapd": b"snap    2.58\nsnapd   2.58\nseries  16",
        b"seeded": b"",
        b"status json": status,
        b"config": b'log-level: "warning"',
        b"client_files": b"absent /var/snap/canonical-livepatch/common/machine-token",
        b"client_mode": b"normal",
        b"client_kernel_mode": b"",
        b"client_fingerprints": b"",
        b"client_tools": b"curl\nnc",
        b"client_snap": b"Name Version Rev Tracking Publisher Notes\ncanonical-livepatch 10.8.3 95 latest/stable c -",
        b"client_pro": b'{"attached": false}',
        b"refresh": b"",
        **{f"step {number}".encode(): b"transport socket" for number in range(1, 9)},
    }


def _kernels(script: bytes) -> _Parts:
    image, new = f"linux-image-{_RELEASE}", f"linux-image-{_NEW}"
    return {
        b"packages": f"{image} 4.4.0-210.242 install ok installed\nlinux-image-generic 1 install ok installed".encode(),
        b"held": b"",
        b"available": new.encode(),
        b"metapackages": f"linux-image-generic\n  Depends: {new}\n".encode(),
        b"interrupted": b"",
        b"simulation": f"Inst {new} (4.4.0-215.248 Ubuntu [amd64])\n".encode(),
        b"start": b"started",
        b"run": b"ended 0" if b"\nlp_task=wait\n" in script else b"absent",
        b"kernel_files": (
            f"ok /boot/vmlinuz-{_NEW}\ncontent /boot/vmlinuz-{_NEW} 7000000 x4d5a x55aaeb6648647253\n"
            f"ok /boot/initrd.img-{_NEW}\ncontent /boot/initrd.img-{_NEW} 40000000 x1f8b0800 x00\nentry /vmlinuz"
        ).encode(),
        b"boot_loader": f"ok /vmlinuz\nlink /vmlinuz /boot/vmlinuz-{_NEW}".encode(),
        b"boot_id": secrets.token_hex(16).encode(),
        b"release": _RELEASE.encode(),
        **dict.fromkeys((b"lock", b"note", b"stop", b"down", b"saved", b"not_running"), b""),
    }


def _honest(host: str, claims: str, script: bytes, files: _Parts) -> _Parts:
    contents = {**_files(host), **files}
    existing = [*contents, b"/sys/kernel/livepatch", b"/sys/kernel", b"/boot", b"/snap/bin/canonical-livepatch"]
    return {
        b"user": b"0",
        b"clock": str(int(time.time())).encode(),
        b"paths": b"\n".join(b"ok " + path for path in existing),
        b"files": b"\n".join(path + b":" + line for path, text in contents.items() for line in text.split(b"\n")),
        b"command_line": b"",
        b"machine": b"x86_64",
        b"architecture": b"amd64",
        b"containers": b"docker 1\nlxd 0\npodman 0",
        b"virtualization": b"kvm",
        b"keys": b"",
        **_client(claims),
        **_kernels(script),
    }


# --- scenarios


def _fixes(count: int) -> dict[str, t.Any]:
    return {"Fixes": [{"Name": f"CVE-2016-{number:06}", "Patched": True} for number in range(count)]}


def _laughs(levels: int) -> bytes:
    lines = [b"client-version: 9.4.2", b"a0: &a0 [x, x]"]
    lines += [b"a%d: &a%d [*a%d, *a%d]" % (at, at, at - 1, at - 1) for at in range(1, levels)]
    return b"\n".join([*lines, b"status: *a%d" % (levels - 1)])


def _elf(sections: int) -> bytes:
    """Return an ELF file that promises as many sections as its header can name, at places that do not exist."""
    header = bytearray(64)
    header[:7] = b"\x7fELF\x02\x01\x01"
    header[16:20] = b"\x01\x00\x3e\x00"
    header[40:48] = (64).to_bytes(8, "little")
    header[58:64] = (64).to_bytes(2, "little") + sections.to_bytes(2, "little") + b"\xfe\xff"
    return bytes(header) + b"\xff" * 64


def _module(content: bytes) -> _Parts:
    report = b"note 04000000\nfile ok /var/snap/" + _MODULE + b".ko\ndigest sha512 " + b"ab" * 64
    return {
        b"status json": _status("applied", "65.1"),
        b"module " + _MODULE: report,
        b"file " + _MODULE: content,
    }


_LOADED = {
    b"/sys/kernel/livepatch/" + _MODULE + b"/enabled": b"1",
    b"/sys/module/" + _MODULE + b"/taint": b"OEK",
}
_TEXTS = (b"machine", b"architecture", b"virtualization", b"snapd", b"config", b"client_log", b"journal", b"kernel_log")
_TEXTS_OF_STEPS = (b"refresh", b"log", b"simulation", b"tasks", b"step 1", b"lock", b"packages", b"grub_cfg", b"saved")


def _everywhere(text: bytes) -> _Parts:
    """Replace every text that a record, a message or a result can quote."""
    encoded = text.decode("utf-8", "replace")
    status = _status(encoded, encoded, CheckState=encoded, Fixes=[{"Name": encoded, "Bug": encoded, "Patched": True}])
    return {**dict.fromkeys((*_TEXTS, *_TEXTS_OF_STEPS), text), b"status json": status}


FILES: dict[str, _Parts] = {
    "machine_id": {b"/etc/machine-id": b"\xff\xfe\x80" * 11},
    "machine_id_long": {b"/etc/machine-id": b"a" * _MEGABYTE},
    "os_release": {b"/etc/os-release": b"ID='" + b"x" * _MEGABYTE},
    "os_release_escapes": {b"/etc/os-release": b'ID="' + b'\\"' * _MEGABYTE},
    "os_release_code": {b"/etc/os-release": b"ID=$(touch x)\nVERSION_ID=`id`\nPRETTY_NAME=" + TEMPLATE},
    "uptime": {b"/proc/uptime": b"9" * 1000 + b".1 1"},
    "kernel_name": {b"/proc/sys/kernel/osrelease": b"4.4.0-" + b"1" * 5000 + b"-generic" * 1000},
    "signature": {b"/proc/version_signature": b"Ubuntu " + b"4.4.0-1." * 100_000},
    "module_base64": _LOADED,
    "module_huge": _LOADED,
    "module_elf": _LOADED,
    "module_xz": _LOADED,
}
"""Files that replace those of an honest host, by scenario."""

SECTIONS: dict[str, t.Callable[[], _Parts]] = {
    "fixes": lambda: {b"status json": _status("applied", "65.1", **_fixes(100_000))},
    "many_fixes": lambda: {b"status json": _status("applied", "65.1", **_fixes(5000))},
    "fix_names": lambda: {b"status json": _status("applied", "65.1", Fixes=[{"Name": "x" * 200_000}, 7, None, [[]]])},
    "paths": lambda: {b"paths": b"ok /sys/kernel/livepatch/x/enabled\n" * (_MEGABYTE // 2)},
    "path_names": lambda: {
        b"paths": b"ok /sys/kernel/livepatch/../../x/enabled\nok /\nok ../\x00\nok " + b"/.." * 9999
    },
    "lock_names": lambda: {
        b"paths": b"ok /var/snap/canonical-livepatch/common/locks/../../../../etc/shadow\n"
        b"ok /var/snap/canonical-livepatch/common/locks/livepatch_Ubuntu_4_4_0_210_242_generic_65_65.1;reboot"
    },
    "escapes": lambda: _everywhere(ESCAPES),
    "templates": lambda: _everywhere(TEMPLATE + b"{% for x in range(9**9) %}x{% endfor %}"),
    "unsafe": lambda: _everywhere(b'!unsafe x {"__ansible_unsafe": "x", "__ansible_vault": "x"} !vault |'),
    "nul": lambda: {b"machine": b"\x00" * 1000, b"files": b"\x00", b"status json": b"\x00{\x00}"},
    "wide": lambda: dict.fromkeys((b"architecture", b"machine", b"virtualization"), b"w" * 250_000),
    "record": lambda: {**_everywhere(b"z" * 250_000), b"client_log": b"y" * 250_000},
    "deep_json": lambda: {
        b"status json": b'{"status":' * 20_000,
        b"config": b"[" * 100_000,
        b"client_pro": b"[" * 99_999,
    },
    "duplicate_keys": lambda: {
        b"status json": b'{"Status": [], "Status": [{"Running": true}], "Client-Version": 1, "Client-Version": []}'
    },
    "numbers": lambda: {
        b"status json": b'{"Client-Version": ' + b"9" * 5000 + b', "Last-Check": 1e999, "Status": [{"Running": 1}]}'
    },
    "nan": lambda: {b"status json": b'{"Client-Version": NaN, "Status": [{"Running": true, "Livepatch": -Infinity}]}'},
    "yaml_bomb": lambda: {b"status json": b"", b"status plain": _laughs(40)},
    "yaml_deep": lambda: {b"status json": b"", b"status plain": b"client-version: 9.4.2\nstatus: " + b"[" * 50_000},
    "yaml_tags": lambda: {b"status json": b"", b"status plain": b"client-version: !!python/object/apply:os.system [x]"},
    "proxies": lambda: {
        b"config": b'http-proxy: "http://user:' + b"p@" * 9999 + b'host"\nca-certs: |\n' + b" x\n" * 60_000
    },
    "keys": lambda: {b"keys": b"0b4f1c8a I------ 1 perm 1f030000 0 0 asymmetri " * 5000 + b"\n" * 100_000},
    "containers": lambda: {b"containers": b"docker 99999999999999999999\ndocker -1\n" + b"x 1\n" * 60_000},
    "clock_future": lambda: {b"clock": b"99999999999"},
    "clock_past": lambda: {b"clock": b"1600000000"},
    "clock_text": lambda: {b"clock": b"9" * 5000},
    "section_names": lambda: dict.fromkeys(
        (b"../../x", b"/etc/passwd", b"", b"file ../../x", b"removed ../x", b"status json ok 0 x"), b"x"
    ),
    "module_base64": lambda: _module(b"f0VMRgIBAQA=" * 10_000 + b"!!!!"),
    "module_huge": lambda: _module(b"QUFB" * (25 * _MEGABYTE)),
    "module_elf": lambda: _module(base64.b64encode(_elf(0xFFFF))),
    "module_xz": lambda: _module(base64.b64encode(lzma.compress(bytes(8 * _MEGABYTE), preset=0))),
    "packages": lambda: {
        b"packages": b"linux-image-" + b"9" * 5000 + b" 1 install ok installed\n" * 5000,
        b"metapackages": b"linux-image-generic\n  Depends: ../../x\n" * 5000,
        b"kernel_files": b"content /boot/vmlinuz-x " + b"9" * 5000 + b" x x\n",
        b"run": b"ended " + b"9" * 5000,
    },
    "boot_menu": lambda: {
        b"boot_loader": b"ok /boot/grub/grub.cfg",
        b"grub_cfg": b"submenu 'x' {\n" * 15_000,
        b"grub_env": b"saved_entry=" + b"1>" * 500 + b"9" * 400,
    },
    "steps": lambda: {f"step {number}".encode(): ESCAPES + b"\xff" * 200_000 for number in range(1, 9)},
}
"""Sections that replace those of an honest host, by scenario."""


def _boundary(nonce: bytes, words: bytes) -> bytes:
    return b"\n@" + nonce + b" " + words + b"\n"


def _answer(nonce: bytes, sections: _Parts, code: bytes = b"0", end: bytes = b"done") -> bytes:
    return b"".join(
        [
            _boundary(nonce, b"begin 1"),
            *(
                _boundary(nonce, b"section " + name)
                + text
                + _boundary(nonce, b"end " + name + b" ok " + _code(name, text, code))
                for name, text in sections.items()
            ),
            _boundary(nonce, end),
        ]
    )


def _code(name: bytes, text: bytes, code: bytes) -> bytes:
    return b"1" if name == b"status json" and not text.startswith(b"{") else code


def _endless() -> bytes:
    received = bytearray()
    while True:
        received += bytes(_MEGABYTE)


def _dripping() -> bytes:
    received = bytearray()
    while True:
        time.sleep(0.05)
        received += b"."


def _silent() -> bytes:
    # Like the plugins of Ansible without a context, which would wait for the process after an exception.
    subprocess.Popen(["/bin/sleep", "600"]).wait()
    return b""


def _late(answer: bytes) -> bytes:
    time.sleep(600)
    return answer


def _lost(text: str) -> bytes:
    raise AnsibleConnectionFailure(text)


_Reply = tuple[int, bytes, bytes]
REPLIES: dict[str, t.Callable[[bytes, _Parts], bytes | _Reply]] = {
    "exit_code": lambda nonce, parts: _answer(nonce, parts, code=b"9" * 5000),
    "forged": lambda nonce, parts: _answer(
        nonce, {**parts, b"machine": _answer(b"0" * len(nonce), parts), b"clock": b"x"}
    ),
    "no_end": lambda nonce, parts: _answer(nonce, parts, end=b"section status json"),
    "half": lambda nonce, parts: _answer(nonce, parts)[: len(_answer(nonce, parts)) // 2],
    "begin_only": lambda nonce, _parts: _boundary(nonce, b"begin 1"),
    "done_first": lambda nonce, parts: _boundary(nonce, b"done") + _answer(nonce, parts, end=b"x"),
    "another_protocol": lambda nonce, parts: _answer(nonce, parts).replace(b" begin 1", b" begin 2"),
    "duplicates": lambda nonce, parts: _answer(nonce, {**parts, b"clock": b"1"}) + _answer(nonce, parts) * 20,
    "repeated": lambda nonce, parts: _answer(nonce, parts).replace(b" done\n", b" section x\n") * 500,
    "crlf": lambda nonce, parts: _answer(nonce, parts).replace(b"\n", b"\r\n"),
    "wrong_nonce": lambda nonce, parts: _answer(b"0" * len(nonce), parts),
    "replayed": lambda nonce, parts: _answer(hashlib.sha256(nonce).hexdigest()[: len(nonce)].encode(), parts),
    "empty": lambda _nonce, _parts: b"",
    "code_only": lambda _nonce, _parts: (1, b"", b""),
    "refusal": lambda _nonce, _parts: (254, b"\xff" * _MEGABYTE, ESCAPES * 10_000),
    "prompt": lambda _nonce, _parts: (1, b"", b"[sudo] password for " + ESCAPES + b": Sorry, try again."),
    "prompt_and_answer": lambda nonce, parts: b"[sudo] password for x: " + _answer(nonce, {**parts, b"clock": b"x"}),
    "huge_line": lambda nonce, parts: b"x" * (32 * _MEGABYTE) + _answer(nonce, parts),
    "long_boundary": lambda nonce, parts: _answer(nonce, parts).replace(b" ok 0\n", b" ok 0" + b" x" * 9999 + b"\n"),
    "errors": lambda nonce, parts: (0, _answer(nonce, {**parts, b"clock": b"x"}), ESCAPES * (4 * _MEGABYTE)),
    "endless": lambda _nonce, _parts: _endless(),
    "dripping": lambda _nonce, _parts: _dripping(),
    "silent": lambda _nonce, _parts: _silent(),
    "late": lambda nonce, parts: _late(_answer(nonce, parts)),
    "lost": lambda _nonce, _parts: _lost((b"Connection closed by " + ESCAPES + TEMPLATE).decode()),
}
"""Answers that are not those of the script, by scenario."""

SCENARIOS = tuple(dict.fromkeys((*FILES, *SECTIONS, *REPLIES)))


def _reply(scenario: str, nonce: bytes, host: str, claims: str, script: bytes) -> _Reply:
    """Return exit code, output and errors."""
    parts = _honest(host, claims, script, FILES.get(scenario, {}))
    if scenario in SECTIONS:
        parts |= SECTIONS[scenario]()
    reply = REPLIES[scenario](nonce, parts) if scenario in REPLIES else _answer(nonce, parts)
    return (0, reply, b"\x00\xff" + ESCAPES) if isinstance(reply, bytes) else reply


class Connection(ConnectionBase):
    """A connection to a hostile host."""

    transport = "hostile"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Return the answer of the scenario to a script, or of an honest host before its stage."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        script = in_data or b""
        found = _NONCE.search(script)
        if found is None:
            raise AssertionError("this is not a script of the collection")
        host, claims = self.get_option("host"), self.get_option("claims")
        if STAGES.index(_stage_of(script)) < STAGES.index(self.get_option("stage")):
            return 0, _answer(found[1], _honest(host, claims, script, {})), b""
        return _reply(self.get_option("scenario"), found[1], host, claims, script)

    def put_file(self, in_path: str, out_path: str) -> None:
        raise NotImplementedError

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._connected = False

    def reset(self) -> None:
        self.close()
