# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Send a mail to an SMTP server, within limits of time and memory."""

from __future__ import annotations

import email.message
import smtplib
import socket
import ssl
from pathlib import Path

from .._errors import LivepatchError
from .._interruption import DeadlineError, MemoryLimitError, call_within, call_within_memory
from .._text import visible
from .targets import Target

_MOST_BYTES = 64 << 20  # of memory, against a server whose answers do not end
_STEPS = 3
"""A connection has several steps, each within the timeout of a target. All together have this many times as long."""


class MailError(LivepatchError):
    """The server did not take the mail. The message completes the sentence "the mail was not sent: ..."."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__("notification_failed", message, remedy)


def send_mail(target: Target, mail: email.message.EmailMessage, ca_path: str | None) -> None:
    """Send a mail. Raises `MailError`."""
    try:
        refused = call_within(
            _STEPS * target.timeout, lambda: call_within_memory(_MOST_BYTES, lambda: _send(target, mail, ca_path))
        )
    except (DeadlineError, TimeoutError) as error:
        raise MailError("the server did not answer in time", "check host, port and security") from error
    except MemoryLimitError as error:
        raise MailError("the answer of the server is too large", "check host and port") from error
    except ssl.SSLCertVerificationError as error:
        remedy = "set ca_path to the certificates of the authority that signed it, and host to a name that it has"
        raise MailError(f"the server has a certificate that is not trusted: {error.verify_message}", remedy) from error
    except smtplib.SMTPAuthenticationError as error:
        remedy = "check user and password"
        raise MailError(f"the server refused the user or the password (code {error.smtp_code})", remedy) from error
    except smtplib.SMTPNotSupportedError as error:
        remedy = "set security and user to what the server offers"
        raise MailError(f"the server does not offer what is needed: {error}", remedy) from error
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except (OSError, smtplib.SMTPException, ValueError) as error:
        text = visible(str(error) or type(error).__name__)
        raise MailError(text, "check host, port and security, and the log of the server") from error
    if refused:
        raise MailError(f"the server refused {', '.join(map(visible, refused))}", "check the addresses in from and to")


def _send(target: Target, mail: email.message.EmailMessage, ca_path: str | None) -> dict[str, tuple[int, bytes]]:
    """Send a mail, and return the recipients that the server refuses."""
    # The default name of this machine in SMTP would be a question to a name server.
    name = socket.gethostname()
    if target.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            target.host, target.port, local_hostname=name, timeout=target.timeout, context=_tls(ca_path)
        )
    else:
        server = smtplib.SMTP(target.host, target.port, local_hostname=name, timeout=target.timeout)
    with server:
        if target.security == "starttls":
            server.starttls(context=_tls(ca_path))
        if target.user:
            server.login(target.user, target.password)
        return server.send_message(mail, target.sender, target.recipients)


def _tls(ca_path: str | None) -> ssl.SSLContext:
    if ca_path is None:
        return ssl.create_default_context()
    if Path(ca_path).is_dir():
        return ssl.create_default_context(capath=ca_path)
    return ssl.create_default_context(cafile=ca_path)
