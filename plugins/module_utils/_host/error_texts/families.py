# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Patterns of texts whose wording varies: status codes of HTTP, network errors of Go, errors of certificates."""

from __future__ import annotations

CODE = (
    r"\b(?:status|code|http(?:/[0-9.]{{1,3}})?|response|error|returned|https?://[^ ]{{1,300}})[ :=(\"]{{1,4}}"
    r"(?:(?:status|code|http|error)[ :=(]{{1,3}}){{0,2}}(?:{})\b"
)
UNAVAILABLE = (
    CODE.format("5[0-9][0-9]|408|425|429"),
    (
        r"internal server error|bad gateway|gateway time-?out|service (?:is )?(?:temporarily )?unavailable"
        r"|too many requests|rate limit|(?<!resource )temporarily unavailable|server overloaded"
    ),
)
"""Answers of a server that works again later, or that limits the number of requests."""
PROXY = (
    CODE.format("407"),
    r"proxy authentication (?:required|failed)|proxyconnect|socks connect|not setting as proxy",
    r"(?:connect )?tunnel (?:connection )?failed|http code [0-9]{3} from proxy|https proxy for https connections",
    # Go prints only the text of the status with which a proxy refuses a tunnel. A server has a body too.
    r"\b(?:get|post|put|head) \"?https://[^ \"]{1,300}\"?: (?:forbidden|method not allowed)\b",
)
REFUSED = (CODE.format("40[0-69]|4[1-9][0-9]"), r"\bforbidden\b", r"access denied by server")
CLOCK = (
    r"certificate has expired or is not yet valid",
    r"current time [^ ]{1,40} is (?:before|after)",
    r"certificate (?:is )?(?:not yet valid|has expired|expired)|tls: expired certificate",
)
OTHER_NAME = (
    r"certificate is (?:not )?valid for",
    r"cannot validate certificate for",
    r"doesn't contain any ip sans",
    r"hostname .{1,100} doesn't match",
)
UNTRUSTED = (
    r"x509:",
    r"signed by unknown authority",
    r"certificate (?:verify|verification) failed",
    r"certificate_verify_failed",
    r"cannot verify certificate",
    r"failed to verify certificate",
    r"self[- ]signed certificate|unable to get local issuer certificate|reading ssl ca cert",
    r"tls: (?:unknown|bad) certificate",
)
UNREACHABLE = (
    r"dial (?:tcp|udp)",
    r"no such host|server misbehaving|name resolution|name or service not known|could not resolve",
    r"connection (?:refused|reset|timed out)|reset by peer|broken pipe",
    r"network is (?:unreachable|down)|no route to host|host is (?:down|unreachable)|network error",
    r"i/o timeout|deadline exceeded|timeout exceeded|handshake timeout|client\.timeout|timeout awaiting|timed out",
    r"cannot send request|couldn't send req|server communication failed|request cancell?ed",
    r"unexpected eof|: eof\b|malformed http|first record does not look like a tls handshake|tls: handshake failure",
    r"server gave http response to https client|oversized record received|server selected unsupported protocol",
    r"stream error: stream id|http2: (?:server sent goaway|client connection)|use of closed network connection",
    r"remote end closed connection|unexpectedly closed",
    r"cannot assign requested address",
    # An alert with which the other side ends the connection, except those about certificates.
    r"remote error: tls: (?!(?:unknown|bad) cert|expired cert|.{0,20}certificate)",
)
DIAL = r"dial unix (?![^ ]{0,100}/snapd(?:-snap)?\.socket)[^ ]{1,200} (?:connect: )?"
