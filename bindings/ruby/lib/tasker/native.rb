# frozen_string_literal: true

# Each minor version of Ruby has its own interface for native code.
minor = RUBY_VERSION[/\A\d+\.\d+/]
begin
  require_relative "#{minor}/tasker_native"
rescue LoadError => e
  raise LoadError, "the native part of tasker-rb for Ruby #{RUBY_VERSION} cannot be loaded: #{e.message}"
end
unless Tasker::BUILT_FOR_RUBY == minor
  raise LoadError, "the native part of tasker-rb for Ruby #{minor} was built for Ruby #{Tasker::BUILT_FOR_RUBY}: " \
                   'build it again with `rake compile`'
end
Tasker.private_constant :BUILT_FOR_RUBY
