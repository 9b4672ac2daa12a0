"""What a model's folder says, read without MLX or numpy. The runtime imports this room too."""
