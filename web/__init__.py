"""The HTTP and WebSocket server. Never imports MLX, transformers or numpy."""
