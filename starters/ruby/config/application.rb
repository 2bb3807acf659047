# frozen_string_literal: true

require 'bundler/setup'
require 'rails'
require 'action_controller/railtie'
require 'rails/test_unit/railtie'
Bundler.require(*Rails.groups)

# An order service. Its API creates a task for each order, and `bin/tasker-worker` runs the steps of the tasks.
class Service < Rails::Application
  config.load_defaults Rails::VERSION::STRING.to_f
  config.api_only = true
  config.eager_load = Rails.env.production?
  config.logger = ActiveSupport::Logger.new($stdout)
  config.log_level = Rails.env.test? ? :warn : :info
end
