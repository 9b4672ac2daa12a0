"""The folder of models: what is registered, and how a crash leaves either the old or the new."""
