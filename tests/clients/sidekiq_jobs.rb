# Sidekiq: every job is done once, those that fail once again; PROGRAM HOST PORT PREFIX.
# Starts its own worker, `sidekiq -r` with this file, connected to another node, and ends it. A line in a file, not the server, says
# that a job is done. A push that was tried again may have added its job before. A fetch (BRPOP) that the server answers with
# -NOQUORUM may have taken its job, which nobody has then: Sidekiq keeps no copy, and loses it with a worker that dies as well.
require "sidekiq"
require "tmpdir"
require_relative "killed"

if ENV["SIDEKIQ_JOBS"]
  HOST, PORT, NAME, DONE = ENV["SIDEKIQ_JOBS"].split(" ")
else
  HOST, PORT, NAME = ARGV
end
Redis.silence_deprecations = true
URL = { url: "redis://#{HOST}:#{PORT}/0" }.freeze
Sidekiq.configure_client { |config| config.redis = URL }
Sidekiq.configure_server { |config| config.redis = URL }

class CountJob
  include Sidekiq::Worker
  sidekiq_options queue: NAME, retry: 10
  sidekiq_retry_in { 1 }

  def perform(number)
    raise "once more" if (number % 40).zero? && Sidekiq.redis { |r| r.sadd("#{NAME}:failed", number) }
    File.write(DONE, "#{number}\n", mode: "a")
  end
end

def run(folder)
  done = File.join(folder, "done")
  log = File.join(folder, "log")
  to_worker = { "SIDEKIQ_JOBS" => "#{HOST} #{ENV.fetch("CLIENT_OTHER")} #{NAME} #{done}" }
  worker = spawn(to_worker, "sidekiq", "-r", File.expand_path(__FILE__), "-q", NAME, "-c", "5", out: log, err: log)
  finished = false
  unsure = []
  jobs = 200
  File.write(done, "")
  if Killed::FILE
    jobs = Killed.until(100, 200) do |i|
      Killed.again(unsure) { CountJob.perform_async(i) }
      sleep 0.1 until i < 99 || File.size?(done)         # jobs are under way when the node dies
    end
  else
    jobs.times { |i| CountJob.perform_async(i) }
  end
  limit = Time.now + 60
  counts = {}
  until counts.size == jobs || Time.now > limit
    sleep 0.2
    counts = File.readlines(done).tally
  end
  refused = File.readlines(log).count { |line| line.include?("Error fetching job: NOQUORUM") }
  lost = jobs - counts.size
  abort "not done: #{(0...jobs).to_a - counts.keys.map(&:to_i)}, #{unsure.size} pushes unsure, #{refused} fetches" if lost > refused
  twice = counts.values.sum - counts.size
  abort "#{twice} jobs were done twice, #{unsure.size} pushes unsure" if twice > unsure.size
  abort "the queue is not empty" unless Killed.again { Sidekiq.redis { |r| r.llen("queue:#{NAME}") } }.zero?
  puts "ok jobs: #{jobs} done but #{lost} with #{refused} fetches refused, #{twice} of them twice, #{Sidekiq.redis { |r| r.scard("#{NAME}:failed") }} after a failure, #{unsure.size} pushes tried again"
  finished = true
ensure
  Process.kill("TERM", worker)
  Process.wait(worker)
  warn File.readlines(log).grep_v(/INFO: (start|done)|^\s*from|^\/usr/).last(40) unless finished
end

Dir.mktmpdir { |folder| run(folder) } unless ENV["SIDEKIQ_JOBS"]
