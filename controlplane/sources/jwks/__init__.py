"""Key sets by URI: fetched here, so that thousands of proxies need not, and none waits for it.

reach     which addresses may be dialled for a URI that some user wrote
fetch     one request: bounded in time and size, no redirects (aiohttp's door)
document  from what was answered to a key set, through an issuer's metadata where that was asked
shelf     what was fetched before a restart
follow    when to ask: refresh, back-off, last good; one task per URI that is wanted
"""

from controlplane.sources.jwks.fetch import HttpFetcher
from controlplane.sources.jwks.follow import KeySets, Pace
from controlplane.sources.jwks.reach import Reach
from controlplane.sources.jwks.shelf import Shelf

__all__ = ["HttpFetcher", "KeySets", "Pace", "Reach", "Shelf"]
