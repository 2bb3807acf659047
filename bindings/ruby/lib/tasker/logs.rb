# frozen_string_literal: true

require 'logger'

# The step that runs, for the log of an application.
module Tasker
  class << self
    # The Tasker::Attempt whose handler runs in this thread. nil outside of handlers, and in threads that a handler
    # starts.
    def current_step
      Thread.current.thread_variable_get(:tasker_step)
    end

    # Runs a block as the handler of a step.
    def with_step(step) # :nodoc:
      Thread.current.thread_variable_set(:tasker_step, step)
      yield
    ensure
      Thread.current.thread_variable_set(:tasker_step, nil)
    end
  end

  # Formats lines as Ruby does, with the running step in front of the message:
  #
  #     ... INFO -- : [task=01991... step=pay attempt=1 traceparent=00-0af7...-01] charged
  #
  # Use it for the loggers of an application: <tt>Logger.new($stdout, formatter: Tasker::LogFormatter.new)</tt>.
  class LogFormatter < ::Logger::Formatter
    # Returns the line of an event.
    def call(severity, time, progname, message)
      step = Tasker.current_step
      message = "[#{step.log_fields.map { |name, value| "#{name}=#{value}" }.join(' ')}] #{msg2str(message)}" if step
      super
    end
  end
end
