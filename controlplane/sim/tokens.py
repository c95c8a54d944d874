"""What the filter for JSON Web Tokens says of a request, given what its token holds."""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.sim.call import Token
from controlplane.sim.matchers import header_matches, query_matches
from controlplane.sim.paths import without_query
from controlplane.sim.regexes import fully
from controlplane.sim.request import Request
from controlplane.sim.walk import CannotTell

NAME = "envoy.filters.http.jwt_authn"
_DEFAULT = "authorization"
_MISSING = "Jwt is missing"
_UNKNOWN = "Jwt issuer is not configured"
_PREFLIGHT = ("origin", "access-control-request-method")


class Refusal(NamedTuple):
    """Why a token is not good enough; `why` is the body of the answer."""

    why: str
    status: int = 401

    @property
    def details(self) -> str:
        """As the access log has it."""
        return "jwt_authn_access_denied{" + self.why.rstrip(".").replace(" ", "_") + "}"


def check_tokens(config: Any, request: Request) -> Refusal | None:
    """None lets the request pass; the claims of a good token are then in its metadata."""
    preflight = request.http.method == "OPTIONS" and all(name in request.headers for name in _PREFLIGHT)
    if config.bypass_cors_preflight and preflight:
        return None
    for rule in config.rules:
        if _holds(rule.match, request):
            if not rule.HasField("requires"):
                return None
            return _required(rule.requires, config, request)
    return None


def _holds(match: Any, request: Request) -> bool:
    path = without_query(request.path)
    how = match.WhichOneof("path_specifier")
    if how == "prefix":
        good = path.startswith(match.prefix)
    elif how == "path":
        good = path == match.path
    elif how == "safe_regex":
        good = fully(match.safe_regex.regex, path)
    else:
        raise CannotTell(f"a rule about tokens by {how}")
    return (
        good
        and all(header_matches(one, request.headers) for one in match.headers)
        and all(query_matches(one, request.path) for one in match.query_parameters)
    )


def _required(requirement: Any, config: Any, request: Request) -> Refusal | None:
    how = requirement.WhichOneof("requires_type")
    if how == "provider_name":
        return _verified(config.providers[requirement.provider_name], request)
    if how == "requires_all":
        verdicts = (_required(one, config, request) for one in requirement.requires_all.requirements)
        return next((one for one in verdicts if one is not None), None)
    if how == "requires_any":
        return _any(requirement.requires_any.requirements, config, request)
    if how == "allow_missing":
        return _if_any(config, request)
    if how == "allow_missing_or_failed" or how is None:
        return None
    raise CannotTell(f"a requirement {how}")


def _any(requirements: Any, config: Any, request: Request) -> Refusal | None:
    refusals: list[Refusal] = []
    for one in requirements:
        verdict = _required(one, config, request)
        if verdict is None:
            return None
        refusals.append(verdict)
    # That a token is for somebody else says less than that it is bad.
    told = [one for one in refusals if one.why not in (_MISSING, _UNKNOWN)]
    return (told or refusals)[-1]


def _sees(provider: Any, token: Token | None) -> bool:
    if token is None:
        return False
    headers = [one.name.lower() for one in provider.from_headers]
    if not headers and not provider.from_params and not provider.from_cookies:
        headers = [_DEFAULT]
    return token.header.lower() in headers


def _if_any(config: Any, request: Request) -> Refusal | None:
    """No token will do, but one that is there is to be good for one of all providers."""
    token = request.http.token
    seeing = [provider for provider in config.providers.values() if _sees(provider, token)]
    if token is None or not seeing:
        return None
    own = [provider for provider in seeing if provider.issuer in ("", token.claims.get("iss"))]
    return _verified(own[0], request) if own else Refusal(_UNKNOWN)


def _verified(provider: Any, request: Request) -> Refusal | None:
    token = request.http.token
    if token is None or not _sees(provider, token):
        return Refusal(_MISSING)
    claims = token.claims
    if provider.issuer and claims.get("iss") != provider.issuer:
        return Refusal(_UNKNOWN)
    said = claims.get("aud", ())
    audiences = {said} if isinstance(said, str) else set(said)
    if provider.audiences and not audiences & set(provider.audiences):
        return Refusal("Audiences in Jwt are not allowed", 403)
    # Last: it takes the keys, which may have to be fetched.
    if not token.valid:
        return Refusal("Jwt verification fails")
    if provider.payload_in_metadata:
        noted = request.metadata.setdefault(NAME, {})
        noted[provider.payload_in_metadata] = claims
    return None
