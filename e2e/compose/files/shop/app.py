"""Usage: app.py NAME PORT [HTTP:HOST:PORT | TCP:HOST:PORT ...]: a service that asks others when it is asked.

It answers {"name", "host", "caller", "hops"}: its own host name, the SPIFFE ID of whoever asked, and what the
others answered.  With PORT 3306 it speaks first, over plain TCP, as a database does.
"""

import http.client
import json
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PORT, OTHERS = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
GREETING = b"ready for queries\n"


def ask(other: str) -> object:
    protocol, host, port = other.split(":")
    try:
        return greeted(host, int(port)) if protocol == "TCP" else answered(host, int(port))
    except (OSError, http.client.HTTPException) as error:
        return {"name": host, "error": type(error).__name__}


def greeted(host: str, port: int) -> object:
    with socket.create_connection((host, port), timeout=10) as connection:
        greeting = connection.makefile("rb").readline()
    if greeting != GREETING:
        return {"name": host, "error": f"greeted with {greeting!r}"}
    return {"name": host, "greeting": greeting.decode().strip()}


def answered(host: str, port: int) -> object:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/")
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return json.loads(body) if response.status == 200 else {"name": host, "error": response.status}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = re.findall(r"URI=([^;,]+)", self.headers.get("x-forwarded-client-cert", ""))
        answer = {"name": NAME, "host": socket.gethostname(), "caller": found[-1] if found else ""}
        body = json.dumps({**answer, "hops": [ask(other) for other in OTHERS]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        return


def greet(connection: socket.socket) -> None:
    with connection:
        connection.sendall(GREETING)
        time.sleep(0.05)


if PORT == 3306:
    listener = socket.create_server(("0.0.0.0", PORT), backlog=128)
    while True:
        threading.Thread(target=greet, args=(listener.accept()[0],), daemon=True).start()
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
