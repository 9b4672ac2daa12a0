"""llama.cpp's format to an MLX folder: weights, config and tokenizer."""
