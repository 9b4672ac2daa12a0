"""The model hub: repositories, which of their files a model needs, and short names for some."""
