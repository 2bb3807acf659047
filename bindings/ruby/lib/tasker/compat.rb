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
  # <tt>TaskerCore = Tasker::Compat</tt> keeps all other names.
  module Compat
    # Makes a handler of a block with keyword arguments: the results of dependencies, fields of the task's input, and
    # the context. A result or a field that does not exist is nil.
    def step_handler(name, depends_on: {}, inputs: [], version: nil, &block) # rubocop:disable Lint/UnusedMethodArgument
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

      def get_input_or(name, default = nil)
        input.key?(name.to_sym) ? get_input(name) : default
      end

      # A part of the result of a dependency, or nil.
      def get_dependency_field(name, *path)
        path.flatten.reduce(get_dependency_result(name)) { |value, key| value.is_a?(Hash) ? value[key.to_s] : nil }
      end

      def dependency_results
        Context.with_strings(results)
      end

      def input_data
        Context.with_strings(input)
      end

      def step_config
        Context.with_strings(initialization)
      end
      alias step_inputs step_config

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

    # The errors with tasker-core's arguments: the +error_code+ is the kind, and the others are ignored.
    module Errors
      # Every attempt would fail.
      class PermanentError < Tasker::PermanentError
        def initialize(message = nil, error_code: nil, **_others)
          super(message, kind: error_code || 'permanent_error')
        end
      end

      # Another attempt may succeed.
      class RetryableError < Tasker::RetryableError
        def initialize(message = nil, error_code: nil, retry_after: nil, **_others)
          super(message, kind: error_code || 'retryable_error', retry_after:)
        end
      end
    end

    module Types
      # What handlers return: the result itself. Metadata are ignored.
      module StepHandlerCallResult
        def self.success(result: nil, metadata: {}) # rubocop:disable Lint/UnusedMethodArgument
          result
        end

        # Raises the error. The code is its kind, or else the type. Metadata are ignored.
        def self.error(message:, error_type: 'UnexpectedError', error_code: nil, retryable: false, metadata: {}) # rubocop:disable Lint/UnusedMethodArgument
          raise (retryable ? RetryableError : PermanentError).new(message, kind: error_code || error_type)
        end
      end
    end

    module StepHandler
      # What has +step_handler+.
      Functional = Compat

      # The base class of handlers. +call+ takes a Context.
      class Base < Step
        def self.call(step)
          new.call(Context.new(step))
        end

        # Returns the result itself. Metadata are ignored.
        def success(result: nil, result_data: nil, metadata: {}) # rubocop:disable Lint/UnusedMethodArgument
          result.nil? ? result_data : result
        end

        # Raises the error. See Types::StepHandlerCallResult.error.
        def failure(**error)
          Types::StepHandlerCallResult.error(**error)
        end
      end
    end
  end
end
