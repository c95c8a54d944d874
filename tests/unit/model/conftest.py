"""What a test asks of a parsed object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from model_objects import WHERE, build

from controlplane.model.kinds import BY_NAME, Parsed


@pytest.fixture
def read() -> Callable[..., Parsed]:
    """Parse `body` as an object of a kind."""
    return lambda kind, body, **metadata: BY_NAME[kind].parse(build(kind, body, **metadata), WHERE)


@pytest.fixture
def value(read: Callable[..., Parsed]) -> Callable[..., Any]:
    """The value of an object that must be read without any Problem."""

    def of(kind: str, body: dict[str, Any], **metadata: Any) -> Any:
        parsed = read(kind, body, **metadata)
        assert parsed.problems == ()
        return parsed.value

    return of


@pytest.fixture
def refused(read: Callable[..., Parsed]) -> Callable[..., dict[str, str]]:
    """The messages of the errors by field path; each object must be refused and name a remedy."""

    def of(kind: str, body: dict[str, Any], **metadata: Any) -> dict[str, str]:
        parsed = read(kind, body, **metadata)
        errors = [problem for problem in parsed.problems if problem.level == "error"]
        assert parsed.value is None
        assert errors
        assert all((problem.kind, problem.file, problem.line) == (kind, *WHERE) for problem in errors)
        return {problem.field: problem.message for problem in errors}

    return of


@pytest.fixture
def warned(read: Callable[..., Parsed]) -> Callable[..., dict[str, str]]:
    """The messages of the warnings by field path; the object must be accepted."""

    def of(kind: str, body: dict[str, Any], **metadata: Any) -> dict[str, str]:
        parsed = read(kind, body, **metadata)
        assert parsed.value is not None
        assert {problem.level for problem in parsed.problems} <= {"warning"}
        return {problem.field: f"{problem.message}; {problem.remedy}" for problem in parsed.problems}

    return of
