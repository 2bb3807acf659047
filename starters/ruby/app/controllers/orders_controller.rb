# frozen_string_literal: true

# `POST /orders` creates a task, and `GET /orders/ID` shows it. With `?wait=SECONDS`, both wait until the task is at
# rest.
class OrdersController < ActionController::API
  # In seconds.
  LONGEST_WAIT = 30

  wrap_parameters false

  rescue_from Tasker::ApiError do |error|
    # The caller's mistake: an unknown order, or one that does not fit the template's `input_schema`.
    if [404, 422].include?(error.status)
      render json: { error: error.problem[:detail], errors: error.problem[:errors] }, status: error.status
    else
      logger.error("Tasker's server did not do what it was asked: #{error.message}")
      render json: { error: 'try again later' }, status: :service_unavailable
    end
  end

  def create
    # A client that repeats a request with the same key gets the same order.
    idempotency_key = request.headers['Idempotency-Key']
    id = tasker.create('tasker_starter', 'order', request.request_parameters, idempotency_key:)
    render json: order(id), status: :created
  end

  def show
    render json: order(params[:id])
  end

  private

  def tasker
    @tasker ||= Tasker::Client.new(ENV.fetch('TASKER_ORCHESTRATION_URL', 'http://127.0.0.1:8080'),
                                   api_key: ENV.fetch('TASKER_API_KEY', nil))
  end

  def order(id)
    task = at_rest(id, params[:wait].to_f.clamp(0, LONGEST_WAIT))
    steps = task.steps.to_h { |step| [step.name, { status: step.status, result: step.result }] }
    { id:, status: task.status, steps: }
  end

  # Waits until a task is at rest, or until the time is over.
  def at_rest(id, seconds)
    tasker.wait(id, timeout: seconds)
  rescue Tasker::WaitTimeout
    tasker.get(id)
  end
end
