"""Logits of many rows to one token each. Nothing in here may wait for a value of the device."""
