"""`mlx-edge bench --responses`: responses beside chat, what storing costs, streams that resume."""
