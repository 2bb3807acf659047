# frozen_string_literal: true

require_relative 'lib/tasker/version'

# The gem holds the native part for each version of Ruby that `rake compile` was run with.
minors = Dir.children(File.join(__dir__, 'lib/tasker')).grep(/\A\d+\.\d+\z/).sort_by { |minor| Gem::Version.new(minor) }

Gem::Specification.new do |spec|
  spec.name = 'tasker-rb'
  spec.version = Tasker::VERSION
  spec.platform = Gem::Platform.local
  spec.summary = 'Workers for Tasker, durable workflows on PostgreSQL, in Ruby'
  spec.description = 'Runs the steps of workflows in Ruby, creates tasks, and waits for their results. ' \
                     'The gem contains the runtime, which is native.'
  spec.authors = ['The Tasker authors']
  spec.license = 'MIT'
  spec.homepage = 'https://github.com/tasker-systems/tasker'
  spec.metadata = {
    'bug_tracker_uri' => "#{spec.homepage}/issues",
    'documentation_uri' => "#{spec.homepage}/blob/main/bindings/ruby/README.md",
    'rubygems_mfa_required' => 'true',
    'source_code_uri' => "#{spec.homepage}/tree/main/bindings/ruby"
  }
  spec.required_ruby_version =
    minors.empty? ? '>= 3.1' : [">= #{minors.first}", "< #{Gem::Version.new("#{minors.last}.0").bump}.dev"]
  spec.files = Dir.chdir(__dir__) do
    Dir['LICENSE', 'README.md', 'exe/*', 'lib/**/*'].select { |path| File.file?(path) }
  end
  spec.bindir = 'exe'
  spec.executables = ['tasker-worker']
  # Ruby has it, but no longer as a part of the standard library, so Bundler wants it named.
  spec.add_dependency 'logger', '~> 1.4'
end
