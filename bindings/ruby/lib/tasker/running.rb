# frozen_string_literal: true

module Tasker
  # An event of the runtime, as the formatter of the logger gets it. As text, it is the message with the fields.
  LogEvent = Struct.new(:message, :fields) do
    def to_s
      [message, *fields.map { |name, value| "#{name}=#{value}" }].join(' ')
    end
    alias_method :inspect, :to_s
  end

  # A running worker: a thread takes events from the runtime, and a pool runs the handlers.
  class Running # :nodoc:
    # The most events that the dispatcher takes at once.
    BATCH = 64
    LEVELS = { 'ERROR' => Logger::ERROR, 'WARN' => Logger::WARN, 'INFO' => Logger::INFO }.freeze

    attr_reader :native, :process

    def initialize(options, handlers, executor)
      @handlers = handlers
      @executor = executor
      @process = Process.pid
      # By id. The lock of the interpreter makes each call of a hash atomic.
      @cancellations = {}
      @native = NativeWorker.start(JSON.generate(options))
      @threads = Threads.new(@native.max_concurrent)
      @dispatcher = Thread.new { dispatch }
      @dispatcher.name = 'tasker-dispatcher'
      @dispatcher.abort_on_exception = true
    end

    def stop
      native.stop
      @dispatcher.join
      @threads.close
    end

    private

    # Takes events until the worker has stopped. There are none if Ruby wants the thread to do something else.
    def dispatch
      while (events = native.next(BATCH))
        events.each do |kind, id, json|
          case kind
          when :step then submit(id, json)
          when :cancelled then @cancellations[id]&.cancel
          when :log then log(json)
          end
        end
      end
    end

    def submit(id, json)
      cancellation = @cancellations[id] = Attempt::Cancellation.new
      @threads.submit { complete(id, json, cancellation) }
    end

    def complete(id, json, cancellation)
      outcome = nil
      step = Attempt.new(Outcome.parse(json), cancellation)
      outcome = Tasker.with_step(step) { attempt(step) }
    ensure
      @cancellations.delete(id)
      native.complete(id, outcome || Outcome.error(RetryableError.new('the handler ended its thread', kind: 'killed')))
    end

    # Runs an attempt, and returns its outcome.
    def attempt(step)
      handler = @handlers.fetch(step.callable)
      Outcome.result(@executor ? @executor.wrap { handler.call(step) } : handler.call(step))
    rescue HandlerError, Wait => e
      Outcome.error(e)
    # Nothing that a handler raises, not even SystemExit, may end the thread without an outcome.
    rescue Exception => e # rubocop:disable Lint/RescueException
      Outcome.error(e).tap { report(step, e) }
    end

    # Logs what a handler raised.
    def report(step, exception)
      text = begin
        exception.full_message(highlight: false)
      rescue StandardError
        # The message of the exception raises itself.
        "#{exception.class}\n#{exception.backtrace&.join("\n")}"
      end
      Tasker.logger.warn("a handler failed: #{step.inspect}: #{text}")
    end

    # Writes an event of the runtime.
    def log(json)
      event = Outcome.parse(json)
      level, target, message, fields = event.values_at(:level, :target, :message, :fields)
      Tasker.logger.add(LEVELS.fetch(level, Logger::DEBUG), LogEvent.new(message, fields), target.gsub('::', '.'))
    end
  end
end
