"""The rows of the settings that are about containers: where they are told of, and what they count as."""

from __future__ import annotations

from controlplane.base import parse
from controlplane.settings.option import Option

DOCKER: tuple[Option, ...] = (
    Option(
        "docker",
        parse.optional(parse.dialled_address),
        "",
        'unix:/PATH or HOST:PORT; "" for none',
        "the Docker API whose containers become Services and workloads; it is only read",
    ),
    Option(
        "docker_project",
        parse.optional(parse.word),
        "",
        "the name of a Compose project",
        "whose containers count; by default those of the project that this control plane runs in, or all",
    ),
    Option(
        "docker_namespace",
        parse.word,
        "default",
        "a namespace",
        "where containers' Services and workloads are, and with them the identities of their sidecars",
    ),
    Option(
        "compose_files",
        parse.files,
        "",
        "existing files with commas, a later one over those before",
        "Compose files whose services become Services and workloads, found by DNS: without Docker's API",
    ),
)
