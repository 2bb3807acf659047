# frozen_string_literal: true

# Finds the price of an order.
class CheckStockStep < Tasker::Step
  callable 'tasker_starter.check_stock'

  # Stands in for the catalogue: items and their prices in cents.
  CATALOGUE = { 'tea' => 450, 'mug' => 1_200 }.freeze

  def call(step)
    item, quantity = step.input.values_at(:item, :quantity)
    price = CATALOGUE[item]
    # Another attempt would not help. Every other error is retried as the template says.
    raise Tasker::PermanentError.new("there is no item `#{item}`", kind: 'unknown_item') unless price

    { total_cents: price * quantity }
  end
end
