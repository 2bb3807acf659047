# frozen_string_literal: true

module Tasker
  VERSION = '0.2.0'
end
