"""At no moment of a change of root is there a proxy that another does not trust.

Proxies take what the authority tells at times of their own, roots and leaf one before the other;
the control plane is asked to rotate, goes on, abandons, and crashes at any point, even within a save.
After each step every proxy's leaf leads to a root that every other proxy trusts, and so does the control
plane's own certificate.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from cryptography import x509
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from controlplane.base.clock import FakeClock
from controlplane.ca.authority import Authority
from controlplane.ca.keep import MemoryKeeper
from controlplane.ca.leaf import Names
from controlplane.ca.rotation import Pace, Rotation, RotationRefused, opened
from controlplane.ca.serving import Serving
from controlplane.ca.stages import Roots

LIFE = 1e12
PAUSE = 30.0


@dataclass(eq=False)
class Proxy:
    """What one proxy has: who signed its leaf, and whom it trusts."""

    signed_by: x509.Certificate
    trusts: tuple[x509.Certificate, ...]


class _PowerCut(Exception):
    """The process is no more."""


class Keeper(MemoryKeeper):
    """Outlives processes.  `cut` is when the power goes: before or after the next save, or not at all."""

    cut = ""

    def save(self, roots: Roots) -> None:
        cut, self.cut = self.cut, ""
        if cut == "before":
            raise _PowerCut
        super().save(roots)
        if cut == "after":
            raise _PowerCut


class Rotations(RuleBasedStateMachine):
    proxies: Bundle[Proxy] = Bundle("proxies")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1e9)
        self.keeper = Keeper()
        self.known: list[Proxy] = []
        self.rotations = 0
        self.start_process()

    def start_process(self) -> None:
        roots = opened(self.keeper, self.clock, LIFE)
        self.authority = Authority(roots.signer, roots.trusted, clock=self.clock)
        self.serving = Serving(self.authority, Names((), ("istiod.istio-system.svc",)), self.clock)
        pace = Pace(pause=PAUSE, root_lifetime=LIFE)
        self.rotation = Rotation(roots, self.keeper, self.authority, self.clock, pace)
        self.rotation.behind = self.behind

    def behind(self) -> tuple[str, ...]:
        signer, roots = self.authority.signer.root, self.authority.roots
        late = [proxy for proxy in self.known if (proxy.signed_by, proxy.trusts) != (signer, roots)]
        return tuple(str(id(proxy)) for proxy in late)

    @rule(target=proxies)
    def join(self) -> Proxy:
        self.known.append(Proxy(self.authority.signer.root, self.authority.roots))
        return self.known[-1]

    @rule(proxy=proxies)
    def take_roots(self, proxy: Proxy) -> None:
        proxy.trusts = self.authority.roots

    @rule(proxy=proxies)
    def take_leaf(self, proxy: Proxy) -> None:
        proxy.signed_by = self.authority.signer.root

    @rule()
    def all_follow(self) -> None:
        for proxy in self.known:
            proxy.trusts, proxy.signed_by = self.authority.roots, self.authority.signer.root

    @rule(seconds=st.sampled_from((1.0, PAUSE / 2, PAUSE + 1)))
    def time_passes(self, seconds: float) -> None:
        self.clock._now += seconds

    @rule()
    def rotate(self) -> None:
        with contextlib.suppress(RotationRefused):
            self.rotation.start()
            self.rotations += 1

    @rule()
    def abandon(self) -> None:
        with contextlib.suppress(RotationRefused):
            self.rotation.abandon()

    @rule()
    def step(self) -> None:
        before = self.rotation.roots.stage
        free = before != "idle" and not self.behind()
        due = self.clock.monotonic() >= self.rotation._entered + PAUSE
        assert self.rotation.step() is (free and due)

    @rule(cut=st.sampled_from(("before", "after", "")), act=st.sampled_from(("start", "abandon", "step")))
    def crash(self, cut: str, act: str) -> None:
        self.keeper.cut = cut
        with contextlib.suppress(_PowerCut, RotationRefused):
            getattr(self.rotation, act)()
        self.keeper.cut = ""
        self.start_process()

    @invariant()
    def everybody_trusts_everybody(self) -> None:
        own = x509.load_pem_x509_certificate(self.serving.current.chain)
        for one in self.known:
            assert any(own.issuer == root.subject for root in one.trusts)
            for other in self.known:
                assert one.signed_by in other.trusts

    @invariant()
    def what_is_told_was_kept(self) -> None:
        kept: Any = self.keeper.load()
        assert (kept.signer, kept.trusted) == (self.authority.signer, self.authority.roots)

    def teardown(self) -> None:
        # From wherever it is left, a rotation comes to its end when everybody follows.
        for _ in range(4):
            self.all_follow()
            self.clock._now += PAUSE
            self.rotation.step()
        assert self.rotation.roots.stage == "idle"
        assert self.authority.roots == (self.authority.signer.root,)


Rotations.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_rotations = Rotations.TestCase
