# frozen_string_literal: true

require 'test_helper'

Stack.start

class OrdersControllerTest < ActionDispatch::IntegrationTest
  test 'an order is charged and shipped' do
    created = order(item: 'tea', quantity: 3)
    assert_equal [201, 'completed'], [status, created['status']], created
    assert_equal 1_350, created.dig('steps', 'charge', 'result', 'amount_cents')
    assert_equal "#{created['id']}/ship", created.dig('steps', 'ship', 'result', 'tracking_number')

    get "/orders/#{created['id']}"
    assert_equal created, response.parsed_body
  end

  test 'bad orders are refused or wait for an operator' do
    problem = order(item: 'tea', quantity: 0)
    assert_equal [422, '/quantity'], [status, problem.dig('errors', 0, 'pointer')], problem

    # Nothing is charged. `tasker-cli task list --status blocked_by_failures` shows such tasks.
    blocked = order(item: 'gold', quantity: 1)
    assert_equal %w[blocked_by_failures pending], [blocked['status'], blocked.dig('steps', 'charge', 'status')]
  end

  private

  def order(**fields)
    post '/orders?wait=30', params: fields, as: :json
    response.parsed_body
  end
end
