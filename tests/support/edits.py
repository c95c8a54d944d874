"""A small mesh that somebody edits without a plan: the same seed, the same edits.

Few names and many edits, so that objects meet: services come and go under routes, rules name subsets
that nobody has, two entries claim one host, Sidecars hide what was in use.  Some edits are mistakes:
broken YAML, wrong types, unknown kinds, objects that stand twice.  `mend` takes the mistakes back.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.support import objects as a
from tests.support.files import MeshFiles, Object, file_of

NAMESPACES = ("front", "back", "vault")
NAMES = ("web", "api", "cart", "mail", "ledger")
VERSIONS = ("v1", "v2", "v3")
OUTSIDE = ("a.example.com", "b.example.com", "*.wild.example.com", "mail.front.svc.cluster.local")
PORTS = ("http=80:8080", "http=80:8080, grpc=7070", "tcp=9000", "http=80:8080, tcp=9000:9001", "auto=90")
_CLIENTS = ("web", "api")


class Editor:
    """Edits a mesh; `history` tells what was done, newest last."""

    def __init__(self, files: MeshFiles, seed: int, *, mistakes: bool = True) -> None:
        self.files = files
        self.history: list[str] = []
        self._random = random.Random(seed)
        self._lent = random.Random(seed)
        self._held: dict[str, Object] = {}
        self._pods: dict[str, Object] = {}
        self._spoilt: set[str] = set()
        self._edits: list[tuple[int, Callable[[], str]]] = [
            (10, self._service),
            (20, self._endpoints),
            (8, self._pod),
            (20, self._virtual_service),
            (12, self._destination_rule),
            (10, self._service_entry),
            (5, self._sidecar),
            (2, self._mesh_config),
            (4, self._rename),
        ]
        if mistakes:
            self._edits.append((10, self._mistake))

    def begin(self) -> None:
        """Write what is there before the first edit: every service, with endpoints and pods."""
        number = 0
        for namespace in NAMESPACES:
            for name in NAMES:
                number += 1
                ports = PORTS[number % len(PORTS)]
                self._put(a.service(name, namespace, ports, number=number))
                self._put(self._slice(name, namespace))
        for _ in range(6):
            self._pod()

    def edit(self) -> str:
        """Make one edit and say what it was."""
        weights = [weight for weight, _ in self._edits]
        (_, act), *_ = self._random.choices(self._edits, weights)
        self.history.append(act())
        return self.history[-1]

    def mend(self) -> None:
        """Take all mistakes back."""
        for file in sorted(self._spoilt):
            if file in self.files.holds:
                self.files.restore(file)
            else:
                (self.files.directory / file).unlink()
        self._spoilt.clear()

    # -- one edit each --------------------------------------------------------------------------

    def _service(self) -> str:
        name, namespace = self._name(), self._namespace()
        number = NAMESPACES.index(namespace) * len(NAMES) + NAMES.index(name) + 1
        exported = self._random.choice((None, None, "*", ".", "front,back", "~"))
        one = a.service(name, namespace, self._random.choice(PORTS), number=number, exported=exported)
        return self._put_or_delete(one, 0.25)

    def _endpoints(self) -> str:
        return self._put_or_delete(self._slice(self._name(), self._namespace()), 0.1)

    def _pod(self) -> str:
        name, namespace = self._name(), self._namespace()
        number = self._random.randrange(1, 9)
        one = a.pod(
            f"{name}-{number}",
            self._address(name, namespace, number),
            namespace,
            app=name,
            version=self._random.choice(VERSIONS),
        )
        # All pods share a file: an edit of one rewrites them all.
        key = file_of(one)
        gone = key in self._pods and self._random.random() < 0.3
        if gone:
            del self._pods[key]
        else:
            self._pods[key] = one
        self.files.write("pods.yaml", *(self._pods[key] for key in sorted(self._pods)))
        return f"{'delete' if gone else 'put'} {key}"

    def _virtual_service(self) -> str:
        namespace = self._namespace()
        host = self._host()
        spec: dict[str, Any] = {"hosts": [host]}
        if self._random.random() < 0.3:
            spec["exportTo"] = self._export_to()
        if self._random.random() < 0.15:
            spec["tcp"] = [{"route": [{"destination": {"host": self._host()}}]}]
        else:
            spec["http"] = [self._http_route() for _ in range(self._random.randrange(1, 4))]
        name = f"route-{self._random.randrange(4)}"
        if "http" in spec and self._lent.random() < 0.3:
            lent = f"route-{self._lent.randrange(4)}"
            match = {"uri": {"prefix": "/"}}
            delegate = {"name": lent, "namespace": self._lent.choice(NAMESPACES)}
            spec["http"].insert(0, {"match": [match], "delegate": delegate, "timeout": "9s"})
        elif "http" in spec and self._lent.random() < 0.3:
            # Without hosts it lends its rules to others.
            del spec["hosts"]
        return self._put_or_delete(a.thing("VirtualService", name, namespace, {"spec": spec}), 0.3)

    def _http_route(self) -> dict[str, Any]:
        pick = self._random.random
        route: dict[str, Any] = {}
        if pick() < 0.5:
            route["match"] = [self._match() for _ in range(self._random.randrange(1, 3))]
        if pick() < 0.1:
            return {**route, "redirect": {"uri": "/moved"}}
        destinations = [self._destination() for _ in range(self._random.randrange(1, 3))]
        weight = 100 // len(destinations)
        route["route"] = [{"destination": one, "weight": weight} for one in destinations]
        if pick() < 0.4:
            route["timeout"] = f"{self._random.randrange(1, 9)}s"
        if pick() < 0.2:
            attempts = self._random.randrange(4)
            route["retries"] = {"attempts": attempts, **({"perTryTimeout": "1s"} if attempts else {})}
        if pick() < 0.2:
            route["fault"] = {"abort": {"httpStatus": 503, "percentage": {"value": 1.5}}}
        if pick() < 0.2:
            route["rewrite"] = {"uri": "/new"}
        if pick() < 0.2:
            route["headers"] = {"request": {"set": {"x-edit": str(self._random.randrange(9))}}}
        return route

    def _match(self) -> dict[str, Any]:
        matches: list[dict[str, Any]] = [
            {"uri": {"prefix": f"/{self._name()}"}},
            {"uri": {"regex": "/[a-z]+/[0-9]"}},
            {"headers": {"end-user": {"exact": "jason"}}},
            {"method": {"exact": "GET"}, "port": 80},
            {"queryParams": {"q": {"exact": "1"}}},
            {"sourceLabels": {"app": self._random.choice(_CLIENTS)}},
        ]
        return self._random.choice(matches)

    def _destination(self) -> dict[str, Any]:
        found: dict[str, Any] = {"host": self._host()}
        if self._random.random() < 0.5:
            found["subset"] = self._random.choice(VERSIONS)
        if self._random.random() < 0.3:
            found["port"] = {"number": self._random.choice((80, 9000))}
        return found

    def _destination_rule(self) -> str:
        versions = self._random.sample(VERSIONS, self._random.randrange(len(VERSIONS) + 1))
        one = a.destination_rule(
            f"rule-{self._random.randrange(3)}",
            self._host(),
            self._namespace(),
            subsets=tuple(versions),
            connections=self._random.randrange(3),
            export_to=tuple(self._export_to()) if self._random.random() < 0.3 else (),
        )
        return self._put_or_delete(one, 0.3)

    def _service_entry(self) -> str:
        resolution = self._random.choice(("STATIC", "DNS", "NONE"))
        count = 0 if resolution == "NONE" else self._random.randrange(1, 3)
        # 192.0.2.0/24 is for documentation: nobody is there to be reached.
        addresses = (f"192.0.2.{self._random.randrange(1, 9)}" for _ in range(count))
        host = self._random.choice(OUTSIDE)
        one = a.service_entry(
            f"entry-{self._random.randrange(3)}",
            host,
            self._namespace(),
            resolution="NONE" if host.startswith("*") else resolution,
            ports=self._random.choice(("http=80", "http=80, tls=443", "tcp=9000", "http-alt=8081")),
            endpoints=() if host.startswith("*") else tuple(sorted(set(addresses))),
            export_to=tuple(self._export_to()) if self._random.random() < 0.3 else (),
        )
        return self._put_or_delete(one, 0.4)

    def _sidecar(self) -> str:
        hosts = self._random.sample(("./*", "back/*", "*/*", "front/web.front.svc.cluster.local", "~/*"), 2)
        selector = self._random.choice((None, {"app": "web"}, {"app": "api"}))
        name = "default" if selector is None else f"of-{selector['app']}"
        return self._put_or_delete(a.sidecar(name, self._namespace(), tuple(hosts), selector=selector), 0.5)

    def _mesh_config(self) -> str:
        one: dict[str, Any] = {"kind": "MeshConfig"}
        if self._random.random() < 0.5:
            one["outboundTrafficPolicy"] = {"mode": "REGISTRY_ONLY"}
        if self._random.random() < 0.3:
            one["defaultServiceExportTo"] = ["."]
        if self._random.random() < 0.5:
            one["connectTimeout"] = f"{self._random.randrange(1, 9)}s"
        self.files.write("mesh.yaml", one)
        return f"mesh config {json.dumps(one)}"

    def _rename(self) -> str:
        candidates = sorted(self.files.holds.keys() - self._spoilt - {"pods.yaml", "mesh.yaml"})
        if not candidates:
            return "nothing to rename"
        file = self._random.choice(candidates)
        key = file.removeprefix("moved.")
        to = key if file != key else f"moved.{key}"
        self.files.rename(file, to)
        return f"rename {file} to {to}"

    def _mistake(self) -> str:
        texts = (
            "spec: {hosts: [\n",
            "just a word\n",
            "",
            "apiVersion: v1\nkind: Servce\nmetadata: {name: x}\n",
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: 7\n",
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\n"
            "spec: {hosts: [web], http: [{match: [{uri: {regex: '['}}], redirect: {uri: /x}}]}\n",
        )
        text = self._random.choice(texts)
        if self._random.random() < 0.5:
            file = self._random.choice(sorted(self.files.holds))
        elif self._random.random() < 0.5:
            file = f"stray-{self._random.randrange(3)}.yaml"
        else:
            # Another copy of an object that is there; the one in the file of the smaller name counts.
            original = self._held[self._random.choice(sorted(self._held))]
            text = json.dumps({**original, "metadata": {**original["metadata"], "labels": {"copy": "yes"}}})
            file = "zz-copy.yaml"
        self.files.text(file, text)
        self._spoilt.add(file)
        return f"mistake in {file}: {text[:40]!r}"

    # -- what they are made of ------------------------------------------------------------------

    def _put_or_delete(self, one: Object, chance: float) -> str:
        key = file_of(one)
        if key in self._held and self._random.random() < chance:
            del self._held[key]
            file = self._file(key)
            self.files.remove(file)
            self._spoilt.discard(file)
            return f"delete {key}"
        self._put(one)
        return f"put {json.dumps(one.get('spec', one.get('endpoints')))} as {key}"

    def _put(self, one: Object) -> None:
        key = file_of(one)
        self._held[key] = one
        file = self._file(key)
        self.files.write(file, one)
        self._spoilt.discard(file)

    def _file(self, key: str) -> str:
        moved = f"moved.{key}"
        return moved if moved in self.files.holds else key

    def _slice(self, name: str, namespace: str) -> Object:
        numbers = self._random.sample(range(1, 9), self._random.randrange(4))
        addresses = [self._address(name, namespace, number) for number in sorted(numbers)]
        return a.endpoints(name, addresses, namespace, "http=8080, grpc=7070, tcp=9000, auto=90")

    def _address(self, name: str, namespace: str, number: int) -> str:
        return f"10.244.{10 + NAMESPACES.index(namespace)}.{NAMES.index(name) * 20 + number}"

    def _export_to(self) -> list[str]:
        return [self._random.choice((".", "*", "front", "back"))]

    def _host(self) -> str:
        """A host that may exist, now or later; sometimes one that never will."""
        if self._random.random() < 0.25:
            return self._random.choice((*OUTSIDE[:2], "nobody.example.com"))
        return f"{self._name()}.{self._namespace()}.svc.cluster.local"

    def _name(self) -> str:
        return self._random.choice(NAMES)

    def _namespace(self) -> str:
        return self._random.choice(NAMESPACES)
