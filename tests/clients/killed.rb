# What the programs share while a node of the ring is killed under them: see killed.mjs.
module Killed
  FILE = ENV["CLIENT_KILLED"]
  PASSING = [Redis::BaseConnectionError, SystemCallError, IOError].freeze

  def self.now?
    File.exist?(FILE)
  end

  # As users do: fifty times in five seconds. `unsure` gets one element for each try that may have done something.
  def self.again(unsure = [])
    tries = 0
    begin
      yield
    rescue StandardError => e
      tries += 1
      raise if tries == 50 || !(PASSING.any? { |kind| e.is_a?(kind) } || e.message.start_with?("NOQUORUM", "TRYAGAIN"))
      unsure << e
      sleep 0.1
      retry
    end
  end

  # Adds things one by one until the node is dead, and `more` afterwards; returns how many. `before` counts as half.
  def self.until(before, more)
    count = after = 0
    while after < more
      after += 1 if now?
      yield count
      count += 1
      next unless count == before
      puts "half"
      $stdout.flush
    end
    count
  end
end
