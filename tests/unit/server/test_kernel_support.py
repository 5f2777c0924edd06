# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the question to the server whether it supports a kernel."""

from __future__ import annotations

import contextlib
import json

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
    ServerError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.kernel_support import (
    KernelQuestion,
    ask_kernel_supported,
)

from .hostile_server import serving

SERVER = "https://livepatch.example.com"
QUESTION = KernelQuestion("4.4", "generic", "amd64", "xenial", "2020-01-01T01:01:01Z")


class Answering(Downloader):
    """A downloader that returns one answer and remembers what it was asked for."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(DownloadOptions())
        self.answer = answer
        self.asked: list[str] = []

    def read(self, url: str, limit: int) -> bytes:
        self.asked.append(url)
        assert len(self.answer) <= limit
        return self.answer


def test_the_question_names_the_kernel() -> None:
    downloader = Answering(b'{"Supported": "supported"}')
    ask_kernel_supported(downloader, f"{SERVER}/", QUESTION)
    query = "kernel-version=4.4&flavour=generic&architecture=amd64&codename=xenial&build-date=2020-01-01T01%3A01%3A01Z"
    assert downloader.asked == [f"{SERVER}/v1/api/kernels/supported?{query}"]


@pytest.mark.parametrize(
    ("supported", "status"),
    [
        ("supported", "supported"),
        ("Kernel-Upgrade-Required", "kernel-upgrade-required"),
        ("kernel-end-of-life", "kernel-end-of-life"),
        ("unsupported", "unsupported"),
        (True, "supported"),
        ("unknown", "unknown"),
        ("perhaps", "unknown"),
        ("", "unknown"),
        (None, "unsupported"),
        (False, "unsupported"),
        (1, "unsupported"),
        (["supported"], "unsupported"),
        ({"supported": True}, "unsupported"),
        (10**4000, "unsupported"),
    ],
)
def test_old_servers_answer_without_a_text(supported: object, status: str) -> None:
    answer = json.dumps({"Supported": supported}).encode()
    assert ask_kernel_supported(Answering(answer), SERVER, QUESTION) == status


@pytest.mark.parametrize("answer", [b"{}", b'{"supported": "supported"}', b'{"Kernel": "4.4"}'])
def test_an_answer_without_the_key_is_unsupported(answer: bytes) -> None:
    assert ask_kernel_supported(Answering(answer), SERVER, QUESTION) == "unsupported"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"supported",
        b"[]",
        b"null",
        b"[" * 60_000,
        b'{"Supported": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"Supported": ' + b"1" * 10_000 + b"}",
        b"\xff\xfe{",
    ],
)
def test_an_answer_in_another_form_is_an_error(answer: bytes) -> None:
    with pytest.raises(ServerError, match=r"https://\*\*\*@livepatch\.example\.com answered in an unknown form"):
        ask_kernel_supported(Answering(answer), "https://me:secret@livepatch.example.com", QUESTION)


@pytest.mark.parametrize("depth", [100, 900, 5_000])
def test_a_nested_status_is_unsupported_or_an_error(depth: int) -> None:
    answer = b'{"Supported": ' + b"[" * depth + b"]" * depth + b"}"
    with contextlib.suppress(ServerError):
        assert ask_kernel_supported(Answering(answer), SERVER, QUESTION) == "unsupported"


def test_a_large_answer_is_an_error() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + b'{"Supported": "supported"}' + b" " * (1 << 17)
    with serving(answer) as server, pytest.raises(ServerError, match="is larger than 65536 bytes"):
        ask_kernel_supported(Downloader(DownloadOptions(retries=0)), server.url, QUESTION)
