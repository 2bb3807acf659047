# frozen_string_literal: true

require_relative 'running'

module Tasker
  # Runs the steps of tasks with handlers.
  #
  # A handler is an object with a method +call+ that takes a Tasker::Attempt and returns the step's result: a
  # Tasker::Step, a block, or any other object. Handlers run in threads, several at once. Register them before the
  # start.
  #
  # Leases, retries and the status API (+/health+, +/v1/worker/status+, +/metrics+) are the work of a runtime on threads
  # of its own. So a handler that blocks the interpreter does not lose its lease.
  class Worker
    # The signals that stop +run+.
    SIGNALS = %w[TERM INT].freeze
    # The arities of methods that can be called with one argument.
    TAKES_ONE = [1, -1, -2].freeze
    private_constant :TAKES_ONE

    # Creates a worker that is not running. Every option that is nil comes from the environment (+DATABASE_URL+,
    # +TASKER_NAMESPACES+, +TASKER_WORKER_HOST+, +TASKER_WORKER_PORT+, +TASKER_WORKER_ID+), then from the settings file,
    # then from Tasker's defaults.
    #
    # [templates] files with task templates, and folders of them
    # [steps] classes below Tasker::Step
    # [namespaces] namespaces to serve besides those of the templates
    # [executor] an object whose method +wrap+ runs a block around each handler, such as +Rails.application.executor+
    # [config] the settings file
    # [database_url] +postgres://user:password@host:port/database+
    # [host, port] where the status API listens; port 0 takes a free one
    # [worker_id] unique among running workers
    # [max_concurrent] how many steps run at once
    # [lease] the seconds for which a step belongs to the worker without a heartbeat
    # [shutdown_timeout] the seconds that running steps may take to finish at a stop
    # [log_filter] which events of the runtime are logged, such as +info,tasker_worker=debug+
    def initialize(templates: [], steps: [], namespaces: [], executor: nil, config: nil, database_url: nil, host: nil,
                   port: nil, worker_id: nil, max_concurrent: nil, lease: nil, shutdown_timeout: nil, log_filter: nil)
      @options = {
        templates: Array(templates).map(&:to_s), namespaces: Array(namespaces), config: config&.to_s,
        database_url:, host:, port:, worker_id:, max_concurrent:,
        lease_ms: milliseconds(lease), shutdown_timeout_ms: milliseconds(shutdown_timeout), log_filter:
      }.compact
      @executor = executor
      @handlers = {}
      @running = nil
      @starting = false
      Array(steps).each { |step| add(step) }
    end

    # Registers a handler: a block, or an object with a method +call+.
    def step(callable, handler = nil, &block)
      handler ||= block
      name = callable.to_s
      raise ArgumentError, "the handler #{handler.inspect} has no name; set it with `callable`" if name.empty?

      check_handler(name, handler)
      raise ArgumentError, "two handlers are registered as #{name}" if @handlers.key?(name)
      raise Error, 'the worker is running; register handlers before the start' if @running || @starting

      @handlers[name] = handler
      self
    end

    # Runs until SIGTERM or SIGINT, then stops gracefully. A second signal ends the process at once. Call it in the main
    # thread. Raises StartError if the worker cannot start.
    def run
      received = Thread::Queue.new
      previous = SIGNALS.to_h { |signal| [signal, trap(signal) { received << signal }] }
      start do
        received.pop
        SIGNALS.each { |signal| trap(signal, 'SYSTEM_DEFAULT') }
      end
    ensure
      previous&.each { |signal, handler| trap(signal, handler || 'DEFAULT') }
    end

    # Asks the worker with the options of this one, which another process on this machine runs, if it is healthy. Use it
    # for the health check of a container. Raises UnhealthyError if it is not, or does not respond within three seconds.
    def check_health
      Tasker.check_health(JSON.generate(@options))
    end

    # Starts to run steps, and returns once the worker runs. With a block, it stops the worker after the block, and
    # returns the block's value. Raises StartError if the worker cannot start.
    def start
      checked if @running
      raise Error, 'the worker is running already' if @running || @starting

      @running = starting { Running.new(@options.merge(callables: @handlers.keys), @handlers, @executor) }
      return self unless block_given?

      begin
        yield self
      ensure
        stop
      end
    end

    # Stops gracefully. Running steps may finish within the shutdown timeout. Then they are cancelled and returned:
    # other workers start them at once, and the attempt does not count.
    def stop
      return unless @running

      checked.stop
      @running = nil
    end

    # The URL of the status API of the running worker, without a path.
    def url
      checked.native.url
    end

    # The name under which the running worker is registered.
    def worker_id
      checked.native.worker_id
    end

    private

    # Other threads run during a start, so one of them could start the worker too.
    def starting
      @starting = true
      yield
    ensure
      @starting = false
    end

    def add(step)
      raise ArgumentError, "#{step.inspect} is not a class below Tasker::Step; register it with Worker#step" unless
        step.respond_to?(:callable)

      step(step.callable, step)
    end

    # Raises for a handler whose every attempt would fail.
    def check_handler(name, handler)
      raise ArgumentError, "the handler #{name} is neither a block nor an object with a method call" unless
        handler.respond_to?(:call)

      call = called(handler)
      raise ArgumentError, "the handler #{name} must define call(step) in #{handler}" if call.nil?
      # Blocks ignore arguments that they do not take.
      return if call.is_a?(Proc) && !call.lambda?
      return if TAKES_ONE.include?(call.arity) && call.parameters.none? { |kind, _| kind == :keyreq }

      raise ArgumentError, "the handler #{name} must take one argument, the step, but is #{call.inspect}"
    end

    # What gets the step: a block or a method. nil if a class below Step does not define it.
    def called(handler)
      return handler if handler.is_a?(Proc) || handler.is_a?(Method)

      call = handler.method(:call)
      return call unless call.owner == Step.singleton_class

      # Step.call makes an object for each attempt.
      call = handler.instance_method(:call)
      call unless call.owner == Step
    end

    # The running worker, unless the process is a fork of the one that started it.
    def checked
      raise Error, 'the worker is not running' unless @running

      if @running.process != Process.pid
        raise ForkError, "this worker was started by process #{@running.process} and cannot be used after a fork, in " \
                         "process #{Process.pid}; create and start a worker after the fork, or start several processes"
      end
      @running
    end

    def milliseconds(seconds)
      seconds && (seconds * 1000).round
    end
  end
end
