"""Tests of what of the environment a service gets."""

from scripts.service.environment import kept


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
            "SSL_CERT_FILE": "",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "PATH": "/bin",
        }
    )
    assert found.values == {
        "HTTPS_PROXY": "http://proxy:3128",
        "MLX_EDGE_SERVE_MAX_ROWS": "7",
        "no_proxy": "localhost",
    }
    assert found.secrets == (
        "ALL_PROXY", "HF_ENDPOINT", "HF_TOKEN", "HTTP_PROXY", "MLX_EDGE_API_KEY",
        "MLX_EDGE_SERVE_API_KEY",
    )  # fmt: skip
