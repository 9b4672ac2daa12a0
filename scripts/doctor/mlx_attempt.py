"""A child that computes with MLX: `python -m scripts.doctor.mlx_attempt`.

Started by `gpu` as the server starts its engines, and imported by nobody: the command line never
imports MLX. It says as JSON what computed; where MLX cannot, it ends as MLX does.
"""

import json

import mlx.core as mx


def told() -> dict[str, str | int | bool | None]:
    """What MLX says of the device, once something was computed on it."""
    ones = mx.ones((8, 8))
    if (sum_of_all := (ones @ ones).sum().item()) != 512:
        raise SystemExit(f"8 x 8 times 8 came to {sum_of_all}, not to 512")
    return {
        "on_gpu": mx.default_device().type == mx.gpu,
        "has_metal": mx.metal.is_available(),
        "working_set": mx.device_info().get("max_recommended_working_set_size"),
    }


if __name__ == "__main__":
    print(json.dumps(told()))
