# frozen_string_literal: true

ENV['RAILS_ENV'] = 'test'
require_relative '../config/environment'
require 'rails/test_help'
require 'tasker/testing'

# A private PostgreSQL and Tasker's server, from `tasker-cli dev`, and a worker. They run until the end of the tests.
module Stack
  def self.start
    # With a database in DATABASE_URL, it would use that one. PostgreSQL stops and its data is removed, however it ends.
    tasker = IO.popen({ 'DATABASE_URL' => nil }, %w[tasker-cli dev --temporary --no-worker --port 0 --json])
    addresses = JSON.parse(tasker.each_line.slice_after("}\n").first.join)
    ENV['TASKER_ORCHESTRATION_URL'] = addresses['orchestration_url']
    worker = Tasker::Worker.new(templates: 'config/tasker', steps: [CheckStockStep, ChargeStep, ShipStep], port: 0,
                                database_url: addresses['database_url'], executor: Rails.application.executor).start
    Minitest.after_run do
      worker.stop
      Process.kill('TERM', tasker.pid)
      tasker.close
    end
  end
end
