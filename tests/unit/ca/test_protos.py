"""What is made from protos/ is checked in, is what they give, and speaks the wire of Istio's service."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from controlplane._pb.istio.v1.auth import ca_pb2

ROOT = Path(__file__).parents[3]
MADE = ROOT / "controlplane/_pb"


def test_the_checked_in_code_is_what_the_protos_give(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in ROOT.glob("protos/**/*.proto"))
    outputs = (f"--python_out={tmp_path}", f"--pyi_out={tmp_path}")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", *outputs, *protos]
    subprocess.run(command, check=True)

    def content(folder: Path) -> dict[str, str]:
        files = (path for suffix in ("py", "pyi") for path in folder.glob(f"**/*_pb2.{suffix}"))
        return {str(path.relative_to(folder)): path.read_text() for path in files}

    assert content(MADE).keys() == content(tmp_path).keys()
    assert content(MADE) == content(tmp_path), (
        f"run make protos (with grpcio-tools {version('grpcio-tools')})"
    )


def test_names_and_numbers_are_istios() -> None:
    file = descriptor_pb2.FileDescriptorProto()
    ca_pb2.DESCRIPTOR.CopyToProto(file)
    assert file.package == "istio.v1.auth"
    (service,) = file.service
    (method,) = service.method
    assert (service.name, method.name) == ("IstioCertificateService", "CreateCertificate")
    assert method.input_type == ".istio.v1.auth.IstioCertificateRequest"
    fields = {
        message.name: [(field.number, field.name, field.type) for field in message.field]
        for message in file.message_type
    }
    kinds = descriptor_pb2.FieldDescriptorProto
    assert fields == {
        "IstioCertificateRequest": [
            (1, "csr", kinds.TYPE_STRING),
            (3, "validity_duration", kinds.TYPE_INT64),
            (4, "metadata", kinds.TYPE_MESSAGE),
        ],
        "IstioCertificateResponse": [(1, "cert_chain", kinds.TYPE_STRING)],
    }


def test_bytes_on_the_wire() -> None:
    request = ca_pb2.IstioCertificateRequest.FromString(b"\x0a\x01x\x18\xac\x02\x22\x00")
    assert (request.csr, request.validity_duration, request.HasField("metadata")) == ("x", 300, True)
    response = ca_pb2.IstioCertificateResponse(cert_chain=["a", "b"])
    assert response.SerializeToString() == b"\x0a\x01a\x0a\x01b"
