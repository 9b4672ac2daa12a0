"""The wire: requests in, events out. Never imports MLX, transformers or numpy."""
