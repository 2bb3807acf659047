# frozen_string_literal: true

require 'json'
require 'time'

module Tasker
  # Results and errors of handlers as JSON text, without changing a value.
  module Outcome # :nodoc:
    # The runtime refuses more levels.
    MAX_DEPTH = 100

    # A value that JSON cannot hold.
    class BadValue < Error; end

    class << self
      # The outcome of a handler that returned.
      def result(value)
        generate({ 'result' => plain(value) })
      rescue BadValue => e
        error(PermanentError.new("the handler's result cannot be stored: #{e.message}", kind: 'bad_result'))
      end

      # The outcome of a handler that raised. It never raises itself.
      def error(exception)
        return wait(exception) if exception.is_a?(Wait)

        fields = { 'kind' => text(exception.class.name || 'Exception'), 'message' => message(exception) }
        # A class below HandlerError can forget its base class.
        fields['kind'] = text(exception.kind) if exception.is_a?(HandlerError) && exception.kind
        fields['permanent'] = true if exception.is_a?(PermanentError)
        if exception.is_a?(RetryableError) && exception.retry_after
          fields['retry_after_ms'] = (exception.retry_after.to_f * 1000).round
        end
        generate({ 'error' => fields })
      end

      # The values of JSON text. Objects have symbols as keys.
      def parse(json)
        JSON.parse(json, symbolize_names: true, max_nesting: false)
      end

      # JSON text of a value that +plain+ has returned.
      def generate(value)
        JSON.generate(value, max_nesting: 0)
      end

      # Turns a value into hashes with text as keys, arrays, text, numbers, booleans and nil. Raises BadValue if that
      # would change it.
      def plain(value, depth = 0)
        case value
        when nil, true, false, Integer then value
        when String then utf8(value)
        when Symbol then utf8(value.name)
        when Float then finite(value)
        when Hash then hash(value, deeper(depth))
        when Array then array(value, deeper(depth))
        else object(value, depth)
        end
      end

      private

      def wait(wait)
        fields = { 'delay_ms' => wait.delay && (wait.delay.to_f * 1000).round, 'signal' => wait.signal&.to_s,
                   'checkpoint' => plain(wait.checkpoint) }
        generate({ 'wait' => fields.compact })
      rescue BadValue => e
        error(PermanentError.new("the checkpoint cannot be stored: #{e.message}", kind: 'bad_checkpoint'))
      end

      def hash(value, depth)
        plain = value.to_h { |key, item| [key(key), plain(item, depth)] }
        raise BadValue, 'a hash has a key twice, as a symbol and as a string' if plain.size != value.size

        plain
      end

      def array(value, depth)
        value.map { |item| plain(item, depth) }
      end

      def key(key)
        case key
        when String then utf8(key)
        when Symbol then utf8(key.name)
        else raise BadValue, "a hash has the key #{key.inspect}, but only strings and symbols can be keys"
        end
      end

      def object(value, depth)
        case value
        when Time then value.iso8601(6)
        when Struct then hash(value.to_h, deeper(depth))
        else converted(value, depth)
        end
      end

      # Data, OpenStruct and others have +to_h+, dates have +iso8601+.
      def converted(value, depth)
        if value.respond_to?(:to_h) && !value.is_a?(Enumerable)
          hash(value.to_h, deeper(depth))
        elsif value.respond_to?(:iso8601)
          value.iso8601
        else
          raise BadValue, "an object of class #{value.class} is not JSON; return a hash of its values"
        end
      end

      def utf8(text)
        utf8 = text.encoding == Encoding::UTF_8 ? text : text.encode(Encoding::UTF_8)
        raise BadValue, "text is not valid UTF-8: #{utf8.inspect[0, 80]}" unless utf8.valid_encoding?

        # A subclass could have its own idea of JSON.
        utf8.instance_of?(String) ? utf8 : String.new(utf8)
      rescue EncodingError => e
        raise BadValue, "text cannot be converted to UTF-8: #{e.message}"
      end

      def finite(number)
        raise BadValue, "#{number} is not JSON" unless number.finite?

        number
      end

      def deeper(depth)
        raise BadValue, "it has more than #{MAX_DEPTH} levels" if depth >= MAX_DEPTH

        depth + 1
      end

      def message(exception)
        text(exception.message)
      rescue StandardError => e
        "#{exception.class}, whose message cannot be read: #{e.class}"
      end

      # Replaces the characters that JSON text or PostgreSQL cannot hold.
      def text(text)
        text.to_s.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub.tr("\0", "\u{FFFD}")
      end
    end
  end
end
