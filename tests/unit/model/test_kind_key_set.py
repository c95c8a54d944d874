"""FetchedKeySet: made by the control plane alone, and as strict as what users write."""

from __future__ import annotations

from controlplane.model.jwks import NOBODYS_KEYS
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME
from controlplane.model.kinds.key_set import GROUP, KEY_SET, key_set_key, key_set_object
from controlplane.sources.naming import NoName, kind_of, name_of

URI = "https://a.example/keys"


def test_what_is_fetched_is_read() -> None:
    parsed = KEY_SET.parse(key_set_object(URI, NOBODYS_KEYS, "answers 500"))
    assert parsed.problems == ()
    assert parsed.key == key_set_key(URI)
    assert (parsed.value.uri, parsed.value.keys, parsed.value.fault) == (URI, NOBODYS_KEYS, "answers 500")
    nothing = KEY_SET.parse(key_set_object(URI, "", "answers 500")).value
    assert nothing.keys == ""
    # A recording may be of another version, or edited.
    assert KEY_SET.parse(key_set_object(URI, "nonsense", "")).value.keys == ""


def test_keys_are_named_after_their_uri() -> None:
    assert key_set_key(URI) == key_set_key(URI) != key_set_key(URI + "/")
    assert key_set_key(URI) == Key("", key_set_key(URI).name)


def test_nobody_writes_one() -> None:
    assert KEY_SET.name not in BY_NAME
    assert kind_of(GROUP, KEY_SET.name) is KEY_SET
    refused = name_of(key_set_object(URI, NOBODYS_KEYS, ""))
    assert isinstance(refused, NoName)
    assert refused.field == "apiVersion"
