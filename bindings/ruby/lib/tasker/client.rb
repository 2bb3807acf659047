# frozen_string_literal: true

require 'net/http'
require 'openssl'

module Tasker
  # The server refused a request, or could not be reached.
  class ApiError < Error
    # The HTTP status, or 0 if there was no response.
    attr_reader :status
    # The problem document of the response (RFC 9457), a hash.
    attr_reader :problem

    def initialize(message, status: 0, problem: {})
      super(message)
      @status = status
      @problem = problem
    end
  end

  # A task did not end in time.
  class WaitTimeout < Error; end

  # A step of a task. The server may send more fields than these.
  TaskStep = Struct.new(:name, :status, :attempts, :result, :error, keyword_init: true) do
    def self.from(fields) # :nodoc:
      new(**fields.slice(*members))
    end
  end

  # A task with its steps. The server may send more fields than these. The status is, for example, +pending+,
  # +in_progress+, +completed+, +blocked_by_failures+, +failed+ or +cancelled+.
  Task = Struct.new(:task_uuid, :namespace, :name, :version, :status, :created_at, :context, :steps,
                    keyword_init: true) do
    def self.from(fields) # :nodoc:
      new(**fields.slice(*members), created_at: Time.iso8601(fields.fetch(:created_at)),
                                    steps: fields.fetch(:steps).map do |step|
                                             TaskStep.from(step)
                                           end)
    end

    # Returns the step of this name. Raises KeyError if there is none.
    def step(name)
      steps.find { |step| step.name == name.to_s } || raise(KeyError, "task #{task_uuid} has no step #{name}")
    end
  end

  # Creates tasks, waits for them and cancels them. Threads may share a client, because each request has a connection
  # of its own.
  class Client
    # The longest time that one request waits, in seconds. The server allows 60.
    MAX_WAIT = 30
    # How long the server may take to respond besides the time that it waits, in seconds.
    TIMEOUT = 30
    # What Net::HTTP raises without a response.
    NO_RESPONSE = [SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError, Net::ProtocolError,
                   Net::HTTPBadResponse].freeze
    private_constant :MAX_WAIT, :TIMEOUT, :NO_RESPONSE

    def initialize(url = 'http://127.0.0.1:8080', api_key: nil)
      @url = parse_url(url)
      @headers = { 'Accept' => 'application/json', 'Content-Type' => 'application/json',
                   'X-API-Key' => api_key }.compact
    end

    # Creates a task, and returns its id once it is stored.
    #
    # [context] the task's input, a hash
    # [version] of the template; the newest if nil
    # [idempotency_key] a repeated request with the same key returns the same task
    # [traceparent] the place in a trace where the task continues it (W3C Trace Context)
    def create(namespace, name, context = {}, version: nil, idempotency_key: nil, priority: nil, tags: nil,
               traceparent: nil)
      fields = { namespace:, name:, version:, context: Outcome.plain(context),
                 idempotency_key:, priority:, tags: }.compact
      request(Net::HTTP::Post, '/v1/tasks', body: fields, headers: { traceparent: }.compact).fetch(:task_uuid)
    rescue Outcome::BadValue => e
      raise ArgumentError, "the context of a task must be JSON: #{e.message}"
    end

    # Returns a task as it is now.
    def get(task_id)
      Task.from(request(Net::HTTP::Get, path(task_id)))
    end

    # Waits until a task has ended or is blocked by failures, and returns it. Raises WaitTimeout after +timeout+
    # seconds.
    def wait(task_id, timeout: nil)
      deadline = timeout && (Attempt.now + timeout)
      loop do
        seconds = deadline ? (deadline - Attempt.now).clamp(0, MAX_WAIT) : MAX_WAIT
        task = request(Net::HTTP::Get, "#{path(task_id)}?wait=#{(seconds * 1000).round}ms", wait: seconds)
        return Task.from(task) unless %w[pending in_progress].include?(task[:status])
        raise WaitTimeout, "task #{task_id} is still #{task[:status]} after #{timeout} s" if
          deadline && Attempt.now >= deadline
      end
    end

    # Cancels a task.
    def cancel(task_id, reason: nil)
      request(Net::HTTP::Post, "#{path(task_id)}/cancel", body: { reason: }.compact)
      nil
    end

    # Sends a signal to a task. The first signal of a name is kept. The same one again changes nothing.
    def signal(task_id, name, payload = nil)
      request(Net::HTTP::Post, "#{path(task_id)}/signals/#{URI.encode_www_form_component(name).gsub('+', '%20')}",
              body: { payload: Outcome.plain(payload) })
      nil
    rescue Outcome::BadValue => e
      raise ArgumentError, "the payload of a signal must be JSON: #{e.message}"
    end

    private

    def parse_url(text)
      url = URI(text.to_s)
      return url if url.is_a?(URI::HTTP) && url.host && !url.host.empty?

      raise URI::InvalidURIError
    rescue URI::InvalidURIError
      raise ArgumentError, "#{text.inspect} is not the URL of a server, such as http://127.0.0.1:8080"
    end

    def path(task_id)
      "/v1/tasks/#{URI.encode_www_form_component(task_id)}"
    end

    def request(method, path, body: nil, wait: 0, headers: {})
      request = method.new(@url.path.chomp('/') + path, @headers.merge(headers))
      request.body = Outcome.generate(body) if body
      response = connection(wait) { |http| http.request(request) }
      parsed(response, "#{request.method} #{path}")
    end

    def connection(wait, &)
      Net::HTTP.start(@url.host, @url.port, use_ssl: @url.scheme == 'https', open_timeout: TIMEOUT,
                                            read_timeout: TIMEOUT + wait, max_retries: 0, &)
    rescue *NO_RESPONSE => e
      raise ApiError, "no response from #{@url.host}:#{@url.port}: #{e.message}"
    end

    def parsed(response, request)
      status = response.code.to_i
      body = response.body.to_s
      parsed = body.empty? ? nil : Outcome.parse(body.force_encoding(Encoding::UTF_8))
      return parsed if status < 400

      problem = parsed.is_a?(Hash) ? parsed : {}
      text = problem.values_at(:title, :detail).compact.join(': ')
      raise ApiError.new("#{request}: #{status} #{text.empty? ? response.message : text}", status:,
                                                                                           problem:)
    rescue JSON::ParserError => e
      raise ApiError.new("#{request}: the response is not JSON: #{e.message}", status:)
    end
  end
end
