# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Mail over real connections: to an SMTP server with STARTTLS and login, and to others that misbehave."""

from __future__ import annotations

import contextlib
import email
import email.message
import email.policy
import socket
import ssl
import threading
import typing as t
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications import mail as mail_module
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.mail import MailError, send_mail
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.messages import mail_of, message_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._notifications.targets import Target, parse_targets
from tests.lab.certificates import Authority, make_authority
from tests.samples.changes import a_changed_report

MESSAGE = message_of(a_changed_report(), None)
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


class Mailbox:
    """Accepts all mail except for `nobody`, and logs in one user."""

    def __init__(self) -> None:
        self.received: list[Envelope] = []

    async def handle_RCPT(  # noqa: N802  (the name is that of aiosmtpd)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  (as above)
        self.received.append(envelope)
        return "250 OK"


def log_in(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword) -> AuthResult:
    return AuthResult(success=data.login == b"fleet" and data.password == PASSWORD.encode(), handled=False)


@contextlib.contextmanager
def mail_server(authority: Authority, *, tls: bool = False) -> Iterator[tuple[Mailbox, int]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.server)
    mailbox = Mailbox()
    # For the server, a connection that is encrypted from the start is not one with STARTTLS.
    of_tls = {"ssl_context": context, "auth_require_tls": False}
    given = of_tls if tls else {"tls_context": context, "require_starttls": True}
    controller = _Controller(
        mailbox, hostname="127.0.0.1", port=0, authenticator=log_in, auth_required=not tls, **given
    )
    controller.start()
    try:
        yield mailbox, controller.port
    finally:
        controller.stop()


class _Controller(Controller):
    def _trigger_server(self) -> None:
        """Connect once, as the base class does, but to the port that the system has chosen."""
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def target(port: int, **changes: t.Any) -> Target:
    entry = {
        "type": "mail",
        "host": "localhost",
        "port": port,
        "from": "livepatch@example.com",
        "to": ["operations@example.com"],
        "user": "fleet",
        "password": PASSWORD,
        "timeout": 5,
        **changes,
    }
    return parse_targets([{key: value for key, value in entry.items() if value is not None}])[0]


def send(wanted: Target, authority: Authority | None = None) -> None:
    send_mail(wanted, mail_of(wanted, MESSAGE), str(authority.certificate) if authority else None)


def failure(wanted: Target, authority: Authority | None = None) -> str:
    with pytest.raises(MailError) as caught:
        send(wanted, authority)
    assert caught.value.remedy
    assert PASSWORD not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_arrives_encrypted(authority: Authority, security: str) -> None:
    with mail_server(authority, tls=security == "tls") as (mailbox, port):
        send(target(port, security=security, to=["a@example.com", "b@example.com"]), authority)
    [envelope] = mailbox.received
    assert (envelope.mail_from, envelope.rcpt_tos) == ("livepatch@example.com", ["a@example.com", "b@example.com"])
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert message["Subject"] == MESSAGE.subject
    assert "web1: protected -> failed" in t.cast("email.message.EmailMessage", message).get_content()


def test_refusals_name_their_cause(authority: Authority) -> None:
    with mail_server(authority) as (mailbox, port):
        assert "refused the user or the password (code 535)" in failure(target(port, password="x"), authority)
        assert "refused nobody@example.com" in failure(target(port, to=["nobody@example.com"]), authority)
        assert mailbox.received == []
        some = target(port, to=["nobody@example.com", "a@example.com"])
        assert "refused nobody@example.com" in failure(some, authority)
        assert len(mailbox.received) == 1, "the others get it"
        assert "has a certificate that is not trusted" in failure(target(port))


@contextlib.contextmanager
def speaking(*answers: bytes, drip: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """Send the first answer to a client, and each other one after a line of it; then repeat `drip`, or hang up."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                for answer in answers:
                    connection.sendall(answer)
                    received.append(connection.recv(4096))
                while drip:
                    connection.sendall(drip)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], received


def test_a_server_without_encryption_gets_no_password() -> None:
    with speaking(b"220 ready\r\n", b"250 mail.example.com\r\n") as (port, received):
        assert "STARTTLS" in failure(target(port))
    assert b"AUTH" not in b"".join(received)


def test_broken_servers_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_module, "_STEPS", 1)
    with speaking(drip=b"220-x\r\n") as (port, _received):
        # The lines of one answer without an end: whichever limit is reached first.
        assert failure(target(port, timeout=1)) in (
            "the server did not answer in time",
            "the answer of the server is too large",
        )
    with speaking(b"220 ready\r\n") as (port, _received):
        assert "closed" in failure(target(port))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "in time" in failure(target(silent.getsockname()[1], timeout=1))
    assert "refused" in failure(target(1))
