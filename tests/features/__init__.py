"""The table of features: what becomes of each field of Istio's networking API, and which test shows it."""
