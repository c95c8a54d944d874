"""The value types of everything that enters the mesh, and the parsers that make them."""
