"""Another protobuf implementation reads what is served: envoy-data-plane (betterproto) agrees with upb.

Each resource, and each message packed inside it, is decoded by classes generated elsewhere and encoded
again; the result must be an equal message.  Our own stubs are used for the comparison only.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import betterproto2
import pydantic_core
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message

from controlplane.envoy import pb
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import CLUSTER
from tests.golden.harness import CASES, Case


@cache
def _foreign(type_url: str) -> type:
    """The betterproto class of a type URL."""
    package = type_url.removeprefix(pb.TYPE_PREFIX).rpartition(".")[0]
    with warnings.catch_warnings():
        # Its validators are written for an older pydantic, which warns at import; not ours to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module(f"envoy_data_plane.{package}")
        pool = importlib.import_module("envoy_data_plane.message_pool").default_message_pool
    return pool.url_to_type[type_url]


def _packed(message: Message) -> Iterator[any_pb2.Any]:
    """All Any values inside a message, at any depth."""
    if isinstance(message, any_pb2.Any):
        yield message
        yield from _packed(pb.parse(message.type_url, message.value))
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_name["value"].message_type
            parts = list(value.values()) if kind is not None else []
        else:
            parts = list(value) if field.is_repeated else [value]
        for part in parts:
            yield from _packed(part)


# Resources, and whole cases, have much in common: equal bytes are read once.
@cache
def _reads_back(type_url: str, body: bytes) -> bool:
    again = bytes(_foreign(type_url).parse(body))
    return pb.parse(type_url, again) == pb.parse(type_url, body)


def _disagreements(resource: Resource) -> list[str]:
    return [f"{resource.name}: {url}" for url in _disagreeing(resource.type_url, resource.body)]


@cache
def _disagreeing(type_url: str, body: bytes) -> tuple[str, ...]:
    parts = [(type_url, body)]
    root = pb.parse(type_url, body)
    parts += [(inner.type_url, inner.value) for inner in _packed(root)]
    return tuple(url for url, part in parts if not _reads_back(url, part))


@cache
def _validator(kind: Any) -> Any:
    return pydantic_core.SchemaValidator(kind.__pydantic_core_schema__)


@pytest.fixture(autouse=True)
def validators_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """betterproto makes one for each message that it writes: half of the time that reading takes."""

    def validate(message: betterproto2.Message) -> None:
        fields = {name: value for name, value in vars(message).items() if name != "_unknown_fields"}
        _validator(type(message)).validate_python(fields)

    monkeypatch.setattr(betterproto2.Message, "_validate", validate)


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_served_resource_reads_back_equal(name: str) -> None:
    resources = Case(name).all()
    assert resources
    assert [line for resource in resources for line in _disagreements(resource)] == []


def test_a_difference_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        """Reads everything as a cluster that has a name and nothing else."""

        @staticmethod
        def parse(body: bytes) -> bytes:
            return bytes(_cluster(name=pb.cluster.Cluster.FromString(body).name))

    _cluster = _foreign(CLUSTER)
    resource = next(r for r in Case(CASES[0]).all() if r.type_url == CLUSTER)
    assert _disagreements(resource) == []
    _forget()
    monkeypatch.setattr(sys.modules[__name__], "_foreign", lambda type_url: Forgetful)
    assert f"{resource.name}: {CLUSTER}" in _disagreements(resource)
    _forget()


def _forget() -> None:
    _disagreeing.cache_clear()
    _reads_back.cache_clear()
