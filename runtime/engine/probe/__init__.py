"""What is exact for a model, asked of the model itself at load."""
