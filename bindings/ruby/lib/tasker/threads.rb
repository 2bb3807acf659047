# frozen_string_literal: true

module Tasker
  # A pool that starts threads when it needs them, up to a limit.
  class Threads # :nodoc:
    def initialize(limit)
      @limit = limit
      @jobs = Thread::Queue.new
      @lock = Mutex.new
      @threads = 0
      @started = 0
      # Jobs that wait or run.
      @unfinished = 0
    end

    # Runs the block in a thread.
    def submit(&job)
      @jobs << job
      @lock.synchronize do
        @unfinished += 1
        start_thread if @unfinished > @threads
      end
    end

    # Ends the threads that have nothing to do, and the others after their jobs.
    def close
      @jobs.close
    end

    private

    # Call it with the lock.
    def start_thread
      return if @threads >= @limit

      @threads += 1
      @started += 1
      Thread.new { work }.name = "tasker-handler-#{@started}"
    end

    def work
      while (job = @jobs.pop)
        run(job)
      end
    ensure
      # A handler can end its thread, so another one may have to take its place.
      @lock.synchronize do
        @threads -= 1
        start_thread if @unfinished > @threads
      end
    end

    def run(job)
      job.call
    ensure
      @lock.synchronize { @unfinished -= 1 }
    end
  end
end
