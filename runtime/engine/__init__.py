"""The engine process: the only part of the runtime that imports MLX. Started, never imported."""

from . import device as device  # first of all: it loads a fast BLAS, which must come before MLX
