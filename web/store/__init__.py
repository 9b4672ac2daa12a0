"""The store API: models on disk, and the ways in which their files get there."""
