"""The padded grid, its layers and faces, and differences on it."""
