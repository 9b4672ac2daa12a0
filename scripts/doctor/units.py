"""How sizes are written."""


def gb(count: int) -> str:
    """In units of 1024, as Macs are sold."""
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"
