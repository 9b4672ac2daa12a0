"""Where models come from: repositories, which of their files count, and short names for some."""
