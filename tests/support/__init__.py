"""What tests of the running control plane share: files, a mesh, servers, clients, Envoys."""
