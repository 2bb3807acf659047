# frozen_string_literal: true

require 'securerandom'
require_relative '../tasker'

module Tasker
  # Runs handlers in tests, without a server or a database.
  module Testing
    # Runs a handler as a worker would, and returns its result after its way through JSON. Input, results and
    # initialization go through JSON too. Raises the PermanentError or RetryableError that the step would fail with, and
    # the Wait of a handler that waits.
    #
    # [handler] a class below Tasker::Step, or an object with a method +call+
    # [results] the results of dependencies by name
    # [timeout] the seconds until the deadline
    def self.run(handler, input: {}, results: {}, initialization: {}, item: nil, signal: nil, checkpoint: nil,
                 attempt: 1, max_attempts: 3, timeout: 300, task_id: SecureRandom.uuid, name: 'step',
                 traceparent: nil)
      step = Attempt.new(
        task_id:, step: name, namespace: 'test', template: 'test', template_version: '1.0.0',
        callable: handler.respond_to?(:callable) ? handler.callable : name, key: "#{task_id}/#{name}",
        attempt:, max_attempts:, timeout_ms: timeout * 1000, traceparent:,
        input: stored(Outcome.result(input)), results: stored(Outcome.result(results)),
        initialization: stored(Outcome.result(initialization)), item: stored(Outcome.result(item)),
        signal: stored(Outcome.result(signal)), checkpoint: stored(Outcome.result(checkpoint))
      )
      begin
        outcome = Tasker.with_step(step) { Outcome.result(handler.call(step)) }
      rescue Wait => e
        checked(e)
        raise
      rescue StandardError, NotImplementedError => e
        # It becomes the cause of the error that is raised here.
        stored(Outcome.error(e))
      else
        stored(outcome)
      end
    end

    # Returns the result that the runtime would store, or raises the error that the step would fail with.
    def self.stored(outcome)
      result, error = Tasker.check_outcome(outcome)
      return Outcome.parse(result) unless error

      kind, message, permanent, delay = error
      raise PermanentError.new(message, kind:) if permanent

      raise RetryableError.new(message, kind:, retry_after: delay && (delay / 1000.0))
    end
    private_class_method :stored

    # Raises the error that the step would fail with if it cannot wait like this.
    def self.checked(wait)
      stored(Outcome.error(wait))
    rescue RetryableError => e
      raise unless e.kind == 'waiting'
    end
    private_class_method :checked
  end
end
