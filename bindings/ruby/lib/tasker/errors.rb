# frozen_string_literal: true

module Tasker
  # The base class of all errors of this library.
  class Error < StandardError; end

  # The worker cannot start. The message says why and what to do.
  class StartError < Error
    # The exit code for a program that stops with this error: 4 if the database must be migrated, 5 if it is too new for
    # this library, otherwise 1.
    attr_reader :exit_code

    def initialize(message, exit_code = 1)
      super(message)
      @exit_code = exit_code
    end
  end

  # The worker does not respond, or is not healthy. The message says why.
  class UnhealthyError < Error; end

  # A worker was used in a process that is a fork of the one that started it.
  class ForkError < Error; end

  # The base class of the errors that handlers raise.
  class HandlerError < Error
    # The kind of error: a stable name for programs, such as +card_declined+.
    attr_reader :kind

    def initialize(message = nil, kind: 'error')
      super(message)
      @kind = kind.to_s
    end
  end

  # Raised by a handler whose step continues later. Nothing failed, and the attempt does not count. Until then the step
  # needs no worker.
  class Wait < Error
    # The longest time in seconds, the name of the signal that ends the wait, and a value for the next attempt.
    attr_reader :delay, :signal, :checkpoint

    # Without +delay+ and +signal+, the step continues at once. The next attempt finds +checkpoint+ in
    # Attempt#checkpoint, also after a crash, and the payload of the signal in Attempt#signal. Without +checkpoint+, it
    # has that of this attempt.
    def initialize(delay = nil, signal: nil, checkpoint: nil)
      unless delay.nil? || (0..1e9).cover?(delay.to_f)
        raise ArgumentError, "delay must be between 0 and 1e9 seconds, but is #{delay}"
      end

      super('the step waits')
      @delay = delay
      @signal = signal
      @checkpoint = checkpoint
    end
  end

  # Every attempt would fail, so the step fails at once.
  class PermanentError < HandlerError; end

  # Another attempt may succeed. The step's retry policy decides whether and when there is one. Every other exception
  # counts as a RetryableError whose kind is the name of its class.
  class RetryableError < HandlerError
    # The seconds until the next attempt, or nil for the delay of the step's retry policy.
    attr_reader :retry_after

    def initialize(message = nil, kind: 'error', retry_after: nil)
      unless retry_after.nil? || (0..1e9).cover?(retry_after.to_f)
        raise ArgumentError, "retry_after must be between 0 and 1e9 seconds, but is #{retry_after}"
      end

      super(message, kind:)
      @retry_after = retry_after
    end
  end
end
