"""Requests that are bent until a policy might not see what they are, byte by byte."""

from __future__ import annotations

from typing import NamedTuple

POLICY = "rbac_access_denied_matched_policy"


class Attack(NamedTuple):
    """What is sent, the status that must be answered, and what the log says."""

    data: bytes
    status: int
    why: str


def get(
    path: bytes, status: int = 403, why: str = POLICY, *, host: bytes = b"web.foo", more: bytes = b""
) -> Attack:
    return Attack(b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (path, host, more), status, why)


def said(data: bytes, status: int, why: str) -> Attack:
    return Attack(data, status, why)


HOST = b"\r\nHost: web.foo\r\n"
HIDDEN = b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: web.foo\r\n\r\n"
PATHS = {
    "as it is": get(b"/admin"),
    "below it": get(b"/admin/users"),
    "a slash at its end": get(b"/admin/"),
    "a query": get(b"/admin?x=/public"),
    "two slashes": get(b"//admin"),
    "many slashes": get(b"////admin"),
    "a letter escaped": get(b"/%61dmin"),
    "all letters escaped": get(b"/%61%64%6d%69%6e"),
    "up again": get(b"/x/../admin"),
    "up escaped": get(b"/x/%2e%2e/admin"),
    "up from the root": get(b"/../../admin"),
    "here": get(b"/./admin"),
    "up over two slashes": get(b"/x/..//admin"),
    "an escaped slash in front": get(b"/%2fadmin"),
    "an escaped slash behind": get(b"/admin%2Fusers"),
    "up by escaped slashes": get(b"/x%2f..%2fadmin"),
    "a backslash": get(b"/\\admin"),
    "an escaped backslash": get(b"/x%5c..%5cadmin"),
    "another authority in the target": get(b"http://other.example/admin"),
    "a fragment": get(b"/admin#public", 400, "path_normalization_failed"),
    "a NUL": get(b"/admin%00", 400, "path_normalization_failed"),
    "a tab": get(b"/admin\tx", 400, "codec_error"),
    "a byte that is no ASCII": get(b"/admin\x80", 400, "codec_error"),
    "no slash": get(b"admin", 400, ""),
    "a star": get(b"*", 400, ""),
}
HOSTS = {
    "as it is": get(b"/", host=b"secret.example"),
    "capitals": get(b"/", host=b"SECRET.Example"),
    "a port": get(b"/", host=b"secret.example:8080"),
    "a dot at its end": get(b"/", host=b"secret.example."),
    "both": get(b"/", host=b"secret.example.:80"),
    "in the target": get(b"http://secret.example/"),
    "none": said(b"GET /admin HTTP/1.1\r\n\r\n", 400, "missing_host_header"),
}
PROTOCOLS = {
    "HTTP/1.0": said(b"GET /admin HTTP/1.0\r\n\r\n", 426, "low_version"),
    "HTTP/0.9": said(b"GET /admin\r\n\r\n", 426, "low_version"),
    "an upgrade to a WebSocket": get(
        b"/admin", more=b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    ),
    "an upgrade to HTTP/2": get(
        b"/admin", more=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    ),
    "two lengths": said(
        b"POST / HTTP/1.1" + HOST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
        400,
        "codec_error",
    ),
    "a length and chunks": said(
        b"POST / HTTP/1.1" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
        400,
        "content_length_and_chunked",
    ),
    "chunks that are none": said(
        b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n" + HIDDEN, 501, "transfer_encoding"
    ),
    "a chunk of no size": said(
        b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + HIDDEN, 400, "codec_error"
    ),
    "lines without returns": said(b"GET /admin HTTP/1.1\nHost: web.foo\n\n", 403, POLICY),
    "two spaces": said(b"GET  /admin HTTP/1.1\r\nHost: web.foo\r\n\r\n", 403, POLICY),
    "a NUL in a header": get(b"/", 400, "invalid_characters", more=b"X: a\0b\r\n"),
    "huge headers": get(b"/", 431, "headers_too_large", more=b"X: " + b"a" * 70_000 + b"\r\n"),
    "garbage": said(b"\x16\x03nothing\r\n\r\n", 400, ""),
}
