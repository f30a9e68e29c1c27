# redis-rb against one port, or as a cluster: PROGRAM HOST PORT PREFIX [cluster].
require "redis"
require_relative "killed"

HOST, PORT, NAME = ARGV[0], ARGV[1].to_i, ARGV[2]
CLUSTER = ARGV[3] == "cluster"

def key(part)
  "{#{NAME}}:#{part}"
end

def check(what, got, want)
  abort "#{what}: got #{got.inspect}, want #{want.inspect}" unless got == want
end

def open_client
  where = CLUSTER ? { cluster: ["redis://#{HOST}:#{PORT}"] } : { host: HOST, port: PORT }
  Redis.new(**where, timeout: 20)
end

r = open_client
check "ping", r.ping, "PONG"
r.set(key("a"), "\x00\xff binary".b)
check "get", r.get(key("a")).b, "\x00\xff binary".b
r.mapped_hmset(key("h"), "f" => "1", "g" => "2")
check "hgetall", r.hgetall(key("h")), { "f" => "1", "g" => "2" }
puts "ok connection"

check "pipelined", r.pipelined { |p| 1000.times { p.incr(key("n")) } }, (1..1000).to_a
puts "ok pipelining"

check "multi", r.watch(key("w")) { r.multi { |t| t.set(key("w"), "mine"); t.get(key("w")) } }, ["OK", "mine"]
other = open_client
lost = r.watch(key("w")) do
  other.set(key("w"), "other")
  r.multi { |t| t.set(key("w"), "lost") }
end
check "watch", lost, nil
puts "ok transactions"

script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
check "eval", r.eval(script, [key("s")], [5]), 5
check "evalsha", r.evalsha(r.script(:load, script), [key("s")], [5]), 10
puts "ok scripts"

got = []
hears = open_client
listener = Thread.new do
  hears.subscribe(key("channel")) do |on|
    on.subscribe { |_, _| other.publish(key("channel"), "hello") }
    on.message { |_, message| got << message; Thread.current[:done] = true; raise Interrupt }
  end
rescue Interrupt
  nil
end
listener.join(20)
check "message", got, ["hello"]
puts "ok pubsub"

pusher = Thread.new { sleep 0.2; other.rpush(key("queue"), "x") }
check "blpop", r.blpop(key("queue"), timeout: 10), [key("queue"), "x"]
pusher.join
check "blpop times out", r.blpop(key("queue"), timeout: 1), nil
puts "ok blocking"

10.times { |i| r.xadd(key("stream"), { i: i }) }
r.xgroup(:create, key("stream"), "g", "0")
entries = r.xreadgroup("g", "c", key("stream"), ">", count: 4)[key("stream")]
check "xreadgroup", entries.size, 4
check "xack", r.xack(key("stream"), "g", entries.map(&:first)), 4
check "xlen", r.xlen(key("stream")), 10
puts "ok streams"

if CLUSTER
  100.times { |i| r.set("#{NAME}:#{i}", i) }
  check "slots", Array.new(100) { |i| r.get("#{NAME}:#{i}").to_i }, (0...100).to_a
  puts "ok slots"
end

# Writes of several kinds over all slots while the node dies, each acknowledged one read back.
def survive(r)
  unsure = { n: [], list: [], other: [] }
  began = nil
  rounds = Killed.until(300, 600) do |i|
    began ||= i if Killed.now?
    Killed.again(unsure[:other]) { r.set("#{NAME}:k:#{i}", i) }
    Killed.again(unsure[:n]) { r.incr("#{NAME}:n") }
    Killed.again(unsure[:list]) { r.rpush("#{NAME}:list:#{i % 16}", i) }
    Killed.again(unsure[:other]) { r.eval("return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])", ["#{NAME}:h"], [i, i]) }
  end
  rounds.times { |i| check "key #{i}", Killed.again { r.get("#{NAME}:k:#{i}") }, i.to_s }
  counted = Killed.again { r.get("#{NAME}:n") }.to_i
  pushed = (0...16).flat_map { |i| Killed.again { r.lrange("#{NAME}:list:#{i}", 0, -1) } }.map(&:to_i)
  check "pushes", pushed.uniq.sort, (0...rounds).to_a
  check "hash", Killed.again { r.hlen("#{NAME}:h") }, rounds
  abort "#{counted} were counted of #{rounds}" if counted < rounds
  unless CLUSTER                # which sends again by itself
    abort "#{counted} were counted of #{rounds}, #{unsure[:n].size} unsure" if counted > rounds + unsure[:n].size
    abort "#{pushed.size} were pushed of #{rounds}, #{unsure[:list].size} unsure" if pushed.size > rounds + unsure[:list].size
  end
  puts "ok survived: #{4 * rounds} writes, #{4 * (rounds - began)} after the kill, #{unsure.values.sum(&:size)} tried again"
end
survive(r) if Killed::FILE
