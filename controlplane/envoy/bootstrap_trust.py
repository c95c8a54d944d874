"""How a proxy without an agent knows its control plane, and is known to it: TLS and a token, both in files.

Envoy reads the root certificates and the token (or a certificate, where it has one already) as SDS secrets
from its own disk.  That makes two layers of files: `root.json` and `token.json`, written once, are the
secrets, and point to `root-cert.pem` and to the token, which others replace whenever they like.  Their
folders are watched, so the next connection uses what is there then.  Nothing else works on a stock Envoy: a
secret or a validation context that stands in the bootstrap itself is read once, and so are the files of
google_grpc.

What is noticed is a file that is *moved in* (a rename, or the symlink that Kubernetes swaps), not one that is
written in place.

Sources: the tls, credential_injector and upstream_codec protos at
https://www.envoyproxy.io/docs/envoy/latest/api-v3.
"""

from __future__ import annotations

from dataclasses import dataclass

Json = dict[str, object]

ROOT_FILE, TOKEN_FILE, CERTIFICATE_FILE = "root.json", "token.json", "certificate.json"
"""The names of the secrets' files in `Trust.directory`."""

CONTROL_PLANE = "istiod.istio-system.svc"
"""What the control plane's certificate is for, whatever address it is found at: Istio's name for it."""

_TYPE = "type.googleapis.com/"
_TLS = _TYPE + "envoy.extensions.transport_sockets.tls.v3."
_FILTERS = _TYPE + "envoy.extensions.filters.http."
_ROOT, _TOKEN, _CERTIFICATE = "xdsroot", "xdstoken", "xdscertificate"


@dataclass(frozen=True, slots=True)
class Trust:
    """Files as Envoy sees them, absolute paths: the folder of root.json and token.json, what they point to.

    `root` is PEM, one certificate or several; "" speaks plaintext.  `token` is one line; "" sends none.
    `name` is what the control plane's certificate must be for.  `certificate` (PEM, the leaf first) and
    `key` are shown to a port that asks for them; both in one folder.
    """

    directory: str
    root: str = ""
    token: str = ""
    name: str = CONTROL_PLANE
    certificate: str = ""
    key: str = ""


def secret_files(trust: Trust) -> dict[str, Json]:
    """What has to be in `trust.directory`, by file name; none of the files holds anything secret itself."""
    files: dict[str, Json] = {}
    if trust.root:
        matcher: Json = {"san_type": "DNS", "matcher": {"exact": trust.name}}
        files[ROOT_FILE] = _secret(
            _ROOT,
            "validation_context",
            {
                "trusted_ca": {"filename": trust.root},
                "watched_directory": _folder(trust.root),
                "match_typed_subject_alt_names": [matcher],
            },
        )
    if trust.token:
        secret = {"filename": trust.token, "watched_directory": _folder(trust.token)}
        files[TOKEN_FILE] = _secret(_TOKEN, "generic_secret", {"secret": secret})
    if trust.certificate:
        pair: Json = {
            "certificate_chain": {"filename": trust.certificate},
            "private_key": {"filename": trust.key},
            "watched_directory": _folder(trust.certificate),
        }
        files[CERTIFICATE_FILE] = _secret(_CERTIFICATE, "tls_certificate", pair)
    return files


def transport_socket(trust: Trust) -> Json | None:
    """TLS to the control plane, its name and its root checked; None for plaintext."""
    if not trust.root:
        return None
    common: Json = {
        "alpn_protocols": ["h2"],
        # As a client Envoy stops at 1.2 unless told otherwise.
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        "validation_context_sds_secret_config": _from_file(_ROOT, trust.directory, ROOT_FILE),
    }
    if trust.certificate:
        own = _from_file(_CERTIFICATE, trust.directory, CERTIFICATE_FILE)
        common["tls_certificate_sds_secret_configs"] = [own]
    context = {"@type": _TLS + "UpstreamTlsContext", "sni": trust.name, "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def http_filters(trust: Trust) -> list[Json]:
    """What puts the token into the requests of the xds-grpc cluster; nothing where there is none."""
    if not trust.token:
        return []
    generic: Json = {
        "@type": _TYPE + "envoy.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": _from_file(_TOKEN, trust.directory, TOKEN_FILE),
        "header": "authorization",
        "header_value_prefix": "Bearer ",
    }
    injector: Json = {
        "@type": _FILTERS + "credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {"name": "token", "typed_config": generic},
    }
    codec: Json = {"@type": _FILTERS + "upstream_codec.v3.UpstreamCodec"}
    return [
        {"name": "envoy.filters.http.credential_injector", "typed_config": injector},
        # Whoever names the filters of an upstream names the one that sends, too.
        {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
    ]


def _secret(name: str, kind: str, content: Json) -> Json:
    return {"resources": [{"@type": _TLS + "Secret", "name": name, kind: content}]}


def _from_file(name: str, directory: str, file: str) -> Json:
    source: Json = {"path": f"{directory.rstrip('/')}/{file}", "watched_directory": {"path": directory}}
    return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": source}}


def _folder(path: str) -> Json:
    return {"path": path.rpartition("/")[0] or "/"}
