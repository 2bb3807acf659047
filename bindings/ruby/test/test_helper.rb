# frozen_string_literal: true

require 'fileutils'
require 'json'
require 'minitest/autorun'
require 'open3'
require 'securerandom'
require 'stringio'
require 'tasker'
require 'tasker/testing'
require 'tmpdir'

# The log of all workers.
LOG = StringIO.new
Tasker.logger = Logger.new(LOG)

# How long anything in a test may take, in seconds: far longer than it does unless the test fails.
DEADLINE = 60

# A server on a database of its own, for all tests of the process.
class Stack
  ROOT = File.expand_path('../../..', __dir__)

  attr_reader :url, :database_url

  def self.shared
    @lock ||= Mutex.new
    @lock.synchronize { @shared ||= new }
  end

  def initialize
    program = Stack.binary('tasker-cli')
    @folder = Dir.mktmpdir('tasker-ruby')
    # PostgreSQL runs as another user if the tests run as root.
    File.chmod(0o755, @folder)
    command = [program, 'dev', '--json', '--port', '0', '--worker-port', '0',
               '--data-dir', "#{@folder}/postgresql"]
    @output, writer = IO.pipe
    @process = Process.spawn({ 'DATABASE_URL' => nil }, *command, out: writer, err: "#{@folder}/log")
    writer.close
    Minitest.after_run { stop }
    text = +''
    @output.each_line do |line|
      text << line
      break if line.start_with?('}')
    end
    raise File.read("#{@folder}/log") if text.empty?

    @url, @database_url = JSON.parse(text).values_at('orchestration_url', 'database_url')
  end

  def stop
    Process.kill('INT', @process)
    Process.wait(@process)
    @output.close
    FileUtils.rm_rf(@folder) if @folder
  end

  def self.binary(name)
    path = File.join(ENV['TASKER_BIN_DIR'] || "#{ROOT}/target/debug", name)
    raise "#{path} is missing: run `cargo build --workspace --bins`, or set TASKER_BIN_DIR" unless File.file?(path)

    path
  end
end

# A test with a server, and a namespace and a folder of its own.
class ServerTest < Minitest::Test
  parallelize_me!

  def setup
    @stack = Stack.shared
    @client = Tasker::Client.new(@stack.url)
    @namespace = "rb_#{SecureRandom.hex}"
    @folder = Dir.mktmpdir('tasker-ruby')
  end

  def teardown
    FileUtils.rm_rf(@folder) if @folder
  end

  # Writes the template +test+. The callables of its steps are NAMESPACE.NAME unless they say otherwise.
  def template(steps, namespace: @namespace)
    path = File.join(@folder, "#{namespace}.yaml")
    listed = steps.map do |name, fields|
      { name:, handler: { callable: "#{namespace}.#{name}" }, retry: { limit: 1 }, **fields }
    end
    # JSON is YAML.
    File.write(path, JSON.generate(name: 'test', namespace_name: namespace, version: '1.0.0', steps: listed))
    path
  end

  # A worker for the template of these steps, with a handler for each name.
  def worker(steps, handlers, namespace: @namespace, **options)
    worker = Tasker::Worker.new(templates: template(steps, namespace:), port: 0,
                                database_url: @stack.database_url, **options)
    handlers.each { |name, handler| worker.step("#{namespace}.#{name}", handler) }
    worker
  end

  # Runs tasks with a worker, and returns them at rest.
  def run_tasks(worker, *inputs, namespace: @namespace)
    worker.start do
      ids = inputs.map { |input| @client.create(namespace, 'test', input) }
      ids.map { |id| @client.wait(id, timeout: DEADLINE) }
    end
  end

  def error_of(task, step)
    assert_equal 'blocked_by_failures', task.status, task.inspect
    task.step(step).error.values_at(:kind, :message)
  end

  # Runs a program with the library until it ends.
  def run_program(text, input: '')
    Open3.capture3(RbConfig.ruby, *load_path, '-e', text, stdin_data: input)
  end

  def load_path
    ENV['TASKER_TEST_INSTALLED'] ? [] : ["-I#{File.expand_path('../lib', __dir__)}"]
  end

  def wait_until
    deadline = Tasker::Attempt.now + DEADLINE
    until (value = yield)
      flunk 'the condition did not come true in time' if Tasker::Attempt.now > deadline
      sleep 0.05
    end
    value
  end
end
