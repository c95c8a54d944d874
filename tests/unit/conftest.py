"""Lets tests share `tests.unit.mesh.world`: a conftest in a package puts the project's root on the path."""
