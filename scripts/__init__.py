"""What a person runs: the mlx-edge command, its bench, and the training of Pocket."""
