# frozen_string_literal: true

require 'tasker'

require_relative 'flows'

# The handlers of the sample workflows: arithmetic, orders, faults.
module Handlers
  # The largest integer that every JSON parser reads exactly.
  MAX_EXACT = 2**53
  MAX_U64 = (2**64) - 1

  ARITHMETIC = [
    *(1..4).map { |number| "linear_workflow.linear_step_#{number}" },
    *%w[start branch_b branch_c end].map { |part| "diamond_workflow.diamond_#{part}" },
    *%w[root branch_left branch_right leaf_d leaf_e leaf_f leaf_g final_convergence].map do |part|
      "tree_workflow.tree_#{part}"
    end,
    *%w[init process_left process_right validate transform analyze finalize].map do |part|
      "mixed_dag_workflow.dag_#{part}"
    end
  ].freeze

  # Squares the product of the dependencies' values, or the task's +even_number+ if there are none.
  SQUARE = lambda do |step|
    factors =
      if step.results.empty?
        [Handlers.number(step.input[:even_number], 'even_number')]
      else
        step.results.map { |name, result| Handlers.number(result[:value], name) }
      end
    value = factors.inject(:*)**2
    { value: value <= MAX_EXACT ? value : value.to_s }
  end

  def self.number(value, name)
    return Integer(value, 10) if value.is_a?(String) && value.match?(/\A[0-9]+\z/)
    return value if value.is_a?(Integer) && value.between?(0, MAX_U64)

    raise Tasker::PermanentError.new(
      "#{name} must be an integer from 0 to 2^64 - 1, or a string of decimal digits, but is #{value.inspect}",
      kind: 'bad_input'
    )
  end

  # Checks an order and adds up its total.
  class ValidateOrder < Tasker::Step
    callable 'order_fulfillment.validate_order'

    def call(step)
      items = fields(step.input, 'the order', items: Array, payment: Hash).fetch(:items)
      refuse('the order has no items') if items.empty?
      items = items.map { |item| fields(item, 'an item', sku: String, quantity: Integer, unit_price_cents: Integer) }
      items.each { |item| refuse("the quantity of item #{item[:sku]} is 0") if item[:quantity].zero? }
      repeated = items.map { |item| item[:sku] }.tally.key(2)
      refuse("item #{repeated} is in the order twice") if repeated
      total = items.sum { |item| item[:quantity] * item[:unit_price_cents] }
      count = items.sum { |item| item[:quantity] }
      refuse("the order's total is beyond 2^64 cents") if [count, total].max > MAX_U64
      { items:, item_count: count, total_cents: total }
    end

    private

    # Returns the fields of these types, and refuses an input without them.
    def fields(value, what, **types)
      types.to_h do |name, type|
        field = value.is_a?(Hash) ? value[name] : nil
        unless field.is_a?(type)
          raise Tasker::PermanentError.new("#{what} must have a field #{name} of type #{type}", kind: 'bad_input')
        end

        [name, field]
      end
    end

    def refuse(message)
      raise Tasker::PermanentError.new(message, kind: 'invalid_order')
    end
  end

  # Reserves every item in the warehouse.
  class ReserveInventory < Tasker::Step
    callable 'order_fulfillment.reserve_inventory'

    def call(step)
      order = step.result(:validate_order)
      reservations = order[:items].map do |item|
        { reservation_id: "#{Handlers.id(step, 'res')}_#{item[:sku]}", sku: item[:sku], quantity: item[:quantity] }
      end
      { **order, reservations: }
    end
  end

  # Charges the total to the customer.
  class ProcessPayment < Tasker::Step
    callable 'order_fulfillment.process_payment'

    def call(step)
      order = step.result(:reserve_inventory)
      payment = step.input[:payment]
      if payment[:method] == 'declined_card' || payment[:token] == 'tok_declined'
        raise Tasker::PermanentError.new(
          "the bank declined to pay #{order[:total_cents]} cents by #{payment[:method]}", kind: 'payment_declined'
        )
      end
      { **order, payment_id: Handlers.id(step, 'pay') }
    end
  end

  # Hands the items to the carrier.
  class ShipOrder < Tasker::Step
    callable 'order_fulfillment.ship_order'

    def call(step)
      { **step.result(:process_payment), tracking_number: Handlers.id(step, 'trk'),
                                         customer: step.input[:customer], shipping: step.input[:shipping] }
    end
  end

  # Returns an id that is the same in every attempt.
  def self.id(step, kind)
    "#{kind}_#{step.task_id.delete('-')}"
  end

  # Registers all handlers.
  def self.register(worker)
    ARITHMETIC.each { |callable| worker.step(callable, SQUARE) }
    [ValidateOrder, ReserveInventory, ProcessPayment, ShipOrder].each { |step| worker.step(step.callable, step) }
    worker.step('benchmark.noop') { nil }
    register_faults(worker)
    Flows::HANDLERS.each { |callable, handler| worker.step(callable, handler) }
  end

  def self.register_faults(worker)
    worker.step('faults.fail_times') do |step|
      failures = step.initialization.fetch(:failures)
      if step.attempt <= failures
        raise Tasker::RetryableError, "attempt #{step.attempt} fails, as configured for the first #{failures} attempts"
      end

      { attempts: step.attempt }
    end
    worker.step('faults.permanent') { raise Tasker::PermanentError, 'this step fails permanently, as configured' }
    worker.step('faults.sleep') do |step|
      milliseconds = step.initialization[:ms] || step.input[:ms] || 0
      raise Tasker::RetryableError, 'cancelled while asleep' if step.wait_cancelled(milliseconds / 1000.0)

      { slept_ms: milliseconds }
    end
    worker.step('faults.panic') do
      raise Tasker::RetryableError.new('this handler panics, as configured', kind: 'panic')
    end
    worker.step('faults.echo', &:input)
  end
end
