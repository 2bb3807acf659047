# frozen_string_literal: true

require 'tasker'

# The handlers of the sample workflows with waits, batches, a decision, a child task and gates.
module Flows
  # Reads the signal for which the step waited. Without one in time, the expense is not approved.
  DECIDE = lambda do |step|
    next { approved: false, by: nil } if step.signal.nil?
    unless step.signal.is_a?(Hash) && [true, false].include?(step.signal[:approved])
      raise Tasker::PermanentError.new('the signal `decision` must have a boolean `approved`', kind: 'bad_signal')
    end

    { approved: step.signal[:approved], by: step.signal[:by] }
  end

  # The id is the same in every attempt, so that the bank pays once.
  REIMBURSE = lambda do |step|
    { payment_id: "pay_#{step.task_id.delete('-')}", amount_cents: step.input[:amount_cents] }
  end

  # The results do not contain a step that was skipped.
  NOTIFY = lambda do |step|
    by = step.result(:decide)[:by]
    message =
      if step.results.key?(:reimburse)
        "#{step.input[:amount_cents]} cents were paid"
      elsif by
        "#{by} did not approve the expense"
      else
        'nobody decided in time'
      end
    { to: step.input[:employee], message: }
  end

  # Divides the records into batches.
  SPLIT = lambda do |step|
    total = step.input[:records].size
    next { batch_processing_outcome: { type: 'no_batches' } } if total.zero?

    size = step.input[:batch_size] || step.initialization[:batch_size]
    cursors = (0...total).step(size).each_with_index.map do |start, index|
      { batch_id: format('%03d', index + 1), start_cursor: start, end_cursor: [start + size, total].min,
        batch_size: size }
    end
    { batch_processing_outcome: {
      type: 'create_batches', worker_template_name: step.initialization[:worker_template_name],
      worker_count: cursors.size, cursor_configs: cursors, total_items: total
    } }
  end

  # Imports the records of one batch. A bad record fails it for good, because every attempt would find it.
  IMPORT_BATCH = lambda do |step|
    next { imported: 0 } if step.initialization[:is_no_op]

    cursor = step.initialization[:cursor]
    records = step.input[:records][cursor[:start_cursor]...cursor[:end_cursor]]
    bad = records.find { |record| !record[:email].to_s.include?('@') }
    raise Tasker::PermanentError.new("record #{bad[:id]} has no email address", kind: 'bad_record') if bad

    { imported: records.size }
  end

  # Adds up the batches. A batch that failed has an +error+ in the place of its result.
  REPORT = lambda do |step|
    failed = step.results.select { |_, result| result.key?(:error) }
    { imported: step.results.sum { |_, result| result.fetch(:imported, 0) },
      failed: failed.map { |batch, result| { batch:, reason: result[:error][:message] } } }
  end

  # Chooses the branches. The other ones are skipped.
  ROUTE = lambda do |step|
    small = step.input[:total_cents] < step.initialization[:review_from_cents]
    branches = small ? ['approve_by_rule'] : %w[review check_credit]
    { decision_point_outcome: { type: 'create_steps', step_names: branches } }
  end

  # A real handler calls the bank, with the step's key as idempotency key.
  CHARGE = lambda do |step|
    sleep(step.initialization[:bank_ms] / 1000.0)
    { charge_id: "chg_#{step.task_id.delete('-')}", amount_cents: step.input[:amount_cents] }
  end

  HANDLERS = {
    'expenses.decide' => DECIDE,
    'expenses.reimburse' => REIMBURSE,
    'expenses.notify' => NOTIFY,
    'data_import.split' => SPLIT,
    'data_import.import_batch' => IMPORT_BATCH,
    'data_import.report' => REPORT,
    'order_routing.route' => ROUTE,
    'order_routing.approve_by_rule' => ->(_) { { approved_by: 'rule' } },
    'order_routing.review' => ->(_) { { approved_by: 'reviewer' } },
    'order_routing.check_credit' => ->(step) { { credit_cents: step.input[:total_cents] } },
    # It receives the results of the branches that ran.
    'order_routing.dispatch' => ->(step) { { dispatched_after: step.results.keys.map(&:to_s).sort } },
    'billing.close_month' => ->(step) { { closed: step.input[:month] } },
    # The result of +invoice+ has the results of the child task's last steps.
    'billing.confirm' => ->(step) { { invoice_id: step.result(:invoice)[:results][:send][:invoice_id] } },
    'billing.issue' => lambda do |step|
      { invoice_id: "inv_#{step.input[:id]}", total_cents: step.input[:usage_cents] }
    end,
    'billing.send' => ->(step) { { invoice_id: step.result(:issue)[:invoice_id], sent: true } },
    'payments.charge' => CHARGE,
    'payments.receipt' => ->(step) { { account_id: step.input[:account_id], **step.result(:charge) } }
  }.freeze
end
