"""`mlx-edge bench --memory`: what memory and the prefix cache are held to, measured in one run."""
