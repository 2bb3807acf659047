# frozen_string_literal: true

require_relative 'test_helper'

# The quickstart works as it is written.
class ReadmeTest < ServerTest
  README = File.read(File.expand_path('../README.md', __dir__))

  # The files of the README by name, with the test of the handler.
  def files
    found = README.scan(/as\s+`(\S+?\.(?:rb|yaml))`.*?```\w+\n(.*?)```/m).to_h
    found['test.rb'] = README[/## Test a handler\n\n```ruby\n(.*?)```/m, 1]
    found
  end

  def test_the_quickstart_works
    assert_equal %w[templates/greeting.yaml greet_step.rb worker.rb greet.rb test.rb], files.keys
    files.each do |name, text|
      path = File.join(@folder, name)
      FileUtils.mkdir_p(File.dirname(path))
      File.write(path, text)
    end
    environment = { 'DATABASE_URL' => @stack.database_url, 'TASKER_URL' => @stack.url }
    ruby = [environment, RbConfig.ruby, *load_path]
    worker = Process.spawn(*ruby, 'worker.rb', chdir: @folder, err: "#{@folder}/log")
    begin
      # The worker stores the template when it starts.
      output = wait_until do
        output, errors, = Open3.capture3(*ruby, 'greet.rb', chdir: @folder)
        assert_nil Process.wait(worker, Process::WNOHANG), -> { File.read("#{@folder}/log") }
        errors.include?('404') ? nil : output + errors
      end
      assert_equal "completed HELLO, ADA\n", output
    ensure
      Process.kill('INT', worker)
      _, status = Process.wait2(worker)
    end
    assert status.success?, File.read("#{@folder}/log")
    tested, = Open3.capture2e(*ruby, 'test.rb', chdir: @folder)
    assert_includes tested, '2 runs, 3 assertions, 0 failures, 0 errors'
  end
end
