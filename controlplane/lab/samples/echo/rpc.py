"""A gRPC service without protobuf: messages are JSON.

    /echo.Echo/Say      answers {"name", "said", "metadata"}
    /echo.Echo/Count    answers said["to"] times, as a stream: {"name", "number"}
    /echo.Echo/Fail     fails with the status code said["code"]

Usage: rpc.py NAME PORT.  Needs grpcio.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

NAME = sys.argv[1]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def say(said: Any, call: grpc.ServicerContext) -> Any:
    """One answer."""
    metadata = {key: value for key, value in call.invocation_metadata() if isinstance(value, str)}
    return {"name": NAME, "said": said, "metadata": metadata}


def count(said: Any, call: grpc.ServicerContext) -> Iterator[Any]:
    """Many answers."""
    for number in range(said["to"]):
        yield {"name": NAME, "number": number}


def fail(said: Any, call: grpc.ServicerContext) -> Any:
    """None at all."""
    call.abort(_CODES[said["code"]], f"{NAME} was asked to fail")


def dump(message: Any) -> bytes:
    """A message as bytes."""
    return json.dumps(message).encode()


def main() -> None:
    """Serve until killed."""
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(say, json.loads, dump),
        "Count": grpc.unary_stream_rpc_method_handler(count, json.loads, dump),
        "Fail": grpc.unary_unary_rpc_method_handler(fail, json.loads, dump),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", methods),))
    server.add_insecure_port(f"0.0.0.0:{sys.argv[2]}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
