# frozen_string_literal: true

module Tasker
  # Tasker in a Rails application: steps are in +app/steps+, task templates in +config/tasker+, and
  # <tt>bin/rails generate tasker:step NAME</tt> writes one of each. +tasker-worker+ runs them.
  class Railtie < ::Rails::Railtie
    # <tt>config.tasker.templates</tt>: files and folders, relative to the application.
    config.tasker = ActiveSupport::OrderedOptions.new
    config.tasker.templates = ['config/tasker']

    initializer 'tasker.logger', after: :initialize_logger do
      Tasker.logger = ::Rails.logger
    end
  end
end
