"""The folder of models: what is registered there, written so that a crash leaves nothing half."""
