"""llama.cpp's format, as an MLX folder: its weights, its configuration, its tokenizer."""
