"""TLS and a token for a proxy without an agent: what stands in the bootstrap, what in the files beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2
from google.protobuf import json_format

from controlplane.envoy import pb
from controlplane.envoy.bootstrap import ControlPlane, Node, bootstrap
from controlplane.envoy.bootstrap_trust import ROOT_FILE, TOKEN_FILE, Trust, http_filters, secret_files

TRUST = Trust("/etc/mesh", root="/var/roots/root-cert.pem", token="/var/tokens/token")


def cluster(trust: Trust | None) -> Any:
    found: Any = bootstrap(Node("10.0.0.1", "web-1", "prod"), ControlPlane("istiod.mesh:15012", trust=trust))
    (one,) = (c for c in found["static_resources"]["clusters"] if c["name"] == "xds-grpc")
    # These stubs know less of the credential than Envoy does; tests/envoy/test_accepts.py asks Envoy.
    return json_format.ParseDict(one, pb.cluster.Cluster(), ignore_unknown_fields=True)


def options(one: Any) -> Any:
    (packed,) = one.typed_extension_protocol_options.values()
    return pb.http_protocol_options.HttpProtocolOptions.FromString(packed.value)


def source(config: Any) -> tuple[str, str, str]:
    path = config.sds_config.path_config_source
    return config.name, path.path, path.watched_directory.path


def secret(trust: Trust, file: str) -> Any:
    (one,) = json.loads(json.dumps(secret_files(trust)[file]))["resources"]
    assert one.pop("@type") == "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return json_format.ParseDict(one, pb.secret.Secret())


def test_the_control_plane_is_checked_against_a_root_that_is_read_again() -> None:
    socket = cluster(TRUST).transport_socket
    context = pb.tls.UpstreamTlsContext.FromString(socket.typed_config.value)
    assert (socket.name, context.sni) == ("envoy.transport_sockets.tls", "istiod.istio-system.svc")
    common = context.common_tls_context
    assert list(common.alpn_protocols) == ["h2"]
    assert common.tls_params.tls_maximum_protocol_version == pb.tls_common.TlsParameters.TLSv1_3
    named = source(common.validation_context_sds_secret_config)
    assert named == ("xdsroot", f"/etc/mesh/{ROOT_FILE}", "/etc/mesh")
    found = secret(TRUST, ROOT_FILE)
    checked = found.validation_context
    assert (found.name, checked.trusted_ca.filename) == ("xdsroot", "/var/roots/root-cert.pem")
    assert checked.watched_directory.path == "/var/roots"
    (name,) = checked.match_typed_subject_alt_names
    assert (name.san_type, name.matcher.exact) == (pb.tls_common.SubjectAltNameMatcher.DNS, context.sni)


def test_the_token_is_put_into_every_request_and_is_read_again() -> None:
    injector, last = options(cluster(TRUST)).http_filters
    found = credential_injector_pb2.CredentialInjector.FromString(injector.typed_config.value)
    generic = generic_pb2.Generic.FromString(found.credential.typed_config.value)
    assert (injector.name, found.overwrite) == ("envoy.filters.http.credential_injector", True)
    assert source(generic.credential) == ("xdstoken", f"/etc/mesh/{TOKEN_FILE}", "/etc/mesh")
    assert generic.header == "authorization"
    assert '"header_value_prefix": "Bearer "' in json.dumps(http_filters(TRUST))
    # An upstream with filters sends by the last of them.
    assert last.name == "envoy.filters.http.upstream_codec"
    assert last.typed_config.Is(upstream_codec_pb2.UpstreamCodec.DESCRIPTOR)
    named = secret(TRUST, TOKEN_FILE)
    held = named.generic_secret.secret
    assert named.name == "xdstoken"
    assert (held.filename, held.watched_directory.path) == ("/var/tokens/token", "/var/tokens")


def test_keepalive_stays_with_filters() -> None:
    http2 = options(cluster(TRUST)).explicit_http_config.http2_protocol_options
    assert http2.connection_keepalive.interval.seconds == 30


@pytest.mark.parametrize("trust", [None, Trust("/etc/mesh")])
def test_without_files_it_is_plaintext_from_nobody(trust: Trust | None) -> None:
    found = cluster(trust)
    assert not found.HasField("transport_socket")
    assert not options(found).http_filters
    assert secret_files(trust or Trust("/etc/mesh")) == {}


def test_a_token_over_a_local_socket_needs_no_root() -> None:
    trust = Trust("/etc/mesh", token="/token")
    assert not cluster(trust).HasField("transport_socket")
    assert list(secret_files(trust)) == [TOKEN_FILE]
    assert secret(trust, TOKEN_FILE).generic_secret.secret.watched_directory.path == "/"


def test_another_name_of_the_control_plane() -> None:
    trust = Trust("/etc/mesh", root="/roots/root.pem", name="plane.example.com")
    context = pb.tls.UpstreamTlsContext.FromString(cluster(trust).transport_socket.typed_config.value)
    (name,) = secret(trust, ROOT_FILE).validation_context.match_typed_subject_alt_names
    assert context.sni == name.matcher.exact == "plane.example.com"
