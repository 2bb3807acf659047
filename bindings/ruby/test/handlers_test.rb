# frozen_string_literal: true

require_relative 'test_helper'
require 'tasker/compat'

class HandlersTest < Minitest::Test
  parallelize_me!

  class Double < Tasker::Step
    callable 'numbers.double'

    def call(step)
      { number: step.input[:number] * 2 }
    end
  end

  Order = Struct.new(:number)

  # An object with a hash of its values, like Data of Ruby 3.2.
  Note = Class.new do
    def to_h
      { a: 1 }
    end
  end

  def test_a_handler_runs_without_a_server
    assert_equal({ number: 8 }, Tasker::Testing.run(Double, input: { 'number' => 4 }))
    assert_equal({ number: 8 }, Tasker::Testing.run(Double, input: Order.new(4)))
    id = SecureRandom.uuid
    everything = lambda do |step|
      [step.attempt, step.max_attempts, step.name, step.key, step.initialization, step.result('a'), step.callable]
    end
    result = Tasker::Testing.run(everything, results: { 'a' => Order.new(1) }, initialization: { b: 2 }, attempt: 2,
                                             max_attempts: 5, name: 'pay', task_id: id)
    assert_equal [2, 5, 'pay', "#{id}/pay", { b: 2 }, { number: 1 }, 'pay'], result
  end

  def test_objects_become_hashes_and_times_become_text
    values = [Note.new, Order.new(:two), Date.new(2026, 1, 2), Time.utc(2026, 1, 2, 3, 4, 5.5r)]
    assert_equal [{ a: 1 }, { number: 'two' }, '2026-01-02', '2026-01-02T03:04:05.500000Z'],
                 Tasker::Testing.run(->(_) { values })
    assert_equal 'ü', Tasker::Testing.run(->(_) { 'ü'.encode('ISO-8859-1') })
  end

  def test_a_handler_that_waits_raises_its_wait
    approve = lambda do |step|
      raise Tasker::Wait.new(2.5, signal: 'approved', checkpoint: [1]) unless step.signal

      [step.signal, step.checkpoint, step.item]
    end
    wait = assert_raises(Tasker::Wait) { Tasker::Testing.run(approve) }
    assert_equal [2.5, 'approved', [1]], [wait.delay, wait.signal, wait.checkpoint]
    assert_equal [{ by: 'ada' }, [1], 7],
                 Tasker::Testing.run(approve, signal: { by: 'ada' }, checkpoint: [1], item: 7)
    assert_raises(ArgumentError) { Tasker::Wait.new(-1) }
  end

  def test_a_wait_is_checked_as_in_production
    waits = { 'bad_checkpoint' => { checkpoint: Object.new }, 'bad_wait' => { signal: 'x' * 129 } }
    waits.each do |kind, options|
      handler = ->(_) { raise Tasker::Wait.new(**options) }
      assert_equal kind, assert_raises(Tasker::PermanentError) { Tasker::Testing.run(handler) }.kind
    end
    zero = ->(_) { raise Tasker::Wait.new(checkpoint: "\0") }
    assert_equal 'bad_checkpoint', assert_raises(Tasker::PermanentError) { Tasker::Testing.run(zero) }.kind
  end

  # An exception that cannot be shown.
  class NoText < StandardError
    def message
      raise KeyError
    end
  end

  def test_an_exception_without_text_is_an_outcome
    error = assert_raises(Tasker::RetryableError) { Tasker::Testing.run(->(_) { raise NoText }) }
    assert_equal ['HandlersTest::NoText', 'HandlersTest::NoText, whose message cannot be read: KeyError'],
                 [error.kind, error.message]
  end

  def test_a_handler_fails_as_in_production
    error = assert_raises(Tasker::PermanentError) { Tasker::Testing.run(->(_) { Float::NAN }) }
    assert_equal 'bad_result', error.kind
    error = assert_raises(Tasker::RetryableError) { Tasker::Testing.run(->(_) { raise KeyError, 'nobody knows' }) }
    assert_equal ['KeyError', 'nobody knows', KeyError], [error.kind, error.message, error.cause.class]
    later = ->(_) { raise Tasker::RetryableError.new('later', retry_after: 1.5) }
    assert_in_delta 1.5, assert_raises(Tasker::RetryableError) { Tasker::Testing.run(later) }.retry_after
    assert_raises(ArgumentError) { Tasker::RetryableError.new('never', retry_after: -1) }
    error = assert_raises(Tasker::PermanentError) { Tasker::Testing.run(->(step) { step.result(:cart) }) }
    assert_equal 'bad_input', error.kind
    assert_raises(Tasker::RetryableError) { Tasker::Testing.run(Class.new(Tasker::Step)) }
  end

  def test_the_callable_of_a_class_is_its_name_unless_it_is_set
    assert_equal 'numbers.double', Double.callable
    assert_equal 'Tasker::Step', Tasker::Step.callable
    assert_includes Tasker::Step.all, Double
  end

  # A handler of tasker-core.
  class Pay < Tasker::Compat::StepHandler::Base
    def call(context)
      return failure(message: 'no number', error_code: 'NO_NUMBER') unless context.get_input('number')

      cart = context.get_dependency_result('validate_cart')
      success(result: { sum: cart['items'][0]['price'] + cart.dig(:items, 0, :price), retries: context.retry_count })
    end
  end

  include Tasker::Compat

  def test_handlers_of_tasker_core_run_unchanged
    cart = { items: [{ price: 2 }] }
    result = Tasker::Testing.run(Pay, input: { number: 1 }, results: { validate_cart: cart }, attempt: 2)
    assert_equal({ sum: 4, retries: 1 }, result)
    error = assert_raises(Tasker::PermanentError) { Tasker::Testing.run(Pay) }
    assert_equal ['NO_NUMBER', 'no number'], [error.kind, error.message]
    depends_on = { paid: 'validate_cart', note: 'note' }
    ship = step_handler('ship', depends_on:, inputs: [:to]) do |paid:, note:, to:, context:|
      { price: paid['items'].first['price'], note:, to:, attempt: context.attempt }
    end
    assert_equal 'ship', ship.callable
    result = Tasker::Testing.run(ship, input: { to: 'Ada' }, results: { validate_cart: cart })
    assert_equal({ price: 2, note: nil, to: 'Ada', attempt: 1 }, result)
  end

  TaskerCore = Tasker::Compat

  def total_of(cart, context)
    result = { cents: context.get_dependency_field('validate_cart', 'total', 'cents'), cart: cart['total'],
               size: context.get_input_or('size', 7), names: context.dependency_results.keys }
    TaskerCore::Types::StepHandlerCallResult.success(result:, metadata: { gateway: 'test' })
  end

  def test_errors_and_results_of_tasker_core_keep_their_names
    depends_on = { cart: 'validate_cart' }
    pay = step_handler('pay', depends_on:, inputs: [:token], version: '1') do |cart:, token:, context:|
      case token
      when nil then raise TaskerCore::Errors::PermanentError.new('no token', error_code: 'NO_TOKEN', context: { a: 1 })
      when 'down' then raise TaskerCore::Errors::RetryableError.new('down', retry_after: 5, context: { a: 1 })
      when 'no' then TaskerCore::Types::StepHandlerCallResult.error(message: 'no', error_code: 'NO', retryable: true)
      else total_of(cart, context)
      end
    end
    results = { validate_cart: { total: { cents: 5 } } }
    assert_equal({ cents: 5, cart: { cents: 5 }, size: 7, names: ['validate_cart'] },
                 Tasker::Testing.run(pay, input: { token: 'ok' }, results:))
    error = assert_raises(Tasker::PermanentError) { Tasker::Testing.run(pay) }
    assert_equal ['NO_TOKEN', 'no token'], [error.kind, error.message]
    error = assert_raises(Tasker::RetryableError) { Tasker::Testing.run(pay, input: { token: 'down' }) }
    assert_equal ['retryable_error', 5.0], [error.kind, error.retry_after]
    assert_equal 'NO', assert_raises(Tasker::RetryableError) { Tasker::Testing.run(pay, input: { token: 'no' }) }.kind
  end
end
