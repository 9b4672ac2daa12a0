# Homebrew's words for a formula, as far as its documentation has them, for where there is no
# Homebrew. `ruby formula.rb PATH` loads a formula, installs it into nothing, and prints what it
# holds as JSON; `ruby formula.rb PATH VENV` runs its test on what a virtual environment holds.
# A word that Homebrew does not know ends it with a NoMethodError. Runs on the Ruby 2.6 of macOS.
# After Formula-Cookbook, Language-Specific-Formulae and the classes Formula and Service.
require "English"
require "json"
require "pathname"
require "socket"
require "tmpdir"

# The words of `service do`, each with the kinds of values that it takes.
class Service
  KEEP_ALIVE = [:always, :successful_exit, :crashed, :path].freeze
  PROCESS_TYPES = [:background, :standard, :interactive, :adaptive].freeze
  KINDS = {
    run: [Array, String, Pathname], run_type: [Symbol], interval: [Integer], cron: [String],
    launch_only_once: [TrueClass, FalseClass], run_at_load: [TrueClass, FalseClass],
    require_root: [TrueClass, FalseClass],
    environment_variables: [Hash], working_dir: [String, Pathname], root_dir: [String, Pathname],
    input_path: [String, Pathname], log_path: [String, Pathname],
    error_log_path: [String, Pathname], restart_delay: [Integer], stop_timeout: [Integer],
    throttle_interval: [Integer], macos_legacy_timers: [TrueClass, FalseClass],
    sockets: [String, Hash], nice: [Integer]
  }.freeze

  attr_reader :said

  def initialize(formula, &block)
    @formula = formula
    @said = {}
    instance_eval(&block)
  end

  KINDS.each do |word, kinds|
    define_method(word) do |value|
      raise TypeError, "#{word} takes no #{value.class}" if kinds.none? { |kind| value.is_a?(kind) }

      @said[word] = value
    end
  end

  def keep_alive(value)
    raise TypeError, "keep_alive #{value}" if value.is_a?(Hash) && !(value.keys - KEEP_ALIVE).empty?

    @said[:keep_alive] = value
  end

  def process_type(value)
    raise TypeError, "process_type #{value}" unless PROCESS_TYPES.include?(value)

    @said[:process_type] = value
  end

  def std_service_path_env
    "/opt/homebrew/bin:/opt/homebrew/sbin:/usr/bin:/bin:/usr/sbin:/sbin"
  end

  [:bin, :etc, :libexec, :opt_bin, :opt_libexec, :opt_prefix, :opt_sbin, :var].each do |place|
    define_method(place) { @formula.public_send(place) }
  end
end

# A file to fetch, whose name stays as it is with `using: :nounzip`.
class Resource
  attr_reader :name

  def initialize(name, &block)
    @name = name
    instance_eval(&block)
  end

  def url(address = nil, using: nil)
    return @url if address.nil?

    @using = using
    @url = address
  end

  def sha256(digest)
    @sha256 = digest
  end

  def stage(&block)
    Dir.mktmpdir do |folder|
      Dir.chdir(folder) do
        @using == :nounzip ? File.write(File.basename(@url), "") : Dir.mkdir("unpacked")
        block.call
      end
    end
  end

  def to_h
    { name: @name, url: @url, sha256: @sha256, using: @using }
  end
end

module Language
  module Python
    # Writes down what would be installed.
    module Virtualenv
      def virtualenv_create(folder, python, system_site_packages: true, without_pip: true)
        @installed = []
        @venv = { folder: folder, python: python, system_site_packages: system_site_packages,
                  without_pip: without_pip }
        self
      end

      def pip_install(targets)
        found = Array(targets)
        raise "pip_install was given nothing to install" if found.empty?

        @installed.concat(found.map { |target| Pathname(target).basename.to_s })
      end

      def pip_install_and_link(targets)
        pip_install(targets)
      end
    end
  end
end

# What `test do` may say beside Ruby.
module Testing
  def shell_output(command)
    output = `#{command}`
    raise "#{command}: #{$CHILD_STATUS}" unless $CHILD_STATUS.success?

    output
  end

  def assert_match(expected, actual)
    raise "#{expected.inspect} is not in #{actual.inspect}" unless actual.match?(expected)
  end

  def system(*command)
    Kernel.system(*command.map(&:to_s), exception: true)
  end

  def free_port
    TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
  end

  def version
    self.class.said[:url][/-?v?([\d.]+)\.tar\.gz/, 1]
  end

  attr_accessor :testpath
end

# The words of a formula.
class Formula
  include Testing

  class << self
    attr_accessor :venv
    attr_reader :said, :dependencies, :resources, :blocks

    def inherited(formula)
      super
      formula.instance_eval do
        @said = {}
        @dependencies = []
        @resources = []
        @blocks = {}
      end
    end

    [:desc, :homepage, :url, :sha256, :license, :version].each do |word|
      define_method(word) { |value| @said[word] = value }
    end

    [:service, :test].each do |word|
      define_method(word) { |&block| @blocks[word] = block }
    end

    def head(address, branch:)
      @said[:head] = [address, branch]
    end

    def preserve_rpath
      @said[:preserve_rpath] = true
    end

    def depends_on(what)
      @dependencies << what
    end

    def resource(name, &block)
      @resources << Resource.new(name, &block)
    end
  end

  { opt_prefix: "opt/mlx-edge", opt_bin: "opt/mlx-edge/bin", opt_sbin: "opt/mlx-edge/sbin",
    opt_libexec: "opt/mlx-edge/libexec", var: "var", etc: "etc" }.each do |place, path|
    define_method(place) { Pathname("/opt/homebrew")/path }
  end

  def libexec
    self.class.venv || Pathname("/opt/homebrew/Cellar/mlx-edge/0/libexec")
  end

  def bin
    libexec/"bin" # which Homebrew links to the Cellar's own
  end

  def buildpath
    Pathname("mlx-edge-source")
  end

  def resources
    self.class.resources
  end

  def report
    install
    service = Service.new(self, &self.class.blocks[:service]).said
    { said: self.class.said, dependencies: self.class.dependencies, caveats: caveats,
      service: service, venv: @venv, installed: @installed, resources: resources.map(&:to_h) }
  end

  def try
    Dir.mktmpdir do |folder|
      self.testpath = Pathname(folder)
      instance_eval(&self.class.blocks[:test])
    end
  end
end

path, venv = ARGV
load path
if venv.nil?
  puts JSON.generate(MlxEdge.new.report)
else
  MlxEdge.venv = Pathname(venv)
  MlxEdge.new.try
end
