"""Models in memory, each in an engine process of its own. Only `engine` imports MLX."""
