# frozen_string_literal: true

# Takes the payment. It may run more than once, so what it does elsewhere needs a key that stays the same.
class ChargeStep < Tasker::Step
  callable 'tasker_starter.charge'

  def call(step)
    # Call your payment provider here, with this key: a repeated attempt must not charge twice.
    { payment_id: step.key, amount_cents: step.result(:check_stock)[:total_cents] }
  end
end
