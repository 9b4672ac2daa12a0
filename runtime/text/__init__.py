"""The text process: chat templates and tokenizers, where they can be killed at a deadline."""
