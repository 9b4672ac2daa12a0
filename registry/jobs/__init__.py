"""Long work on models: what is ordered, and its way to a model that is ready."""
