# frozen_string_literal: true

module Tasker
  # One attempt of a step, as its handler sees it. All hashes have symbols as keys.
  class Attempt
    # The task's input.
    attr_reader :input
    # The task's id.
    attr_reader :task_id
    # The step's name, unique in its task.
    attr_reader :name
    # The task's namespace.
    attr_reader :namespace
    # The name of the task's template.
    attr_reader :template
    # The version of the task's template.
    attr_reader :template_version
    # The name of the handler in the template.
    attr_reader :callable
    # The step's idempotency key, the same in every attempt. Send it to systems that must carry out a request once.
    attr_reader :key
    # The number of this attempt, from 1.
    attr_reader :attempt
    # The largest number of attempts.
    attr_reader :max_attempts
    # The results of the steps that this one depends on, by name.
    attr_reader :results
    # The template's settings for the handler (+handler.initialization+).
    attr_reader :initialization
    # The element for which this child of a step with +map+ runs.
    attr_reader :item
    # The payload of the signal for which the step waited. nil if it did not arrive in time.
    attr_reader :signal
    # The value that an earlier attempt stored with Tasker::Wait.
    attr_reader :checkpoint
    # The place of the attempt in a trace (W3C Trace Context). nil if the task is in no trace.
    attr_reader :traceparent

    # Takes the fields of a step from the runtime.
    def initialize(fields, cancellation = Cancellation.new) # :nodoc:
      @input, @task_id, @name, @namespace, @template, @template_version, @callable, @key, @attempt, @max_attempts,
        @results, @initialization, @item, @signal, @checkpoint, @traceparent =
        fields.values_at(:input, :task_id, :step, :namespace, :template, :template_version, :callable, :key, :attempt,
                         :max_attempts, :results, :initialization, :item, :signal, :checkpoint, :traceparent)
      @deadline = Attempt.now + (fields[:timeout_ms] / 1000.0)
      @cancellation = cancellation
    end

    # Returns the result of a step that this one depends on.
    def result(name)
      results.fetch(name.to_sym) do
        raise PermanentError.new(
          "step #{self.name} does not depend on a step #{name}; see `dependencies` in template #{template} " \
          "#{template_version}", kind: 'bad_input'
        )
      end
    end

    # The seconds until the deadline, at least 0. Use it as the timeout of calls to other systems.
    def remaining
      [@deadline - Attempt.now, 0.0].max
    end

    # Whether the result of the attempt is no longer wanted: its lease is lost, its task is cancelled, its time is over,
    # or the worker is stopping and cannot wait any longer. Look at this now and then in long loops.
    def cancelled?
      @cancellation.cancelled?
    end

    # Blocks until the attempt is cancelled or +timeout+ seconds have passed. Returns whether it is cancelled.
    def wait_cancelled(timeout = nil)
      @cancellation.wait(timeout)
    end

    # What identifies the attempt in a log: +task+, +step+, +attempt+, and +traceparent+ if the task is in a trace.
    def log_fields
      { task: task_id, step: name, attempt:, traceparent: }.compact
    end

    def inspect
      "#<#{self.class} #{name} of task #{task_id}, attempt #{attempt}>"
    end

    # Seconds on a clock that nobody sets.
    def self.now # :nodoc:
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # Tells a handler that its result is no longer wanted.
    class Cancellation # :nodoc:
      def initialize
        @cancelled = false
        @lock = Mutex.new
        @changed = ConditionVariable.new
      end

      def cancelled?
        @cancelled
      end

      def cancel
        @lock.synchronize do
          @cancelled = true
          @changed.broadcast
        end
      end

      def wait(timeout)
        deadline = timeout && (Attempt.now + timeout)
        @lock.synchronize do
          until @cancelled
            left = deadline && (deadline - Attempt.now)
            break if left && left <= 0

            @changed.wait(@lock, left)
          end
          @cancelled
        end
      end
    end
  end
end
