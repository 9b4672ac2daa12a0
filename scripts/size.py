"""Sizes of memory in words."""


def in_words(num_bytes: int) -> str:
    """In units of 1024, as Macs are sold."""
    gib, mib = 1 << 30, 1 << 20
    return f"{num_bytes / gib:.1f} GB" if num_bytes >= gib else f"{num_bytes / mib:.0f} MB"
