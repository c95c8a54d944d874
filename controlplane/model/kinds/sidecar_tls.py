"""TLS that a sidecar ends itself, at the ingress listeners of a Sidecar."""

from __future__ import annotations

from controlplane.model.describe import shorten
from controlplane.model.kinds.tls import CIPHER_SUITES, ECDH_CURVES, ServerTLSSettings
from controlplane.model.reader import Reader


def check_sidecar_tls(r: Reader, protocol: str, tls: ServerTLSSettings) -> None:
    """A sidecar ends TLS with certificates from files: it is given no Secrets."""
    if tls.mode not in ("SIMPLE", "MUTUAL"):
        r.error("tls.mode", f"{tls.mode} is for gateways", "use SIMPLE or MUTUAL, or leave tls out")
        return
    if tls.https_redirect:
        r.error("tls.httpsRedirect", "is for gateways", "remove it")
    if protocol.upper() not in ("HTTPS", "TLS"):
        why = f"is not allowed with protocol {shorten(protocol)}"
        r.error("tls", why, "use protocol HTTPS or TLS")
    secrets = {
        "credentialName": tls.credential_name,
        "credentialNames": tls.credential_names,
        "caCertCredentialName": tls.ca_cert_credential_name,
    }
    for name in (name for name, value in secrets.items() if value):
        remedy = "mount the files, and say serverCertificate, privateKey and caCertificates"
        r.error(f"tls.{name}", "is not supported: sidecars are given no Secrets", remedy)
    if tls.mode == "SIMPLE" and tls.ca_crl:
        r.error("tls.caCrl", "needs mode MUTUAL: nobody is checked", "remove it, or use MUTUAL")
    if tls.mode == "MUTUAL" and not tls.ca_certificates:
        r.error(
            "tls.caCertificates", "is missing, and MUTUAL needs it", "name the file of the clients' roots"
        )
    for index, one in enumerate(tls.tls_certificates):
        if one.ca_certificates:
            where = f"tls.tlsCertificates[{index}].caCertificates"
            r.warn(where, "has no effect: clients are checked for the port", "say tls.caCertificates")
    if tls.insecure_skip_verify:
        r.warn("tls.insecureSkipVerify", "has no effect: clients are checked", "use SIMPLE, or remove it")
    for name, said, known in (
        ("cipherSuites", tls.cipher_suites, CIPHER_SUITES),
        ("ecdhCurves", tls.ecdh_curves, ECDH_CURVES),
    ):
        for index, word in enumerate(said):
            if word not in known:
                r.warn(f"tls.{name}[{index}]", f"{shorten(word)} is not known to Envoy", "remove it")
