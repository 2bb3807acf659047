# frozen_string_literal: true

require 'test_helper'

class CheckStockStepTest < ActiveSupport::TestCase
  test 'adds up the price' do
    assert_equal({ total_cents: 1_350 }, Tasker::Testing.run(CheckStockStep, input: { item: 'tea', quantity: 3 }))
  end

  test 'refuses an unknown item' do
    error = assert_raises(Tasker::PermanentError) do
      Tasker::Testing.run(CheckStockStep, input: { item: 'gold', quantity: 1 })
    end
    assert_equal 'unknown_item', error.kind
  end
end
