# frozen_string_literal: true

require_relative 'test_helper'
require 'fiddle'

class WorkerTest < ServerTest
  class Validate < Tasker::Step
    def call(step)
      raise 'wrong attempt' unless [step.attempt, step.max_attempts, step.name] == [1, 1, 'validate']
      raise 'wrong key' unless step.key == "#{step.task_id}/validate"
      raise 'wrong deadline' unless step.remaining.between?(1, 300)

      { total: step.input[:number] * 2, at: Time.utc(2026, 1, 2) }
    end
  end

  def test_classes_and_blocks_run_steps
    pay = lambda do |step|
      raise 'wrong thread' if Thread.current == Thread.main

      { total: step.result(:validate)[:total], at: step.result('validate')[:at], order: step.input }
    end
    steps = { validate: {}, pay: { dependencies: ['validate'] } }
    task, = run_tasks(worker(steps, { validate: Validate, pay: }), { number: 4, tags: ['a'] })
    assert_equal 'completed', task.status, task.inspect
    expected = { total: 8, at: '2026-01-02T00:00:00.000000Z', order: { number: 4, tags: ['a'] } }
    assert_equal expected, task.step(:pay).result
  end

  def test_a_handler_that_cannot_run_is_refused
    worker = Tasker::Worker.new
    [-> {}, ->(_, _) {}, ->(_, key:) {}, Class.new(Tasker::Step) { def call; end }].each do |handler|
      error = assert_raises(ArgumentError) { worker.step('wrong', handler) }
      assert_match(/the handler wrong must take one argument, the step/, error.message)
    end
    missing = Class.new(Tasker::Step) { callable 'missing' }
    { 'must define call(step)' => missing, 'has no name' => Class.new(Validate), 'is not a class' => :pay }
      .each do |message, step|
        assert_includes assert_raises(ArgumentError) { Tasker::Worker.new(steps: step) }.message, message
      end
    [proc {}, ->(_, _ = 1) {}, method(:puts), Validate].each_with_index do |handler, number|
      worker.step("right_#{number}", handler)
    end
  end

  def test_only_one_start_wins
    worker = worker({ noop: {} }, { noop: ->(_) {} })
    start = lambda do
      worker.start
      nil
    rescue Tasker::Error => e
      e.message
    end
    outcomes = Array.new(2) { Thread.new(&start) }.map(&:value)
    worker.stop
    assert_equal ['the worker is running already'], outcomes.compact
  end

  def test_a_step_waits_and_keeps_its_checkpoint
    approve = lambda do |step|
      raise Tasker::Wait.new(checkpoint: { rows: 1 }) unless step.checkpoint

      unless step.signal
        # The signal may arrive before the step waits for it.
        @client.signal(step.task_id, 'approved', { by: 'ada' })
        raise Tasker::Wait.new(60, signal: 'approved')
      end
      [step.attempt, step.checkpoint, step.signal]
    end
    task, = run_tasks(worker({ approve: {} }, { approve: }), {})
    assert_equal 'completed', task.status, task.inspect
    assert_equal [1, { rows: 1 }, { by: 'ada' }], task.step(:approve).result
    refute_includes LOG.string, "approve of task #{task.task_uuid}"
  end

  def test_a_map_runs_once_for_each_element
    steps = { list: {}, each: { dependencies: ['list'], map: { step: 'list' } } }
    task, = run_tasks(worker(steps, { list: ->(_) { [1, 2, 3] }, each: ->(step) { step.item * 2 } }), {})
    assert_equal([2, 4, 6], (0..2).map { |number| task.step("each_#{number}").result })
  end

  def test_every_failure_has_a_kind_and_a_message
    handlers = {
      permanent: ->(_) { raise Tasker::PermanentError.new('never', kind: 'declined') },
      other: ->(_) { raise KeyError, 'nobody knows' },
      exits: ->(_) { exit 3 },
      thrown: ->(_) { throw :nowhere },
      killed: ->(_) { Thread.current.kill },
      binary: ->(_) { raise "\xff\0".b },
      result: ->(_) { Object.new },
      dependency: ->(step) { step.result(:other) },
      retryable: lambda do |step|
        raise Tasker::RetryableError.new('later', kind: 'down', retry_after: 0.001) if step.attempt == 1

        step.attempt
      end
    }
    steps = handlers.transform_values { {} }
    steps[:retryable] = { retry: { limit: 2, backoff_base_ms: 60_000 } }
    # With one thread, a handler that ends it must not stop the others.
    task, = run_tasks(worker(steps, handlers, max_concurrent: 1), {})
    assert_equal %w[declined never], error_of(task, :permanent)
    assert_equal ['KeyError', 'nobody knows'], error_of(task, :other)
    assert_equal %w[SystemExit exit], error_of(task, :exits)
    assert_equal 'UncaughtThrowError', error_of(task, :thrown)[0]
    assert_equal 'killed', error_of(task, :killed)[0]
    assert_equal ['RuntimeError', "\u{FFFD}\u{FFFD}"], error_of(task, :binary)
    assert_equal 'bad_result', error_of(task, :result)[0]
    assert_includes error_of(task, :result)[1], 'Object'
    assert_equal 'bad_input', error_of(task, :dependency)[0]
    assert_equal 2, task.step(:retryable).result
  end

  # Values that must not change on their way through a handler. Only the order of keys may change: it is
  # that of PostgreSQL.
  UNCHANGED = [
    nil, true, 0, -1, (2**53) + 1, -(2**63), (2**64) - 1, 0.1, 1e300, 5e-324, '', "ü\u{1F4A9}\u2028\x7f",
    "\"\\/\b\f\n\r\t", [], {}, [[], [{}], { '': nil }], { a: { ü: [1, 2.5, 'x'] }, b: 1 },
    'x' * ((1024 * 1024) - 100)
  ].freeze

  # Results that cannot be stored, with a part of the message.
  REFUSED = [
    [Float::NAN, 'NaN'], [[Float::INFINITY], 'Infinity'], [2**64, '64 bits'], ["\xed\xa0\x80", 'UTF-8'],
    ["\xff".b, 'UTF-8'], ["a\0b", 'NUL'], [{ a: 1, 'a' => 2 }, 'twice'], [{ 1 => 2 }, 'keys'],
    ['x' * ((1024 * 1024) + 1), '1048576'], [1r, 'Rational']
  ].freeze

  def nested(depth)
    (depth - 1).times.inject([]) { |value, _| [value] }
  end

  def cycle
    [].tap { |array| array << array }
  end

  def test_json_passes_unchanged
    good = [*UNCHANGED, nested(99)]
    echo = lambda do |step|
      value = step.input[:value]
      unchanged = value.inspect == good[step.input[:number]].inspect
      raise "the input has changed: #{value.inspect[0, 80]}" unless unchanged

      value
    end
    inputs = good.each_with_index.map { |value, number| { number:, value: } }
    tasks = run_tasks(worker({ echo: {} }, { echo: }), *inputs)
    tasks.zip(good) do |task, value|
      assert_equal 'completed', task.status, task.step(:echo).error.inspect
      # Distinguishes 1 from 1.0.
      assert task.step(:echo).result.inspect == value.inspect, value.inspect[0, 80]
    end
  end

  def test_json_that_would_change_is_refused
    bad = [*REFUSED, [nested(101), '100 levels'], [nested(5000), '100 levels'], [cycle, '100 levels']]
    refuse = ->(step) { bad[step.input[:number]][0] }
    inputs = bad.each_index.map { |number| { number: } }
    tasks = run_tasks(worker({ refuse: {} }, { refuse: }), *inputs)
    tasks.zip(bad) do |task, (_, reason)|
      kind, message = error_of(task, :refuse)
      assert_equal 'bad_result', kind, message
      assert_includes message, reason
    end
  end

  def test_a_handler_past_its_time_limit_is_cancelled_and_keeps_its_slot
    ended = false
    handlers = {
      slow: lambda do |step|
        raise 'not cancelled' unless step.wait_cancelled(DEADLINE) && step.cancelled?

        sleep 0.5
        ended = true
      end,
      after: ->(_) { ended }
    }
    steps = { slow: { timeout_seconds: 1 }, after: {} }
    # With one slot, the second task starts when the handler of the first one has ended.
    running = worker(steps, handlers, max_concurrent: 1)
    task, = run_tasks(running, {})
    assert_equal 'timeout', error_of(task, :slow)[0]
    assert_equal 'completed', task.step(:after).status
    assert ended
  end

  def test_a_cancelled_task_cancels_its_handler
    started = Thread::Queue.new
    cancelled = Thread::Queue.new
    wait = lambda do |step|
      started << true
      cancelled << step.wait_cancelled(DEADLINE)
    end
    worker({ wait: {} }, { wait: }, lease: 1).start do
      id = @client.create(@namespace, 'test')
      started.pop
      @client.cancel(id, reason: 'no longer needed')
      assert cancelled.pop
      assert_equal 'cancelled', @client.get(id).status
    end
  end

  def test_a_handler_that_blocks_the_interpreter_keeps_its_lease
    # In a process of its own, because it blocks all threads of the process.
    stdout, stderr, status = run_program(<<~RUBY)
      require 'tasker'
      require 'fiddle'
      # Fiddle releases the lock of the interpreter unless it is told not to.
      block = Fiddle::Function.new(Fiddle.dlopen(nil)['sleep'], [Fiddle::TYPE_INT], Fiddle::TYPE_INT, need_gvl: true)
      worker = Tasker::Worker.new(templates: #{template({ block: { retry: { limit: 3 } } }).inspect}, port: 0,
                                  database_url: #{@stack.database_url.inspect}, lease: 1)
      worker.step('#{@namespace}.block') { |step| block.call(3); step.attempt }
      worker.start do
        client = Tasker::Client.new(#{@stack.url.inspect})
        puts client.wait(client.create('#{@namespace}', 'test'), timeout: #{DEADLINE}).step(:block).result
      end
    RUBY
    assert status.success?, stderr
    assert_equal "1\n", stdout
  end

  def test_handlers_run_side_by_side
    lock = Mutex.new
    together = ConditionVariable.new
    count = 0
    meet = lambda do |_|
      lock.synchronize do
        count += 1
        together.broadcast
        together.wait(lock, DEADLINE) until count >= 20
      end
    end
    tasks = run_tasks(worker({ meet: {} }, { meet: }), *([{}] * 20))
    assert_equal ['completed'], tasks.map(&:status).uniq
  end

  def test_handlers_run_in_the_executor
    executor = Object.new
    def executor.wrap
      Thread.current[:wrapped] = true
      yield
    ensure
      Thread.current[:wrapped] = nil
    end
    task, = run_tasks(worker({ a: {} }, { a: ->(_) { Thread.current[:wrapped] } }, executor:), {})
    assert_equal true, task.step(:a).result
  end

  def test_a_worker_that_cannot_start_says_why
    error = assert_raises(Tasker::StartError) { worker({ missing: {} }, {}).start }
    assert_includes error.message, "`#{@namespace}.missing` (step missing of test)"
    assert_equal 1, error.exit_code
    error = assert_raises(Tasker::StartError) { worker({ a: {} }, { a: Validate }, max_concurrent: 0).start }
    assert_includes error.message, 'max_concurrent'
    error = assert_raises(ArgumentError) { worker({}, { a: Validate }).step("#{@namespace}.a", Validate) }
    assert_includes error.message, 'two handlers'
    assert_raises(ArgumentError) { Tasker::Worker.new.step('a', 1) }
  end

  def test_the_status_api
    running = worker({ noop: {} }, { noop: ->(_) {} })
    running.start do
      status = JSON.parse(Net::HTTP.get(URI("#{running.url}/v1/worker/status")))
      assert_equal running.worker_id, status['worker_id']
      assert_equal ['running', ["#{@namespace}.noop"]], status.values_at('status', 'handlers')
      assert_includes Net::HTTP.get(URI("#{running.url}/metrics")), 'tasker_'
      assert_raises(Tasker::Error) { running.start }
      Tasker::Worker.new(port: URI(running.url).port).check_health
    end
    error = assert_raises(Tasker::UnhealthyError) { Tasker::Worker.new(port: 1).check_health }
    assert_includes error.message, 'no response from http://127.0.0.1:1/health'
    assert_raises(Tasker::Error) { running.url }
  end

  TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

  def test_the_lines_of_handlers_name_their_step
    stdout, stderr, status = run_program(<<~RUBY)
      require 'tasker'
      logger = Logger.new($stdout, formatter: Tasker::LogFormatter.new)
      worker = Tasker::Worker.new(templates: #{template({ say: {}, fail: {} }).inspect}, port: 0, max_concurrent: 1,
                                  database_url: #{@stack.database_url.inspect})
      # An enumerator runs in a fiber of its own.
      worker.step('#{@namespace}.say') { |step| Enumerator.new { |lines| lines << logger.info('said') }.next }
      worker.step('#{@namespace}.fail') { raise 'nobody knows' }
      worker.start do
        client = Tasker::Client.new(#{@stack.url.inspect})
        puts id = client.create('#{@namespace}', 'test', traceparent: '#{TRACEPARENT}')
        client.wait(id, timeout: #{DEADLINE})
      end
      logger.info('outside')
    RUBY
    assert status.success?, stderr
    id = stdout.lines(chomp: true).grep(/\A\h{8}-/).first
    assert_includes stdout, " INFO -- : [task=#{id} step=say attempt=1 traceparent=#{TRACEPARENT}] said\n"
    assert_includes stdout, " INFO -- : outside\n"
    assert_includes stderr, " WARN -- tasker: [task=#{id} step=fail attempt=1 traceparent=#{TRACEPARENT}] a handler"
  end

  def program(ending, before: '')
    <<~RUBY
      require 'tasker'
      $stdout.sync = true
      #{before}
      worker = Tasker::Worker.new(templates: #{template({ hang: { retry: { limit: 2 } } }).inspect}, port: 0,
                                  database_url: #{@stack.database_url.inspect}, lease: 1, shutdown_timeout: 0.5)
      worker.step('#{@namespace}.hang') { puts 'started'; sleep }
      #{ending}
    RUBY
  end

  # Starts a worker whose handler hangs, and a task for it. Yields the output of the worker, its process and the task.
  def with_program(ending)
    Open3.popen2e(RbConfig.ruby, *load_path, '-e', program(ending)) do |_, output, process|
      id = wait_until do
        @client.create(@namespace, 'test')
      rescue Tasker::ApiError => e
        # The worker stores the template when it starts.
        assert_equal 404, e.status, e.message
        assert process.alive?, 'the worker has ended'
        nil
      end
      # The log of the runtime is in the output, too.
      assert(output.each_line.any? { |line| line == "started\n" })
      yield output, process, id
    end
  end

  def test_a_signal_stops_the_worker_although_a_handler_hangs
    %w[TERM INT].each do |signal|
      with_program('worker.run; puts "stopped"') do |output, process|
        begun = Tasker::Attempt.now
        Process.kill(signal, process.pid)
        assert_includes output.read, "stopped\n"
        assert process.value.success?
        assert_operator Tasker::Attempt.now - begun, :<, 20
      end
    end
  end

  def test_a_killed_worker_loses_nothing
    id = with_program('worker.run') do |_, process, task|
      Process.kill('KILL', process.pid)
      task
    end
    steps = { hang: { retry: { limit: 2 } } }
    task = worker(steps, { hang: lambda(&:attempt) }).start { @client.wait(id, timeout: DEADLINE) }
    assert_equal ['completed', 2], [task.status, task.step(:hang).result], task.inspect
  end

  def test_a_process_may_exit_without_a_stop
    _, stderr, status = run_program(program("worker.start\nraise 'the end'"))
    assert_equal 1, status.exitstatus
    assert_includes stderr, 'the end (RuntimeError)'
  end

  def test_a_worker_cannot_be_used_after_a_fork
    stdout, stderr, status = run_program(program(<<~'RUBY'))
      worker.start do
        child = fork do
          [:url, :stop, :start].each do |method|
            worker.public_send(method)
          rescue Tasker::ForkError => e
            puts e.message
          end
          GC.start
          exit 7
        end
        puts Process.wait2(child)[1].exitstatus, worker.url.start_with?('http://127.0.0.1:')
      end
    RUBY
    assert status.success?, stderr
    lines = stdout.lines(chomp: true)
    assert_equal 3, lines.grep(/cannot be used after a fork/).size, stdout
    assert_equal %w[7 true], lines.last(2)
  end

  def test_the_log_of_the_runtime_goes_to_the_logger
    _, stderr, status = run_program(program('worker.start {}'))
    assert status.success?, stderr
    assert_match(/INFO -- tasker_worker\.worker: worker started .*namespaces=#{@namespace}/, stderr)
  end

  def test_an_idle_worker_does_not_run_ruby
    stdout, stderr, status = run_program(program(<<~RUBY))
      worker.start do
        sleep 0.5
        before = GC.stat(:total_allocated_objects)
        sleep 1
        puts GC.stat(:total_allocated_objects) - before
      end
    RUBY
    assert status.success?, stderr
    assert_operator Integer(stdout), :<, 100
  end
end

class ThreadsTest < Minitest::Test
  def test_threads_are_reused
    pool = Tasker::Threads.new(4)
    names = Thread::Queue.new
    1000.times { pool.submit { names << Thread.current.name } }
    assert_operator Array.new(1000) { names.pop }.uniq.size, :<=, 4
    pool.close
  end
end
