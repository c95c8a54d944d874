"""Run inside a pod: sends the requests of a file, one line of JSON each, and prints a status for each.

Standard library only.  A job has: address, port, source, method, path, headers (pairs), and for mutual TLS
`certificate` (a PEM file with key and chain), `sni` and `protocol`, as ALPN names it.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from typing import Any


def status(job: dict[str, Any]) -> int:
    """The status of the answer; 0 where the connection ends without one."""
    source = (job["source"], 0)
    with socket.create_connection((job["address"], job["port"]), timeout=10, source_address=source) as raw:
        if not job["certificate"]:
            return speak(raw, job)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Who serves is not the question here.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(job["certificate"])
        context.set_alpn_protocols([job["protocol"]])
        with context.wrap_socket(raw, server_hostname=job["sni"] or None) as secured:
            return speak(secured, job)


def speak(connection: socket.socket, job: dict[str, Any]) -> int:
    lines = [f"{job['method']} {job['path']} HTTP/1.1", *(f"{name}: {text}" for name, text in job["headers"])]
    connection.sendall("\r\n".join([*lines, "content-length: 0", "connection: close", "", ""]).encode())
    answer = b""
    while b"\r\n" not in answer:
        more = connection.recv(4096)
        if not more:
            return 0
        answer += more
    return int(answer.split()[1])


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            try:
                print(status(json.loads(line)), flush=True)
            except OSError as error:
                print(f"0 {error}", flush=True)
