# frozen_string_literal: true

require 'rails/generators/named_base'

module Tasker
  module Generators
    # <tt>bin/rails generate tasker:step orders/pay</tt> writes the step +orders.pay+ to +app/steps/orders/pay_step.rb+
    # and its test.
    class StepGenerator < ::Rails::Generators::NamedBase
      desc 'Creates a step, its test, and a task template if the namespace has none.'
      source_root File.expand_path('templates', __dir__)

      def create_step
        template 'step.rb.tt', File.join('app/steps', class_path, "#{file_name}_step.rb")
        template 'step_test.rb.tt', File.join('test/steps', class_path, "#{file_name}_step_test.rb")
      end

      def create_template
        path = File.join('config/tasker', "#{namespace_name}.yaml")
        return say_status(:exist, "#{path}: add the step there", :blue) if File.exist?(File.join(destination_root,
                                                                                                 path))

        template 'template.yaml.tt', path
      end

      private

      def callable
        (class_path + [file_name]).join('.')
      end

      def namespace_name
        class_path.first || file_name
      end
    end
  end
end
