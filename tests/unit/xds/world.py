"""A feed world in memory and a peer that speaks the protocol to a session, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from controlplane.envoy import pb
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import BY_SHORT, BY_URL
from controlplane.model.proxy import Proxy
from controlplane.xds.codec import Codec
from controlplane.xds.feed import UNSETTLED, Union
from controlplane.xds.layers import Ledgers
from controlplane.xds.options import Pace
from controlplane.xds.protocol import Push
from controlplane.xds.session import Heard, Session, Shared
from controlplane.xds.variant import Variant

SOTW, DELTA = Variant.SOTW, Variant.DELTA
PROXY = Proxy(type="sidecar", ip="10.0.0.1", id="web-1.default", namespace="default")


def resource(short: str, name: str, content: str, refs: Iterable[str] = ()) -> Resource:
    """A resource whose body holds its name, its content and its refs, so that peers can follow them."""
    refs = tuple(refs)
    body = f"{name}={content}>{','.join(refs)}"
    return Resource(BY_SHORT[short].url, name, body.encode(), refs)


def refs_of(body: bytes) -> tuple[str, ...]:
    """The refs written into a body by `resource`."""
    tail = body.decode().rpartition(">")[2]
    return tuple(tail.split(",")) if tail else ()


@dataclass(frozen=True)
class FakeDelta:
    upserts: tuple[str, ...]
    removed: tuple[str, ...]


class FakeFeed:
    """A feed with a history of `keep` revisions."""

    def __init__(self, revision: int = 0, keep: int = 1000) -> None:
        self.revision = revision
        self.keep = keep
        self.content: dict[str, Resource] = {}
        self.log: list[tuple[int, str]] = []
        self.failing: dict[str, object] = {}

    def since(self, revision: int) -> FakeDelta | None:
        if revision < self.revision - self.keep:
            return None
        names = {name for at, name in self.log if at > revision}
        return FakeDelta(
            tuple(sorted(name for name in names if name in self.content)),
            tuple(sorted(name for name in names if name not in self.content)),
        )

    def get(self, name: str):
        return self.failing.get(name) or self.content.get(name)

    def names(self) -> list[str]:
        return list(self.content)


class FakePart:
    """The share of a feed that falls to one of several; a resource may move when its content changes."""

    def __init__(self, whole: FakeFeed, mine: Callable[[Resource], bool]) -> None:
        self.whole = whole
        self.mine = mine

    @property
    def revision(self) -> int:
        return self.whole.revision

    def since(self, revision: int) -> FakeDelta | None:
        delta = self.whole.since(revision)
        if delta is None:
            return None
        gone = [name for name in delta.upserts if self.get(name) is None]
        return FakeDelta(tuple(name for name in delta.upserts if name not in gone), (*delta.removed, *gone))

    def get(self, name: str):
        found = self.whole.get(name)
        return found if found is None or self.mine(found) else None

    def names(self) -> list[str]:
        return [name for name in self.whole.names() if self.get(name) is not None]


class FakeUnion(Union):
    """A feed that is made of parts, for streams to find the same in it as in the whole."""

    def __init__(self, whole: FakeFeed, count: int) -> None:
        self.whole = whole
        self._parts = tuple(FakePart(whole, partial(_falls_to, number, count)) for number in range(count))

    @property
    def parts(self) -> tuple[FakePart, ...]:
        return self._parts

    @property
    def revision(self) -> int:
        return self.whole.revision

    def since(self, revision: int) -> FakeDelta | None:
        return self.whole.since(revision)

    def get(self, name: str):
        return self.whole.get(name)

    def names(self) -> list[str]:
        return self.whole.names()


def _falls_to(number: int, count: int, found: Resource) -> bool:
    return sum(found.body) % count == number


class World:
    """Feeds of all types at one revision; it is its own view.  With `parts`, each is a union of so many."""

    def __init__(self, keep: int = 1000, parts: int = 0) -> None:
        self.newest = 0
        self.settled = True
        self._feeds = {short: FakeFeed(keep=keep) for short in BY_SHORT}
        self._served = {
            BY_SHORT[short].url: FakeUnion(feed, parts) if parts else feed
            for short, feed in self._feeds.items()
        }
        self.proxy = PROXY
        self.callbacks: list[Callable[[], None]] = []
        self.closed = 0

    @property
    def revision(self) -> int:
        return self.newest if self.settled else UNSETTLED

    def feed(self, short: str) -> FakeFeed:
        return self._feeds[short]

    @property
    def feeds(self) -> Mapping[str, FakeFeed | FakeUnion]:
        return self._served

    def on_change(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def close(self) -> None:
        self.closed += 1

    def put(self, short: str, name: str, content: str = "1", refs: Iterable[str] = ()) -> None:
        self.commit([(short, name, resource(short, name, content, refs))])

    def drop(self, short: str, *names: str) -> None:
        self.commit([(short, name, None) for name in names])

    def commit(self, changes: Iterable[tuple[str, str, Resource | None]]) -> None:
        """Change several resources in one revision."""
        self.newest += 1
        for short, name, value in changes:
            feed = self._feeds[short]
            if value is None:
                feed.content.pop(name, None)
            else:
                feed.content[name] = value
            feed.log.append((self.newest, name))
            feed.revision = self.newest
        for callback in self.callbacks:
            callback()

    def unsettle(self) -> None:
        """From now on nobody may look."""
        self.settled = False

    def settle(self) -> None:
        self.settled = True


@dataclass
class Response:
    """A response as a client reads it off the wire."""

    short: str
    nonce: str
    version: str
    bodies: dict[str, str]
    """Content (without refs) by name."""
    removed: tuple[str, ...]
    versions: dict[str, str]
    refs: dict[str, tuple[str, ...]]
    identifier: str
    push: Push | None = None
    size: int = 0

    @property
    def names(self) -> list[str]:
        return list(self.bodies)


def read(variant: Variant, data: bytes) -> Response:
    if variant is SOTW:
        message = pb.discovery.DiscoveryResponse.FromString(data)
        pairs = [(one.value.decode().partition("=")[0], one.value) for one in message.resources]
        version, removed, versions = message.version_info, (), {}
    else:
        message = pb.discovery.DeltaDiscoveryResponse.FromString(data)
        pairs = [(one.name, one.resource.value) for one in message.resources]
        version, removed = message.system_version_info, tuple(message.removed_resources)
        versions = {one.name: one.version for one in message.resources}
    return Response(
        short=BY_URL[message.type_url].short,
        nonce=message.nonce,
        version=version,
        bodies={name: body.decode().rpartition(">")[0].rpartition("=")[2] for name, body in pairs},
        removed=removed,
        versions=versions,
        refs={name: refs_of(body) for name, body in pairs},
        identifier=message.control_plane.identifier,
        size=len(data),
    )


@dataclass
class Peer:
    """A client of one session: it says what a test tells it to say, at the time the test sets."""

    world: World
    variant: Variant = DELTA
    pace: Pace = field(default_factory=Pace)
    ledgers: Ledgers = field(default_factory=Ledgers)
    codec: Codec = field(default_factory=lambda: Codec("{}", 2**20))
    now: float = 100.0

    def __post_init__(self) -> None:
        self.session = Session(
            self.variant, self.world.feeds, Shared(self.world, self.ledgers, self.codec, self.pace)
        )
        self.nonces: dict[str, str] = {}

    def ask(self, short: str, *names: str, nonce: str | None = None, **more: object) -> Heard:
        """A request of this type; the nonce is that of the last response unless given."""
        url = BY_SHORT[short].url
        nonce = self.nonces.get(short, "") if nonce is None else nonce
        error = more.pop("error", None)
        if self.variant is SOTW:
            message = pb.discovery.DiscoveryRequest(
                type_url=url, response_nonce=nonce, resource_names=names, version_info=more.pop("version", "")
            )
        else:
            message = pb.discovery.DeltaDiscoveryRequest(
                type_url=url,
                response_nonce=nonce if more.pop("answering", False) else "",
                resource_names_subscribe=names,
                resource_names_unsubscribe=more.pop("unsubscribe", ()),
                initial_resource_versions=more.pop("known", {}),
            )
        assert not more, more
        if error is not None:
            message.error_detail.code = 3
            message.error_detail.message = error
        request, node = self.codec.decode(self.variant, message.SerializeToString())
        assert node is None
        return self.session.receive(request)

    def ack(self, response: Response, *names: str, error: str | None = None) -> Heard:
        """Answer a response; in the SotW variant with the names asked for."""
        if self.variant is SOTW:
            return self.ask(
                response.short, *names, nonce=response.nonce, version=response.version, error=error
            )
        return self.ask(response.short, nonce=response.nonce, answering=True, error=error)

    def nack(self, response: Response, error: str, *names: str) -> Heard:
        return self.ack(response, *names, error=error)

    def one(self) -> Response | None:
        """The next response that is due, if any."""
        found = self.session.next(self.now)
        if found is None:
            return None
        push, data = found
        response = read(self.variant, data)
        response.push = push
        self.nonces[response.short] = response.nonce
        self.session.written(push, self.now)
        return response

    def flush(self, ack: bool = False) -> list[Response]:
        """All responses that are due now; acknowledged as they come where `ack`."""
        responses = []
        while (response := self.one()) is not None:
            responses.append(response)
            assert len(responses) < 100, "endless flush"
            if ack:
                self.ack(response, *self._asked(response.short))
        return responses

    def _asked(self, short: str) -> tuple[str, ...]:
        interest = self.session.subscriptions[BY_SHORT[short].url].interest
        return tuple(sorted(interest.names))

    def sub(self, short: str):
        return self.session.subscriptions[BY_SHORT[short].url]

    def start(self, *asks: tuple[str, ...]) -> None:
        """Subscribe to types (short name, then names) and acknowledge the first answers."""
        for short, *names in asks:
            self.ask(short, *names)
            self.flush(ack=True)
