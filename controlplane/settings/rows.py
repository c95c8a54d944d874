"""The rows of the settings, in the order of the fields: places, how changes are pushed, how it all runs.

What is about identities and certificates is in `trust_rows`.
"""

from __future__ import annotations

from controlplane.base import parse
from controlplane.settings.option import ADDRESSES, BOOLEAN, DURATION, Option

PLACES: tuple[Option, ...] = (
    Option("config_dir", parse.directory, "", "an existing directory", "watched tree of YAML files"),
    Option(
        "mesh_config", parse.optional_file, "", "an existing file", "MeshConfig; Istio's defaults without it"
    ),
    Option(
        "grpc_addr",
        parse.addresses,
        "127.0.0.1:15010",
        ADDRESSES,
        "where proxies connect in plaintext; beyond this machine only with --insecure-allow-remote",
    ),
    Option(
        "secure_grpc_addr",
        parse.addresses,
        "",
        ADDRESSES,
        "where proxies connect with TLS and a token; Istio's port is 15012",
    ),
    Option(
        "mtls_grpc_addr",
        parse.addresses,
        "",
        ADDRESSES,
        "where proxies connect with TLS and a client certificate of this mesh",
    ),
    Option("monitoring_addr", parse.tcp_address, "127.0.0.1:15014", "HOST:PORT", "/ready, /metrics, /debug"),
    Option("data_dir", parse.optional_path, "", "a directory, made when missing", "what outlives a restart"),
    Option(
        "publish_root_cert",
        parse.optional_path,
        "",
        "a file in an existing directory, made or replaced",
        "a copy of the roots that always holds the present ones, where proxies can mount its directory",
    ),
)

PUSHES: tuple[Option, ...] = (
    Option(
        "debounce_after",
        parse.duration,
        "100ms",
        DURATION,
        "quiet time after a change before it is taken up",
        "PILOT_DEBOUNCE_AFTER",
    ),
    Option(
        "debounce_max",
        parse.duration,
        "10s",
        f"{DURATION}, not below --debounce-after",
        "the longest that a change waits for quiet",
        "PILOT_DEBOUNCE_MAX",
    ),
    Option(
        "eds_debounce",
        parse.boolean,
        "true",
        BOOLEAN,
        "whether changes of endpoints wait too",
        "PILOT_ENABLE_EDS_DEBOUNCE",
    ),
    Option(
        "debounce_adaptive",
        parse.boolean,
        "false",
        BOOLEAN,
        "take up a lone change at once when it has been quiet",
    ),
    Option(
        "push_throttle",
        parse.count,
        "0",
        "a whole number; 0 means min(15 + 5 x CPUs, 100)",
        "proxies that are planned for and written to at once",
        "PILOT_PUSH_THROTTLE",
    ),
    Option(
        "max_requests_per_second",
        parse.rate,
        "1000",
        "a number; 0 means without limit",
        "new streams that are admitted per second; they share their configuration, so they are cheap",
        "PILOT_MAX_REQUESTS_PER_SECOND",
    ),
    Option(
        "ack_deadline",
        parse.positive_duration,
        "1s",
        f"{DURATION}, above 0",
        "after this an unanswered response may be followed by a newer one",
    ),
    Option(
        "max_connection_age",
        parse.duration,
        "30m",
        f'{DURATION}; "0" for no limit',
        "age, with jitter, at which a proxy is asked to connect anew",
    ),
    Option(
        "max_request_bytes",
        parse.size,
        "64MiB",
        "a whole number of bytes, KiB or MiB, from 64KiB to 1024MiB",
        "the largest request that is read: a reconnecting proxy names everything it has",
        "ISTIO_GPRC_MAXRECVMSGSIZE",  # so spelled in Istio
    ),
    Option(
        "on_demand_virtual_hosts",
        parse.boolean,
        "false",
        BOOLEAN,
        "give incremental sidecars their outbound virtual hosts one by one, when they are first used",
    ),
)

RUNNING: tuple[Option, ...] = (
    Option("drain_duration", parse.duration, "10s", DURATION, "time for streams to end well at shutdown"),
    Option("paranoid", parse.boolean, "false", BOOLEAN, "run every query twice and compare: slow, for tests"),
    Option(
        "log_level", parse.one_of(*parse.LOG_LEVELS), "info", " ".join(parse.LOG_LEVELS), "what is logged"
    ),
    Option("log_format", parse.one_of(*parse.LOG_FORMATS), "text", " ".join(parse.LOG_FORMATS), "how"),
    Option(
        "insecure_allow_remote",
        parse.boolean,
        "false",
        BOOLEAN,
        "let plaintext gRPC listen beyond this machine: anybody there reads and claims anything",
    ),
    Option(
        "debug_allow_remote",
        parse.boolean,
        "false",
        BOOLEAN,
        "let /debug answer other machines without a token: it shows the whole configuration",
    ),
    Option(
        "push_log",
        parse.optional_path,
        "",
        "a file, made or emptied",
        "where every moment of every push is noted, as JSON lines: see push-trace.md",
    ),
    Option(
        "record",
        parse.optional_path,
        "",
        "a file, made or emptied; compressed when its name ends with .gz",
        "where everything that comes in is recorded, without secrets, for `mini-istiod replay`",
    ),
)
