# frozen_string_literal: true

# Workers and clients for Tasker, durable workflows on PostgreSQL.
#
# A worker runs the steps of tasks with your classes and blocks:
#
#     worker = Tasker::Worker.new(templates: 'templates')
#     worker.step('hello.greet') { |step| "Hello, #{step.input[:name]}" }
#     worker.run
#
# Tasker::Testing runs a handler without a server. Tasker::Client creates tasks and waits for them.
module Tasker
  class << self
    # The logger of workers: failures of handlers, and the log of the runtime. By default it writes to $stderr with a
    # LogFormatter, and in Rails to the log of the application.
    attr_writer :logger

    def logger
      @logger ||= Logger.new($stderr, level: Logger::INFO, progname: 'tasker', formatter: LogFormatter.new)
    end
  end
end

require_relative 'tasker/version'
require_relative 'tasker/errors'
require_relative 'tasker/logs'
require_relative 'tasker/native'
require_relative 'tasker/outcome'
require_relative 'tasker/attempt'
require_relative 'tasker/step'
require_relative 'tasker/threads'
require_relative 'tasker/worker'
require_relative 'tasker/client'
require_relative 'tasker/railtie' if defined?(Rails::Railtie)
