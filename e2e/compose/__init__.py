"""The compose project, end to end: real containers, stock Envoys, traffic over published ports.

`python -m e2e.compose` (or `make e2e-compose`) finds a Docker daemon or starts one (`daemon`), sees to
the base images (`images`), builds the project's own, and runs the tests in this folder, which bring the
project up from a copy of the checkout (`project`) and put load on it (`load`).
"""
