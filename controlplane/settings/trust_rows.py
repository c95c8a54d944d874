"""The rows of the settings that are about trust: the certificate authority and what it issues."""

from __future__ import annotations

from controlplane.base import parse
from controlplane.settings.option import BOOLEAN, DURATION, Option

TRUST: tuple[Option, ...] = (
    Option(
        "root_ca_dir",
        parse.optional(parse.directory),
        "",
        "an existing directory with ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem, or with "
        "tls.crt, tls.key and ca.crt",
        "a certificate authority of yours to sign with; without it one is made, and kept in --data-dir",
        "ROOT_CA_DIR",
    ),
    Option(
        "self_signed_ca_cert_ttl",
        parse.positive_duration,
        "87600h",
        f"{DURATION}, above 0",
        "how long a root that is made here is valid",
        "CITADEL_SELF_SIGNED_CA_CERT_TTL",
    ),
    Option(
        "default_workload_cert_ttl",
        parse.positive_duration,
        "24h",
        f"{DURATION}, above 0, not above --max-workload-cert-ttl",
        "how long a proxy's certificate is valid",
        "DEFAULT_WORKLOAD_CERT_TTL",
    ),
    Option(
        "max_workload_cert_ttl",
        parse.positive_duration,
        "2160h",
        f"{DURATION}, above 0",
        "the longest that may be asked for; more is refused",
        "MAX_WORKLOAD_CERT_TTL",
    ),
    Option(
        "workload_key_type",
        parse.one_of("ec", "rsa"),
        "ec",
        "ec (P-256) or rsa (2048 bits)",
        "the keys that are made for proxies; RSA takes a hundred times as long to make",
    ),
    Option(
        "root_rotation_pause",
        parse.duration,
        "2m",
        DURATION,
        "the least time that a stage of a root rotation lasts, so that copies of root-cert.pem follow",
    ),
    Option(
        "tls_name",
        parse.host_names,
        "",
        "DNS names or addresses with commas",
        "further names of the control plane, for its own certificate",
        "ISTIOD_CUSTOM_HOST",
    ),
    Option(
        "token_review",
        parse.token_review,
        "",
        'a kubeconfig, "in-cluster", or "" for none',
        "the API server that judges Kubernetes' tokens; our own (`mini-istiod token`) need --data-dir only",
    ),
    Option(
        "token_audience",
        parse.word,
        "istio-ca",
        "a word",
        "for whom a token must be meant",
        "AUDIENCE",
    ),
    Option(
        "trust_loopback_identities",
        parse.boolean,
        "false",
        BOOLEAN,
        "believe what proxies on loopback and Unix sockets say of themselves, without a token: for "
        "development only",
    ),
    Option(
        "max_streams_per_identity",
        parse.count,
        "2000",
        "a whole number; 0 means without limit",
        "streams of one service account, all its replicas together",
    ),
)
