"""Models in memory: asked for tokens, answers events."""
