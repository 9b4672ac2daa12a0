"""Responses that were stored, for the next turn and for who asks again."""
