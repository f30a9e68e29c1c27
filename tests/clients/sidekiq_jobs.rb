# Sidekiq: every job is done once, those that fail once again; PROGRAM HOST PORT PREFIX.
# Starts its own worker, `sidekiq -r` with this file, and ends it.
require "sidekiq"

if ENV["SIDEKIQ_JOBS"]
  HOST, PORT, NAME = ENV["SIDEKIQ_JOBS"].split(" ")
else
  HOST, PORT, NAME = ARGV
end
URL = { url: "redis://#{HOST}:#{PORT}/0" }.freeze
Sidekiq.configure_client { |config| config.redis = URL }
Sidekiq.configure_server { |config| config.redis = URL }

class CountJob
  include Sidekiq::Worker
  sidekiq_options queue: NAME, retry: 3
  sidekiq_retry_in { 1 }

  def perform(number)
    Sidekiq.redis do |r|
      raise "once more" if (number % 40).zero? && r.sadd("#{NAME}:failed", number)
      r.hincrby("#{NAME}:done", number, 1)
    end
  end
end

unless ENV["SIDEKIQ_JOBS"]
  jobs = 200
  log = File.join(Dir.mktmpdir, "log") if Dir.respond_to?(:mktmpdir)
  log ||= "/dev/null"
  worker = spawn({ "SIDEKIQ_JOBS" => ARGV.join(" ") }, "sidekiq", "-r", File.expand_path(__FILE__), "-q", NAME, "-c", "5", out: log, err: log)
  begin
    jobs.times { |i| CountJob.perform_async(i) }
    limit = Time.now + 60
    done = {}
    until done.size == jobs || Time.now > limit
      sleep 0.2
      done = Sidekiq.redis { |r| r.hgetall("#{NAME}:done") }
    end
    abort "#{done.size} of #{jobs} jobs were done" unless done.size == jobs
    abort "a job was done twice" unless done.values.all?("1")
    abort "the queue is not empty" unless Sidekiq.redis { |r| r.llen("queue:#{NAME}") }.zero?
    puts "ok jobs: #{jobs} done once, #{Sidekiq.redis { |r| r.scard("#{NAME}:failed") }} after a failure"
  ensure
    Process.kill("TERM", worker)
    Process.wait(worker)
  end
end
