"""Models on disk: fetched, converted, verified, stored. Never imports MLX outside `convert`."""
