"""An external authorizer: lets a request pass whose header x-ext-authz says "allow", and writes down all.

Usage: ext_authz.py HTTP-PORT GRPC-PORT.  Each check is a line of JSON on standard output.  It tells the
application who the user is ("x-authorized-by"), and a refused client why ("x-reason").  Of a connection
without HTTP it refuses those from the address in the environment variable REFUSED.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from envoy.service.auth.v3 import external_auth_pb2 as auth

OK, PERMISSION_DENIED = 0, 7
HEADER = "x-ext-authz"


def tell(**check: Any) -> None:
    print(json.dumps(check), flush=True)


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _check(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        tell(by="http", path=self.path, method=self.command, headers=headers, body=body)
        allowed = headers.get(HEADER) == "allow"
        said = b"" if allowed else b"refused by http"
        self.send_response(200 if allowed else 403)
        self.send_header("x-authorized-by", "http")
        self.send_header("x-reason", "no header")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = _check  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """What was asked is told by `tell`."""


def check(request: Any, _context: Any) -> Any:
    """envoy.service.auth.v3.Authorization/Check."""
    http = request.attributes.request.http
    peer = request.attributes.source.address.socket_address.address
    tell(by="grpc", path=http.path, method=http.method, headers=dict(http.headers), body=http.body, peer=peer)
    answer = auth.CheckResponse()
    allowed = http.headers.get(HEADER) == "allow" if http.method else peer != os.environ.get("REFUSED")
    answer.status.code = OK if allowed else PERMISSION_DENIED
    if allowed:
        answer.ok_response.headers.add().header.key = "x-authorized-by"
        answer.ok_response.headers[0].header.value = "grpc"
    else:
        answer.denied_response.status.code = 403
        answer.denied_response.body = "refused by grpc"
    return answer


def main() -> None:
    http, grpc_port = sys.argv[1:]
    handler = grpc.unary_unary_rpc_method_handler(
        check, auth.CheckRequest.FromString, auth.CheckResponse.SerializeToString
    )
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service = "envoy.service.auth.v3.Authorization"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Check": handler}),))
    server.add_insecure_port(f"0.0.0.0:{grpc_port}")
    server.start()
    ThreadingHTTPServer(("0.0.0.0", int(http)), Http).serve_forever()


if __name__ == "__main__":
    main()
