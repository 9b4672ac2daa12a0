"""What models cost in memory, known before they are loaded. Never imports MLX."""
