# frozen_string_literal: true

require 'delegate'
require_relative '../tasker'

module Tasker
  # The names of tasker-core's Ruby library, for handlers that were written for it. A handler moves by changing its base
  # class, or by including this module:
  #
  #     class PayHandler < Tasker::Compat::StepHandler::Base
  #       def call(context)
  #         cart = context.get_dependency_result('validate_cart')
  #         success(result: { total: cart['total'] })
  #       end
  #     end
  #
  #     extend Tasker::Compat
  #     Ship = step_handler('ship', depends_on: { cart: 'validate_cart' }, inputs: [:to]) do |cart:, to:, context:|
  #       { shipped: cart['items'], to: to }
  #     end
  #
  # Pass both to a worker: <tt>Tasker::Worker.new(steps: [PayHandler, Ship])</tt>. The callable of a class is its name.
  module Compat
    # Makes a handler of a block with keyword arguments: the results of dependencies, fields of the task's input, and
    # the context. A result or a field that does not exist is nil.
    def step_handler(name, depends_on: {}, inputs: [], &block)
      raise ArgumentError, 'block required' unless block

      Class.new(StepHandler::Base) do
        callable name
        define_method(:call) do |context|
          arguments = depends_on.transform_values { |step| context.get_dependency_result(step) }
          inputs.each { |input| arguments[input.to_sym] = context.get_input(input) }
          block.call(**arguments.transform_keys(&:to_sym), context:)
        end
      end
    end
    module_function :step_handler

    # An attempt with tasker-core's names. Its hashes accept both strings and symbols as keys in +[]+ and +dig+.
    class Context < DelegateClass(Attempt)
      alias task_uuid task_id

      def get_dependency_result(name)
        Context.with_strings(results[name.to_sym])
      end

      def get_input(name)
        Context.with_strings(input[name.to_sym])
      end
      alias get_task_field get_input

      def input_data
        Context.with_strings(input)
      end

      def step_config
        Context.with_strings(initialization)
      end

      # The number of attempts before this one.
      def retry_count
        attempt - 1
      end

      def max_retries
        max_attempts
      end

      def self.with_strings(value) # :nodoc:
        case value
        when Array then value.map { |item| with_strings(item) }
        when Hash
          hash = value.to_h { |key, item| [key.name, with_strings(item)] }
          hash.default_proc = ->(all, key) { all[key.name] if key.is_a?(Symbol) && all.key?(key.name) }
          hash
        else value
        end
      end
    end

    module StepHandler
      # The base class of handlers. +call+ takes a Context.
      class Base < Step
        def self.call(step)
          new.call(Context.new(step))
        end

        # Returns the result itself. Metadata are ignored.
        def success(result: nil, result_data: nil, metadata: {}) # rubocop:disable Lint/UnusedMethodArgument
          result.nil? ? result_data : result
        end

        # Raises the error. The code is its kind, or else the type. Metadata are ignored.
        def failure(message:, error_type: 'UnexpectedError', error_code: nil, retryable: false, metadata: {}) # rubocop:disable Lint/UnusedMethodArgument
          raise (retryable ? RetryableError : PermanentError).new(message, kind: error_code || error_type)
        end
      end
    end
  end
end
