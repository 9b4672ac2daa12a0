"""Bytes from somewhere else: resumable, bounded, verified, and from no address of this network."""
