# frozen_string_literal: true

require 'optparse'
require_relative '../tasker'

module Tasker
  # The program +tasker-worker+: runs all classes below Tasker::Step of an application. In a Rails application it loads
  # the application, otherwise the files that +--require+ names.
  class Command
    # The file that loads a Rails application.
    ENVIRONMENT = 'config/environment.rb'

    # Returns the exit code.
    def self.run(arguments)
      new(arguments).run
    rescue OptionParser::ParseError => e
      warn "tasker-worker: #{e.message}; see tasker-worker --help"
      2
    rescue StartError => e
      warn "tasker-worker: #{e.message}"
      e.exit_code
    end

    def initialize(arguments)
      @files = []
      @options = {}
      rest = parser.parse(arguments)
      raise OptionParser::NeedlessArgument, rest.first unless rest.empty?
    end

    def run
      load_application
      steps = Step.all
      place = rails? ? ' in app/steps' : ''
      raise StartError, "no step is loaded: define classes below Tasker::Step#{place}" if steps.empty?

      Worker.new(**defaults, **@options, steps:).run
      0
    end

    private

    def parser
      OptionParser.new do |parser|
        parser.banner = 'Usage: tasker-worker [options]'
        parser.separator 'Runs the steps of an application until SIGTERM or SIGINT.'
        parser.on('-r', '--require FILE', 'load this file instead of a Rails application') { |file| @files << file }
        parser.on('-t', '--templates PATH', 'a file or a folder with task templates') do |path|
          (@options[:templates] ||= []) << path
        end
        parser.on('-c', '--config PATH', 'the settings file (TOML)') { |path| @options[:config] = path }
        parser.on('--host ADDRESS', 'the address of the status API') { |host| @options[:host] = host }
        parser.on('-p', '--port PORT', Integer, 'the port of the status API; 0 takes a free one') do |port|
          @options[:port] = port
        end
        parser.version = VERSION
      end
    end

    def load_application
      return @files.each { |file| require File.expand_path(file) } unless @files.empty?

      unless File.exist?(ENVIRONMENT)
        raise StartError, "#{ENVIRONMENT} is missing: run tasker-worker in the folder of a Rails application, or " \
                          'name a file with --require'
      end
      # This program has loaded Tasker before Rails.
      require 'rails'
      require_relative 'railtie'
      require File.expand_path(ENVIRONMENT)
      Rails.application.eager_load!
    end

    def rails?
      @files.empty?
    end

    def defaults
      return {} unless rails?

      templates = Array(Rails.application.config.tasker.templates).map { |path| Rails.root.join(path) }
      { templates: templates.select(&:exist?), executor: Rails.application.executor }
    end
  end
end
