"""A gRPC client of rpc.py: calls one after the other on one channel.

Usage: rpc_call.py '{"target", "authority", "calls": [{"method", "message", "metadata"}]}'

One JSON object per line, as they happen: {"code": "OK", "details": "", "answers": [...]}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc


def call(channel: grpc.Channel, wanted: dict[str, Any]) -> dict[str, Any]:
    """One call, and what became of it."""
    method = channel.unary_stream(
        f"/echo.Echo/{wanted['method']}", lambda m: json.dumps(m).encode(), json.loads
    )
    # One answer is a stream of one.
    answers: list[Any] = []
    try:
        answers.extend(
            method(wanted["message"], timeout=10, metadata=tuple(wanted.get("metadata", {}).items()))
        )
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details(), "answers": answers}
    return {"code": "OK", "details": "", "answers": answers}


def main() -> None:
    """Read the order from the arguments, write results to standard output."""
    order = json.loads(sys.argv[1])
    options = (("grpc.default_authority", order["authority"]),)
    with grpc.insecure_channel(order["target"], options=options) as channel:
        for wanted in order["calls"]:
            print(json.dumps(call(channel, wanted)), flush=True)


if __name__ == "__main__":
    main()
