"""Prefixes on disk: what the prefix cache has to give up, and finds again after a restart."""
