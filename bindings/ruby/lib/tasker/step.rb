# frozen_string_literal: true

module Tasker
  # The base class of handlers that are classes:
  #
  #     class Pay < Tasker::Step
  #       callable 'orders.pay'
  #
  #       def call(step)
  #         { id: Bank.charge(step.result(:validate), key: step.key) }
  #       end
  #     end
  #
  # Each attempt has an object of its own. The argument of +call+ is a Tasker::Attempt.
  class Step
    class << self
      # Sets or returns the name of the handler in templates (+steps[].handler.callable+). It is the name of the class
      # if it is not set.
      def callable(name = nil)
        @callable = name.to_s if name
        @callable || self.name
      end

      # Runs an attempt.
      def call(step)
        new.call(step)
      end

      # All handlers that are loaded: the classes below this one that have a name and no classes below them.
      def all # :nodoc:
        subclasses.flat_map { |step| step.subclasses.empty? ? step : step.all }.select(&:callable).reverse
      end
    end

    # Runs an attempt, and returns the step's result.
    def call(_step)
      raise NotImplementedError, "#{self.class} must define call(step)"
    end
  end
end
