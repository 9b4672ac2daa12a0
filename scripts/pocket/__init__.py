"""How Pocket, the model in `registry/pocket/`, is made and judged; `mlx-edge` never imports it."""

from runtime.engine import device  # noqa: F401 (before MLX: it loads a fast BLAS)
