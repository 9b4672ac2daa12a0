"""The engine process: the only part of the runtime that imports MLX. Started, never imported."""
