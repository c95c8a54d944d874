"""What the control plane tells about itself: metrics, the push trace, the monitoring port, logs.

Generic and low: nothing here knows xDS or Kubernetes.  Whoever owns data makes its debug view, and the
composition root wires the two together.
"""
