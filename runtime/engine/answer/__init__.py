"""Tokens of one row to what its client reads. Never imports MLX."""
