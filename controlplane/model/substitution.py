"""Substitutions in headers' values and in access logs (%REQ(x-user)%, %START_TIME%), as Envoy reads them.

Envoy refuses a whole listener or route configuration, and with it what belongs to others, for one that it
does not know.  So what it would refuse is found before.
https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/substitution_formatter
"""

from __future__ import annotations

import re

from controlplane.model.describe import printable

_COMMAND = re.compile(r"%([A-Z0-9_]+)((?:\([^)]*\))?(?::[0-9]{1,18})?)%")

_EITHER_SIDE = """
DECOMPRESSED_HEADER_BYTES_RECEIVED DECOMPRESSED_HEADER_BYTES_SENT DETECTED_CLOSE_TYPE
HEADER_BYTES_RECEIVED HEADER_BYTES_SENT LOCAL_ADDRESS LOCAL_CLOSE_REASON LOCAL_DNS_SAN LOCAL_IP_SAN
LOCAL_PORT LOCAL_URI_SAN PEER_CERT PEER_DNS_SAN PEER_IP_SAN PEER_ISSUER PEER_SUBJECT PEER_URI_SAN
REMOTE_ADDRESS REMOTE_PORT TLS_CIPHER TLS_GROUP TLS_SESSION_ID TLS_VERSION TRANSPORT_FAILURE_REASON
WIRE_BYTES_RECEIVED WIRE_BYTES_SENT
"""
_DOWNSTREAM = """
CX_RTT DIRECT_LOCAL_ADDRESS DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DIRECT_LOCAL_PORT DIRECT_REMOTE_ADDRESS
DIRECT_REMOTE_PORT HANDSHAKE_DURATION LOCAL_ADDRESS_ENDPOINT_ID LOCAL_EMAIL_SAN LOCAL_OTHERNAME_SAN
LOCAL_SUBJECT PEER_CHAIN_FINGERPRINTS_1 PEER_CHAIN_FINGERPRINTS_256 PEER_CHAIN_SERIALS
PEER_EMAIL_SAN PEER_FINGERPRINT_1 PEER_FINGERPRINT_256 PEER_ISSUER_FINGERPRINT_256
PEER_ISSUER_SERIAL PEER_OTHERNAME_SAN PEER_SERIAL
"""
_UPSTREAM = """
CLUSTER CLUSTER_RAW CONNECTION_ID CONNECTION_IDS_ATTEMPTED CONNECTION_POOL_READY_DURATION HOST
HOSTS_ATTEMPTED HOSTS_ATTEMPTED_WITHOUT_PORT HOST_NAME HOST_NAMES_ATTEMPTED
HOST_NAMES_ATTEMPTED_WITHOUT_PORT HOST_NAME_WITHOUT_PORT PROTOCOL REMOTE_ADDRESS_ENDPOINT_ID
REQUEST_ATTEMPT_COUNT SERVER_NAME
"""
_STREAM = """
ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID
CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS DURATION FILTER_CHAIN_NAME GRPC_STATUS_NUMBER HOSTNAME
LISTENER_NAME LOCAL_REPLY_BODY PACKETS_RETRANSMITTED PROTOCOL REQUEST_DURATION REQUEST_HEADERS_BYTES
REQUEST_TX_DURATION RESPONSE_CODE RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG
RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME
ROUTE_RESOLUTION_COUNT ROUTE_RESOLUTION_TIME_US SPAN_ID STREAM_ID TLS_JA3_FINGERPRINT
TLS_JA4_FINGERPRINT TRACE_ID UNIQUE_ID VIRTUAL_CLUSTER_NAME
"""
_ANY = """
DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT RESPONSE_CODE_DETAILS
UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_CERT_V_END
START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL
"""
_LENGTH = r"(?::[0-9]+)?"
_HEADER = r":?[-0-9A-Za-z_.]*"
_WHICH = r"(?:ORIG|PATH|ORIG_OR_PATH)"
_ASKED = r"(?:ORIG|HOST|ORIG_OR_HOST)"
_POINT = r"(?:DS_RX_BEG|DS_RX_END|US_TX_BEG|US_TX_END|US_RX_BEG|US_RX_END|DS_TX_BEG|DS_TX_END)"
_STATE = rf"\([^():]+(?::(?:PLAIN|TYPED|FIELD:[^():]+))?\){_LENGTH}"
_PLACE = r"(?:CLUSTER|ROUTE|UPSTREAM_HOST|LISTENER|LISTENER_FILTER_CHAIN|VIRTUAL_HOST|DYNAMIC)"


def _table() -> dict[str, re.Pattern[str]]:
    """What may stand between a command's name and its closing %."""
    found = dict.fromkeys(_STREAM.split(), r"(?:\(\))?")
    for side, names in (("DOWNSTREAM", _DOWNSTREAM), ("UPSTREAM", _UPSTREAM)):
        found |= {f"{side}_{name}": r"(?:\(\))?" for name in (*names.split(), *_EITHER_SIDE.split())}
    found |= dict.fromkeys(_ANY.split(), r"(?:\([^)]*\))?")
    headers = ("REQ", "RESP", "TRAILER", "REQUEST_HEADER", "RESPONSE_HEADER", "RESPONSE_TRAILER")
    found |= dict.fromkeys(headers, rf"\((?!\)){_HEADER}(?:\?{_HEADER})?\){_LENGTH}")
    found |= dict.fromkeys(("DYNAMIC_METADATA", "ENVIRONMENT", "QUERY_PARAM"), rf"\([^)]+\){_LENGTH}")
    found |= dict.fromkeys(("CLUSTER_METADATA", "UPSTREAM_METADATA"), r"\([^)]+\)")
    found |= dict.fromkeys(("FILTER_STATE", "UPSTREAM_FILTER_STATE"), _STATE)
    found |= {
        "PATH": rf"(?:\((?:(?:WQ|NQ)(?::{_WHICH})?)?\))?{_LENGTH}",
        "QUERY_PARAMS": rf"(?:\((?:ORIG|DECODED)?\))?{_LENGTH}",
        "GRPC_STATUS": r"(?:\((?:CAMEL_STRING|SNAKE_STRING|NUMBER)?\))?",
        "REQUESTED_SERVER_NAME": rf"(?:\((?:(?:SNI_ONLY|SNI_FIRST|HOST_FIRST)(?::{_ASKED})?)?\))?",
        "METADATA": rf"\({_PLACE}(?::[^)]*)?\){_LENGTH}",
        "COMMON_DURATION": rf"\({_POINT}:{_POINT}(?::(?:ms|us|ns))?\)",
    }
    return {name: re.compile(pattern) for name, pattern in found.items()}


_COMMANDS = _table()


def substitution_fault(text: str) -> str | None:
    """Why Envoy refuses this text with substitutions, None where it does not."""
    at = text.find("%")
    while at >= 0:
        if text.startswith("%%", at):
            at = text.find("%", at + 2)
            continue
        command = _COMMAND.match(text, at)
        if command is None:
            return "a % begins no substitution like %REQ(x-user)%; a % that is meant as such is written %%"
        name, arguments = command.groups()
        if name not in _COMMANDS:
            return f"%{printable(name)}% is no substitution that is known here"
        if not _COMMANDS[name].fullmatch(arguments):
            return f"%{name}{printable(arguments)}% is not how {name} is used"
        at = text.find("%", command.end())
    return None
