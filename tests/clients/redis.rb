# redis-rb against one port: PROGRAM HOST PORT PREFIX.
require "redis"

HOST, PORT, NAME = ARGV[0], ARGV[1].to_i, ARGV[2]

def key(part)
  "{#{NAME}}:#{part}"
end

def check(what, got, want)
  abort "#{what}: got #{got.inspect}, want #{want.inspect}" unless got == want
end

def open_client
  Redis.new(host: HOST, port: PORT, timeout: 20)
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
lost = r.watch(key("w")) do
  open_client.set(key("w"), "other")
  r.multi { |t| t.set(key("w"), "lost") }
end
check "watch", lost, nil
puts "ok transactions"

script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
check "eval", r.eval(script, [key("s")], [5]), 5
check "evalsha", r.evalsha(r.script(:load, script), [key("s")], [5]), 10
puts "ok scripts"

got = []
listener = Thread.new do
  open_client.subscribe(key("channel")) do |on|
    on.subscribe { |_, _| open_client.publish(key("channel"), "hello") }
    on.message { |_, message| got << message; Thread.current[:done] = true; raise Interrupt }
  end
rescue Interrupt
  nil
end
listener.join(20)
check "message", got, ["hello"]
puts "ok pubsub"

pusher = Thread.new { sleep 0.2; open_client.rpush(key("queue"), "x") }
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
