# A tap's formula, but for its resources: `python -m scripts.homebrew.resources` adds them, and says
# how. OWNER is who publishes it.
class MlxEdge < Formula
  include Language::Python::Virtualenv

  desc "Private AI endpoint: MLX models behind the OpenAI API"
  homepage "https://github.com/OWNER/mlx-edge"
  url "https://github.com/OWNER/mlx-edge/archive/refs/tags/v0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "Apache-2.0"
  head "https://github.com/OWNER/mlx-edge.git", branch: "main"

  depends_on arch: :arm64
  depends_on macos: :sonoma
  depends_on "python@3.13"

  # Wheels find one another by @rpath, and some have no room in their headers for a longer name.
  preserve_rpath

  # Here come the resources.

  def install
    venv = virtualenv_create(libexec, "python3.13", system_site_packages: false)
    resources.each do |wheel|
      wheel.stage { venv.pip_install Pathname.pwd.glob("*.{whl,tar.gz}") }
    end
    venv.pip_install_and_link buildpath
  end

  def caveats
    <<~TEXT
      To serve on 127.0.0.1:8083 now, and from every login on:
        brew services start mlx-edge
      With `mlx-edge service install` the same server runs under a name of its own.
      Use one of the two: they would want the same port.
    TEXT
  end

  service do
    run [opt_bin/"mlx-edge", "serve", "--log-file", var/"log/mlx-edge.log"]
    keep_alive successful_exit: false
    process_type :interactive
    throttle_interval 10
    stop_timeout 60 # a drain takes 20 s
    environment_variables PATH: std_service_path_env
    log_path var/"log/mlx-edge.log"
    error_log_path var/"log/mlx-edge.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/mlx-edge --version")
    system libexec/"bin/python", "-c", "import mlx.core, mlx_lm, tokenizers"
    port = free_port
    # Homebrew runs this in a sandbox, and macOS has no second one inside the first.
    server = spawn({ "MLX_EDGE_UNSEALED" => "1" },
                   "#{bin}/mlx-edge", "--home", "#{testpath}/home", "serve", "--port", port.to_s,
                   "--no-starter")
    begin
      curl = "curl --silent --retry 30 --retry-connrefused http://127.0.0.1:#{port}/health"
      assert_match "ok", shell_output(curl)
    ensure
      Process.kill "TERM", server
      Process.wait server
    end
  end
end
