"""mini-istiod: an Envoy xDS control plane that speaks Istio's API.

Sources feed a store; a store commits to an incremental graph; the graph yields bytes per scope;
streams send each Envoy the difference.  Folder order is data order; see docs/ARCHITECTURE.md.
"""

__version__ = "0.1.0"
