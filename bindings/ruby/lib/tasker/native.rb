# frozen_string_literal: true

# Each minor version of Ruby has its own interface for native code.
begin
  require_relative "#{RUBY_VERSION[/\A\d+\.\d+/]}/tasker_native"
rescue LoadError => e
  raise LoadError, "the native part of tasker-rb for Ruby #{RUBY_VERSION} cannot be loaded: #{e.message}"
end
