"""Edits of the files that a user edits, made as an editor makes them: a whole new file is moved in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_REVIEWS = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
    - reviews
  http:
    - route:
{routes}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: reviews
spec:
  host: reviews
  subsets:
{subsets}"""


def route_reviews(rules: Path, weights: Mapping[str, int]) -> None:
    """Give the versions of reviews these weights, in the file that has them in `rules`."""
    routes = "".join(
        f"        - destination:\n            host: reviews\n            subset: {version}\n"
        f"          weight: {weight}\n"
        for version, weight in weights.items()
    )
    versions = ("v1", "v2", "v3")
    subsets = "".join(f"    - name: {v}\n      labels:\n        version: {v}\n" for v in versions)
    replace(rules / "reviews.yaml", _REVIEWS.format(routes=routes, subsets=subsets))


def replace(file: Path, text: str) -> None:
    """Write the text beside the file and move it there."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(text)
    beside.replace(file)
