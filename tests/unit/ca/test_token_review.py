"""What an API server says of a token, and for how long that is believed."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from controlplane.base.clock import FakeClock
from controlplane.base.errors import Unauthenticated
from controlplane.ca.token_review import TokenReviews
from controlplane.ca.tokens import Account

USER = "system:serviceaccount:default:web"
CLAIMS = {"iss": "https://kubernetes.default.svc", "exp": 2000, "iat": 1000, "jti": "an-id"}


def token(**claims: Any) -> str:
    return jwt.encode({**CLAIMS, **claims}, "k" * 32, algorithm="HS256")


def good(**changed: Any) -> SimpleNamespace:
    """A status as the client's V1TokenReviewStatus has it."""
    user = SimpleNamespace(username=changed.pop("username", USER), extra=changed.pop("extra", None))
    return SimpleNamespace(**{"authenticated": True, "audiences": ["istio-ca"], "user": user, **changed})


class Api:
    """Answers as told, and counts."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.clock = FakeClock()
        self.reviews = TokenReviews(self.review, self.clock)

    async def review(self, token: str, audiences: tuple[str, ...]) -> Any:
        self.asked.append((token, audiences))
        await asyncio.sleep(0)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def judge(self, text: str = "") -> Account:
        return asyncio.run(self.reviews.judge(text or token()))

    def refused(self, text: str = "") -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.judge(text)
        return caught.value.cause


def test_a_good_token_is_its_accounts() -> None:
    extra = {
        "authentication.kubernetes.io/pod-name": ["web-1"],
        "authentication.kubernetes.io/pod-uid": ["uid"],
        "authentication.kubernetes.io/node-name": ["node-1"],
    }
    api = Api(good(extra=extra))
    assert api.judge() == Account("default", "web", 2000.0, 1000.0, "an-id", "web-1")
    assert api.asked == [(token(), ("istio-ca",))]
    assert Api(good()).judge().pod == ""


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (good(authenticated=None), "forged"),
        (good(authenticated=False), "forged"),
        (good(audiences=None), "audience"),
        (good(audiences=[]), "audience"),
        (good(audiences=["https://kubernetes.default.svc"]), "audience"),
        (good(username="system:node:n1"), "claims"),
        (good(username="admin"), "claims"),
        (good(username="system:serviceaccount:default:web:more"), "claims"),
        (good(username=None), "claims"),
    ],
)
def test_what_the_api_server_does_not_vouch_for_is_refused(status: Any, cause: str) -> None:
    assert Api(status).refused() == cause


@pytest.mark.parametrize("claims", [{"exp": None}, {"iat": None}, {"exp": "soon"}])
def test_a_token_without_an_end_is_refused(claims: dict[str, Any]) -> None:
    # That of a service account's Secret is for ever.
    text = jwt.encode({k: v for k, v in {**CLAIMS, **claims}.items() if v is not None}, "k" * 32)
    assert Api(good()).refused(text) == "claims"


@pytest.mark.parametrize("error", [OSError("no route"), TimeoutError(), ValueError("Bearer xyz")])
def test_nobody_is_let_in_when_nobody_can_be_asked(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api = Api(error)
    assert api.refused() == "review"
    assert token() not in caplog.text
    assert "xyz" not in " ".join(repr(vars(record)) for record in caplog.records)
    api.answer = good()
    assert api.judge().name == "web"


def test_a_silent_api_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.ca.token_review._PATIENCE", 0.01)

    async def silent(token: str, audiences: tuple[str, ...]) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(Unauthenticated, match="could not be asked"):
        asyncio.run(TokenReviews(silent, FakeClock()).judge(token()))


def test_an_answer_is_believed_for_some_seconds() -> None:
    async def test() -> None:
        api = Api(good())
        for _ in range(3):
            await api.reviews.judge(token())
        assert len(api.asked) == 1
        await api.reviews.judge(token(jti="another"))
        assert len(api.asked) == 2
        await api.clock.advance(9.9)
        await api.reviews.judge(token())
        assert len(api.asked) == 2
        await api.clock.advance(0.1)
        api.answer = good(authenticated=None)
        with pytest.raises(Unauthenticated):
            await api.reviews.judge(token())
        assert len(api.asked) == 3
        with pytest.raises(Unauthenticated):
            await api.reviews.judge(token())
        assert len(api.asked) == 3
        await api.clock.advance(2.0)
        api.answer = good()
        await api.reviews.judge(token())
        assert len(api.asked) == 4

    asyncio.run(test())


def test_a_thousand_at_once_ask_once() -> None:
    async def test() -> None:
        api = Api(good())
        found = await asyncio.gather(*(api.reviews.judge(token()) for _ in range(1000)))
        assert len(set(found)) == 1
        assert len(api.asked) == 1

    asyncio.run(test())


def test_not_everything_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.ca.token_review._AT_ONCE", 3)
    now, most = 0, 0

    async def review(token: str, audiences: tuple[str, ...]) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return good()

    async def test() -> None:
        reviews = TokenReviews(review, FakeClock())
        await asyncio.gather(*(reviews.judge(token(jti=str(number))) for number in range(20)))

    asyncio.run(test())
    assert most == 3


def test_one_who_leaves_does_not_disturb_the_others() -> None:
    async def test() -> None:
        api = Api(good())
        first = asyncio.create_task(api.reviews.judge(token()))
        second = asyncio.create_task(api.reviews.judge(token()))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).name == "web"

    asyncio.run(test())


def test_tokens_are_not_kept() -> None:
    api = Api(good())
    api.judge()
    assert token() not in repr(vars(api.reviews))
