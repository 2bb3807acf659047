# frozen_string_literal: true

Rails.application.routes.draw do
  get '/health', to: ->(_) { [200, { 'content-type' => 'text/plain' }, ['ok']] }
  resources :orders, only: %i[create show]
end
