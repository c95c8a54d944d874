"""mini-istioctl: asks a running control plane what it knows.  Only its monitoring port is needed."""
