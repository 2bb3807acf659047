# frozen_string_literal: true

port ENV.fetch('PORT', 3000), ENV.fetch('HOST', '127.0.0.1')
# A stop by SIGTERM is no failure.
raise_exception_on_sigterm false
