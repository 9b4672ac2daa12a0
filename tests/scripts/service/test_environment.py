"""Tests of what of the environment a service gets."""

from scripts.service.environment import kept, without


def test_what_is_kept_and_what_is_not() -> None:
    """What a server has use for, without anything that might be a secret."""
    found = kept(
        {
            "HTTPS_PROXY": "http://proxy:3128",
            "no_proxy": "localhost",
            "HTTP_PROXY": "http://me:secret@proxy:3128",
            "ALL_PROXY": "me:secret@proxy",
            "HF_ENDPOINT": "https://hub.local\nSetting=1",
            "HF_TOKEN": "hf_secret",
            "MLX_EDGE_API_KEY": "secret",
            "MLX_EDGE_SERVE_API_KEY": "secret",
            "MLX_EDGE_SERVE_MAX_ROWS": "7",
            "MLX_EDGE_UNSEALED": "1",
            "SSL_CERT_FILE": "",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "PATH": "/bin",
        }
    )
    assert found.values == {
        "HTTPS_PROXY": "http://proxy:3128",
        "MLX_EDGE_SERVE_MAX_ROWS": "7",
        "MLX_EDGE_UNSEALED": "1",
        "no_proxy": "localhost",
    }
    assert found.secrets == (
        "ALL_PROXY", "HF_ENDPOINT", "HF_TOKEN", "HTTP_PROXY", "MLX_EDGE_API_KEY",
        "MLX_EDGE_SERVE_API_KEY",
    )  # fmt: skip


def test_what_is_told_of_a_secret() -> None:
    """Which key there is instead, above all where it is the public one; how a token is used."""
    for name in ("MLX_EDGE_API_KEY", "MLX_EDGE_SERVE_API_KEY"):
        told = without(name, "1234")
        assert "server takes 1234; `mlx-edge key set` keeps another" in told
        assert "1234" not in without(name, "sesame") and "sesame" not in without(name, "sesame")
    assert "`mlx-edge pull` in a shell" in without("HF_TOKEN", "1234")
    assert without("HTTPS_PROXY", "1234").endswith("others may read the file.")
