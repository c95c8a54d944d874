"""A file's bytes become units: objects with lines, and broken pieces in their places."""

from __future__ import annotations

import json
import textwrap

from controlplane.model.keys import Key
from controlplane.sources.directory.documents import Broken, Object, Unit, read_units


def units(text: str, file: str = "a.yaml") -> tuple[Unit, ...]:
    return read_units(textwrap.dedent(text).encode(), file)


def shown(text: str, file: str = "a.yaml") -> list[tuple[str, int]]:
    """(kind namespace/name or the complaint, line) of each unit."""
    return [
        (str(unit.name) if isinstance(unit, Object) else unit.message, unit.line)
        for unit in units(text, file)
    ]


def test_a_broken_document_does_not_harm_its_neighbours() -> None:
    text = """\
        # the first
        apiVersion: v1
        kind: Service
        metadata: {name: a}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: b
        spec:
          x
        ---
        kind: Service
        apiVersion: v1
        metadata: {name: c, namespace: prod}
        """
    (a, line), (complaint, broken), (c, end) = shown(text)
    assert (a, line) == ("Service default/a", 2)
    assert "not YAML" in complaint
    assert "line 8" in complaint
    assert 8 <= broken <= 10
    assert (c, end) == ("Service prod/c", 12)


def test_lists_are_replaced_by_their_items() -> None:
    text = """\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: Service
          metadata: {name: a}
        - apiVersion: v1
          kind: ServiceList
          items:
          - metadata: {name: b}
        ---
        apiVersion: v1
        kind: ServiceList
        metadata: {resourceVersion: ""}
        items:
        - metadata: {name: c}
        -
          metadata: {name: d}
        """
    assert shown(text) == [
        ("Service default/a", 4),
        ("Service default/b", 7),
        ("Service default/c", 16),
        ("Service default/d", 18),
    ]
    typed = units(text)[2]
    assert isinstance(typed, Object)
    assert typed.raw is not None
    assert (typed.raw["kind"], typed.raw["apiVersion"]) == ("Service", "v1")


def test_a_bad_item_spares_the_others() -> None:
    text = """\
        apiVersion: v1
        kind: List
        items:
        - 7
        - apiVersion: v1
          kind: Service
          metadata: {name: a}
        - {kind: Service, apiVersion: v1}
        """
    assert shown(text) == [
        ("expected an object, got a number", 1),
        ("Service default/a", 5),
        ("the document has no metadata", 8),
    ]


def test_an_empty_list_is_nothing_and_a_wrong_one_is_broken() -> None:
    assert shown("{kind: List, apiVersion: v1, items: []}") == []
    assert shown("{kind: List, apiVersion: v1, items: null}") == []
    assert shown("{kind: List, apiVersion: v1, items: {}}") == [("items must be a list, got nothing", 1)]


def test_json_has_the_same_units() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, 3]}, indent=1)
    first, second = shown(text, "a.json")
    assert first == ("Service default/a", 5)
    assert second[0] == "expected an object, got a number"


def test_documents_that_name_no_object() -> None:
    assert shown("x: 1") == [("the document has no kind", 1)]
    assert shown("kind: Service") == [("the document has no apiVersion", 1)]
    assert shown("- a\n- b") == [("expected an object, got a list", 1)]
    assert shown("just text") == [("expected an object, got text", 1)]
    assert shown("{kind: Service, apiVersion: v1, metadata: {name: 1}}") == [("the object has no name", 1)]
    assert shown("{kind: Service, apiVersion: v1, metadata: {name: a, namespace: 1}}") == [
        ("the namespace must be text", 1)
    ]
    assert shown("{kind: 3}") == [("the document has no kind", 1)]
    assert shown("{kind: Service, apiVersion: 1}") == [("apiVersion must be text", 1)]


def test_namespaces() -> None:
    (namespace,) = units("{kind: Namespace, apiVersion: v1, metadata: {name: a, namespace: x}}")
    (service,) = units("{kind: Service, apiVersion: v1, metadata: {name: a}}")
    (foreign,) = units("{kind: Deployment, apiVersion: apps/v1, metadata: {name: a}}")
    (mesh,) = units("{kind: MeshConfig, rootNamespace: x}")
    assert isinstance(namespace, Object)
    assert isinstance(service, Object)
    assert isinstance(foreign, Object)
    assert isinstance(mesh, Object)
    assert namespace.name.key == Key("", "a")
    assert service.name.key == Key("default", "a")
    assert (foreign.name.group, foreign.name.key) == ("apps", Key("default", "a"))
    assert mesh.name.key == Key("", "mesh")


def test_a_file_that_is_not_text_is_one_broken_piece() -> None:
    (unit,) = read_units(b"kind: Service\n\xff\xfe", "a.yaml")
    assert isinstance(unit, Broken)
    assert (unit.line, unit.text) == (2, "")


def test_empty_documents_are_nothing() -> None:
    assert shown("") == []
    assert shown("---\n# nothing\n---\n\n...\n---\nnull\n") == []
    assert shown("", "a.json") == []


def test_equal_contents_have_equal_prints() -> None:
    text = "{kind: Service, apiVersion: v1, metadata: {name: a}, spec: {x: [1, 2.5, true, null, text]}}"
    (first,), (second,) = units(text), units("\n\n" + text)
    (other,) = units(text.replace("2.5", "2.25"))
    assert isinstance(first, Object)
    assert isinstance(second, Object)
    assert isinstance(other, Object)
    assert first.print == second.print != other.print


def test_numbers_and_truth_have_different_prints() -> None:
    text = "{kind: Service, apiVersion: v1, metadata: {name: a}, spec: {x: %s}}"
    prints = {
        unit.print
        for value in ("1", "1.0", "true", "'1'")
        for unit in units(text % value)
        if isinstance(unit, Object)
    }
    assert len(prints) == 4
