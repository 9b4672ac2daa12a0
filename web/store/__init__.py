"""The store API: models on disk, and the ways their files come there."""
