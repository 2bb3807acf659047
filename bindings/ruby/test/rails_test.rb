# frozen_string_literal: true

require_relative 'test_helper'

# An application of one file, with a step from the generator.
class RailsTest < ServerTest
  ENVIRONMENT = <<~RUBY
    require 'rails'
    require 'tasker'

    class Shop < Rails::Application
      config.root = File.expand_path('..', __dir__)
      config.eager_load = false
      config.logger = Logger.new($stderr)
    end
    Rails.application.initialize!
  RUBY
  GENERATE = <<~RUBY
    require './config/environment'
    require 'rails/generators'
    Rails::Generators.invoke('tasker:step', ARGV)
  RUBY
  # The step tells whether it runs in the executor.
  STEP = <<~RUBY
    module Orders
      class PayStep < Tasker::Step
        callable 'orders.pay'

        def call(step)
          { paid: step.input[:sum], wrapped: Rails.application.executor.active? }
        end
      end
    end
  RUBY

  def test_an_application_generates_and_runs_steps
    FileUtils.mkdir_p("#{@folder}/config")
    File.write("#{@folder}/config/environment.rb", ENVIRONMENT)
    output, status = ruby('-e', GENERATE, 'orders/pay')
    assert status.success?, output
    assert_includes File.read("#{@folder}/test/steps/orders/pay_step_test.rb"), 'run(Orders::PayStep,'
    File.write("#{@folder}/test/test_helper.rb", "require './config/environment'\nrequire 'rails/test_help'\n")
    output, = ruby('-Itest', 'test/steps/orders/pay_step_test.rb')
    assert_includes output, '1 runs, 1 assertions, 0 failures, 0 errors'

    step = "#{@folder}/app/steps/orders/pay_step.rb"
    assert_includes File.read(step), "class Orders::PayStep < Tasker::Step\n  callable 'orders.pay'"
    File.write(step, STEP)
    yaml = "#{@folder}/config/tasker/orders.yaml"
    # Other tests of this server must not see the namespace.
    File.write(yaml, File.read(yaml).sub('namespace_name: orders', "namespace_name: #{@namespace}"))
    task = with_worker { @client.wait(create, timeout: DEADLINE) }
    assert_equal({ paid: 7, wrapped: true }, task.step(:pay).result, task.inspect)
  end

  def test_the_program_says_what_is_missing
    output, status = ruby(program)
    assert_equal 1, status.exitstatus
    assert_includes output, 'config/environment.rb is missing'
    File.write("#{@folder}/empty.rb", '')
    output, status = ruby(program, '--require', 'empty.rb')
    assert_equal [1, "tasker-worker: no step is loaded: define classes below Tasker::Step\n"],
                 [status.exitstatus, output]
    assert_equal 2, ruby(program, '--nonsense')[1].exitstatus
  end

  def program
    File.expand_path('../exe/tasker-worker', __dir__)
  end

  def ruby(*arguments)
    Open3.capture2e(RbConfig.ruby, *load_path, *arguments, chdir: @folder)
  end

  def create
    wait_until do
      @client.create(@namespace, 'orders', { sum: 7 })
    rescue Tasker::ApiError => e
      # The worker stores the template when it starts.
      assert_equal 404, e.status, e.message
      nil
    end
  end

  def with_worker
    log = "#{@folder}/log"
    worker = Process.spawn({ 'DATABASE_URL' => @stack.database_url }, RbConfig.ruby, *load_path, program, '--port', '0',
                           chdir: @folder, out: log, err: log)
    begin
      yield
    ensure
      Process.kill('TERM', worker)
      _, status = Process.wait2(worker)
      assert status.success?, File.read(log)
    end
  end
end
