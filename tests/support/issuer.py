"""Issuers of tokens for tests: keys, tokens signed with them, and a server that tells the keys."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class Issuer:
    """Signs with one key, RS256 or ES256; `kid` names it."""

    def __init__(self, name: str, algorithm: str = "ES256", kid: str = "1") -> None:
        self.name = name
        self.algorithm = algorithm
        self.kid = kid
        self.key: Any
        if algorithm == "RS256":
            self.key = rsa.generate_private_key(65537, 2048)
            public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            self.key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm(ECAlgorithm.SHA256).to_jwk(self.key.public_key(), as_dict=True)
        self.public: dict[str, Any] = {**public, "kid": kid}

    @property
    def jwks(self) -> str:
        """Its key set."""
        return json.dumps({"keys": [self.public]})

    def token(self, lifetime: float = 3600, **claims: Any) -> str:
        """A token of "alice" that is valid for so many seconds from now on."""
        given = {"iss": self.name, "sub": "alice", "exp": int(time.time() + lifetime), **claims}
        return jwt.encode(given, self.key, self.algorithm, headers={"kid": self.kid})


class KeyServer:
    """Answers on loopback with what `answers` has under a path: (status, text).  A context manager."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, text = outer.answers.get(self.path, (404, ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def uri(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def __enter__(self) -> KeyServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
