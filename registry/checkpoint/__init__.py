"""What a model's folder says, read in pure Python. The ground: the runtime reads it too."""
