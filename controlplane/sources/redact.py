"""What must not stand in a recording: values become markers, and the object keeps its shape.

A marker is `redacted:` and twelve digits.  Equal values have equal markers within one recording, so that a
replay still sees what changed and what did not; the digits are a hash under a key that is thrown away with
the process, so nobody gets from a marker to a value, not by guessing either.

Redacted are

- everything in a Secret but its name, labels and type;
- in any object, what stands under a name like `privateKey`, `password` or `token` (all of them: `_SECRET`);
- the values that routes set on headers that carry credentials, and that they compare those with exactly;
- texts that hold a private key in PEM form;
- of a key set (`jwks`) everything but the public members of its usable keys, which are all that is read;
- a Pod's environment, commands and arguments;
- kubectl's annotation with the last applied version of the whole object.

Names of secrets (`credentialName`) and certificates of authorities are no secrets and stay.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from controlplane.model.jwks import read_key_set
from controlplane.model.kinds.secret import REDACTED

MARKER = REDACTED

_SECRET = frozenset(
    {
        *("privatekey", "secretkey", "clientsecret", "hmacsecret", "sharedsecret"),
        *("password", "passwd", "passphrase", "token", "accesstoken", "bearertoken", "refreshtoken"),
        *("apikey", "inlinebytes", "inlinestring"),
    }
)
_CREDENTIAL_HEADERS = frozenset(
    {
        "authorization",
        "proxyauthorization",
        "cookie",
        "setcookie",
        "xapikey",
        "xauthtoken",
        "xamzsecuritytoken",
    }
)
_KEY_SET = "jwks"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})
_OF_CONTAINERS = frozenset({"env", "command", "args"})
_OPEN_IN_SECRETS = frozenset({"apiVersion", "kind", "type", "immutable"})
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_PUNCTUATION = str.maketrans("", "", "-_.")


class Redaction:
    """One recording's.  `key` makes markers; a new one is thrown when none is given."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def raw(self, kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The object without its secrets; `raw` stays as it is."""
        if kind == "Secret":
            return self._secret(raw)
        found = self.value(raw)
        spec = found.get("spec") if kind == "Pod" else None
        if isinstance(spec, dict):
            found["spec"] = {
                name: self._containers(one) if name in _CONTAINERS else one for name, one in spec.items()
            }
        return dict(found)

    def value(self, value: Any) -> Any:
        """A value of any shape without what is secret by name or by look."""
        if isinstance(value, Mapping):
            return {name: self._field(name, one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one) for one in value]
        if isinstance(value, str) and _PEM.search(value):
            return self.hidden(value)
        return value

    def hidden(self, value: Any) -> Any:
        """The value with a marker in place of every leaf; absent values stay absent."""
        if isinstance(value, Mapping):
            return {name: self.hidden(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.hidden(one) for one in value]
        if value is None or (isinstance(value, str) and value.startswith(MARKER)):
            return value
        digest = hmac.new(self._key, json.dumps(value).encode(), "sha256")
        return f"{MARKER}{digest.hexdigest()[:12]}"

    def _field(self, name: str, value: Any) -> Any:
        plain = str(name).lower().translate(_PUNCTUATION)
        if plain == _KEY_SET and isinstance(value, str):
            return read_key_set(value).text or self.hidden(value)
        if plain in _SECRET or name == _LAST_APPLIED:
            return self.hidden(value)
        if plain in _CREDENTIAL_HEADERS:
            if isinstance(value, str):
                return self.hidden(value)
            if isinstance(value, Mapping) and "exact" in value:
                return {**self.value(value), "exact": self.hidden(value["exact"])}
        return self.value(value)

    def _secret(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: one if name in _OPEN_IN_SECRETS else self.hidden(one) for name, one in raw.items()}
        metadata = raw.get("metadata")
        if isinstance(metadata, Mapping):
            open_fields = ("name", "namespace", "labels", "uid", "resourceVersion", "creationTimestamp")
            kept = {name: metadata[name] for name in open_fields if name in metadata}
            found["metadata"] = {**found["metadata"], **kept}
        return found

    def _containers(self, containers: Any) -> Any:
        if not isinstance(containers, list):
            return containers
        return [self._container(one) if isinstance(one, dict) else one for one in containers]

    def _container(self, container: dict[str, Any]) -> dict[str, Any]:
        return {name: self._in_container(name, one) for name, one in container.items()}

    def _in_container(self, name: str, value: Any) -> Any:
        if name not in _OF_CONTAINERS:
            return value
        if name != "env" or not isinstance(value, list):
            return self.hidden(value)
        return [
            {**one, "value": self.hidden(one["value"])} if isinstance(one, dict) and "value" in one else one
            for one in value
        ]
