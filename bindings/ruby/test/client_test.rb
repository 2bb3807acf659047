# frozen_string_literal: true

require_relative 'test_helper'

class ClientTest < ServerTest
  def test_the_client_fits_the_document_of_the_api
    document = JSON.parse(Net::HTTP.get(URI("#{@stack.url}/openapi.json")))
    paths = document.fetch('paths')
    @schemas = document.fetch('components').fetch('schemas')
    create = body_of(paths.fetch('/v1/tasks').fetch('post'))
    assert_empty %w[namespace name version context idempotency_key priority tags] - create
    get = paths.fetch('/v1/tasks/{task_uuid}').fetch('get')
    assert_includes get.fetch('parameters').map { |parameter| parameter['name'] }, 'wait'
    assert_includes body_of(paths.fetch('/v1/tasks/{task_uuid}/cancel').fetch('post')), 'reason'
    assert_empty Tasker::Task.members.map(&:to_s) - properties(@schemas.fetch('TaskDetail'))
    assert_empty Tasker::TaskStep.members.map(&:to_s) - properties(@schemas.fetch('StepDetail'))
  end

  def body_of(operation)
    properties(operation.fetch('requestBody').fetch('content').fetch('application/json').fetch('schema'))
  end

  def properties(schema)
    return properties(@schemas.fetch(schema['$ref'].split('/').last)) if schema.key?('$ref')

    parts = [*schema['allOf'], *schema['oneOf']].flat_map { |part| properties(part) }
    schema.fetch('properties', {}).keys | parts
  end

  def test_tasks_are_created_once_and_cancelled
    key = SecureRandom.hex
    ids = Array.new(2) do
      @client.create('linear_workflow', 'mathematical_sequence', { even_number: 6 }, idempotency_key: key, tags: ['a'])
    end
    assert_equal 1, ids.uniq.size
    task = @client.wait(ids.first, timeout: DEADLINE)
    assert_equal ['completed', { value: 2_821_109_907_456 }], [task.status, task.step('linear_step_4').result]
    assert_kind_of Time, task.created_at
    assert_raises(KeyError) { task.step(:other) }
    error = assert_raises(Tasker::ApiError) { @client.cancel(ids.first, reason: 'too late') }
    assert_equal [409, 409], [error.status, error.problem[:status]]
  end

  def test_a_wait_ends
    template({ never: { handler: { callable: "#{@namespace}.never" } } })
    worker({ never: {} }, { never: ->(step) { step.wait_cancelled } }, shutdown_timeout: 0.1).start do
      id = @client.create(@namespace, 'test')
      error = assert_raises(Tasker::WaitTimeout) { @client.wait(id, timeout: 0.1) }
      assert_match(/still (pending|in_progress) after 0.1 s/, error.message)
    end
  end

  def test_errors_say_what_is_wrong
    error = assert_raises(Tasker::ApiError) { @client.get(SecureRandom.uuid) }
    assert_equal 404, error.status
    error = assert_raises(Tasker::ApiError) { Tasker::Client.new('http://127.0.0.1:1').get(SecureRandom.uuid) }
    assert_equal 0, error.status
    assert_includes error.message, 'no response from 127.0.0.1:1'
    ['localhost:8080', 'not a url', 'http://', '', nil].each do |url|
      error = assert_raises(ArgumentError) { Tasker::Client.new(url) }
      assert_includes error.message, 'is not the URL of a server'
    end
    error = assert_raises(ArgumentError) { @client.create('a', 'b', { number: Float::NAN }) }
    assert_includes error.message, 'NaN is not JSON'
  end
end
