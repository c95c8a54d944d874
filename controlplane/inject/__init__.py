"""What turns a plain workload into a member of the mesh: so far, the rules that send its traffic to Envoy."""
