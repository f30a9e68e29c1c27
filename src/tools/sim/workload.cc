#include "tools/sim/workload.h"

#include <algorithm>
#include <cstdlib>

namespace gyre::sim {
namespace {

constexpr Us client_timeout = 3 * second;
// How long after its answer a write of unknown outcome may still happen: clocks differ so much.
constexpr Us clocks_differ = 600 * ms;
// One whose node was killed may still lie with another node, under its ceiling.
constexpr Us orphan_lives = 2500 * ms;

bool is_error(const std::string& r) {
  return !r.empty() && r[0] == '-';
}

}  // namespace

std::vector<std::string> strings_of(const std::string& r) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at < r.size()) {
    const std::size_t end = r.find("\r\n", at);
    if (end == std::string::npos) break;
    const char kind = r[at];
    const std::string line = r.substr(at + 1, end - at - 1);
    at = end + 2;
    if (kind == '*' || kind == '%' || kind == '~') continue;
    if (kind != '$') {
      out.push_back(line);
      continue;
    }
    const long n = std::atol(line.c_str());
    if (n < 0) {
      out.push_back("(nil)");
      continue;
    }
    out.push_back(r.substr(at, static_cast<std::size_t>(n)));
    at += static_cast<std::size_t>(n) + 2;
  }
  return out;
}

Workload::Workload(World& world, std::size_t nodes, const WorkloadOptions& options, Send send)
    : world_(world),
      nodes_(nodes),
      options_(options),
      send_(std::move(send)),
      clients_(options.clients) {}

void Workload::begin() {
  for (std::size_t c = 0; c < clients_.size(); ++c) {
    clients_[c].node = world_.random.below(nodes_);
    world_.after(world_.draw(0, 20 * ms), [this, c] { next(c); });
  }
}

void Workload::set_healthy(bool on) {
  if (on && !healthy_) healthy_since_ = world_.now();
  healthy_ = on;
}

// ---- what clients do

std::vector<Op> Workload::draw(std::size_t client) {
  std::vector<Op> ops;
  const auto key = [&](const char* kind) {
    return std::string(kind) + ":" + std::to_string(world_.random.below(options_.keys));
  };
  const auto fresh = [&](const char* prefix) { return prefix + std::to_string(++serial_); };
  const auto op = [&](std::vector<std::string> args, std::string value = {}) -> Op& {
    Op& o = ops.emplace_back();
    o.key = args.size() > 1 ? args[1] : "";
    o.args = std::move(args);
    o.value = std::move(value);
    return o;
  };
  // An acknowledged element, each at most once: who removes it is the only one to.
  const auto take = [&](const std::string& k) -> std::string {
    auto& of = adds_[k];
    if (of.empty()) return {};
    const std::size_t i = world_.random.below(of.size());
    std::swap(of[i], of.back());
    const std::string element = ops_[of.back() - 1].value;
    of.pop_back();
    return element;
  };
  const auto remove = [&](const char* command, const std::string& k) {
    if (const std::string e = take(k); !e.empty()) op({command, k, e}, e);
  };
  const std::uint64_t dice = world_.random.below(100);
  if (dice < 18) {
    // Registers have one writer: the client of the same number.
    const std::string k = "reg:" + std::to_string(client);
    const std::uint64_t burst = world_.chance(0.3) ? 1 + world_.random.below(4) : 1;
    for (std::uint64_t i = 0; i < burst; ++i) {
      if (world_.chance(0.1))
        op({"DEL", k}, "(nil)");
      else {
        const std::string v = fresh("v");
        op({"SET", k, v}, v);
      }
    }
  } else if (dice < 32) {
    Op& o = op({"GET", "reg:" + std::to_string(world_.random.below(clients_.size()))});
    o.levels.read = {world_.chance(0.5) ? Level::quorum : Level::one};
  } else if (dice < 40) {
    const std::string k = fresh("uniq:");
    op({"SET", k, k}, k);
  } else if (dice < 50) {
    const std::string n = std::to_string(1 + world_.random.below(5));
    op({"INCRBY", key("cnt"), n}, n);
  } else if (dice < 58) {
    const std::string k = key("set");
    if (world_.chance(0.7)) {
      const std::string e = fresh("e");
      op({"SADD", k, e}, e);
    } else if (world_.chance(0.7))
      remove("SREM", k);
    else
      op({"SMEMBERS", k});
  } else if (dice < 66) {
    const std::string k = key("hash");
    if (world_.chance(0.7)) {
      const std::string e = fresh("f");
      op({"HSET", k, e, "x"}, e);
    } else if (world_.chance(0.7))
      remove("HDEL", k);
    else
      op({"HGETALL", k});
  } else if (dice < 74) {
    const std::string k = key("zset");
    if (world_.chance(0.75)) {
      const std::string e = fresh("z");
      op({"ZADD", k, std::to_string(world_.random.below(1000)), e}, e);
    } else if (world_.chance(0.7))
      remove("ZREM", k);
    else
      op({"ZRANGE", k, "0", "-1"});
  } else if (dice < 86) {
    const std::string k = key("list");
    if (world_.chance(0.6)) {
      const std::string e = fresh("l");
      op({world_.chance(0.8) ? "RPUSH" : "LPUSH", k, e}, e);
    } else if (world_.chance(0.8))
      op({world_.chance(0.8) ? "LPOP" : "RPOP", k});
    else
      op({"LRANGE", k, "0", "-1"});
  } else if (options_.flush && world_.random.below(400) == 0) {
    op({"FLUSHALL"});
  } else {
    const std::string k = key("mix");
    const Level level{world_.chance(0.5) ? Level::one : Level::quorum};
    const std::string e = "m" + std::to_string(world_.random.below(20));
    switch (world_.random.below(14)) {
      case 0:
        op({"SET", k, e});
        break;
      case 1:
        op({"DEL", k});
        break;
      case 2:
        op({"INCR", k});
        break;
      case 3:
        op({"SADD", k, e});
        break;
      case 4:
        op({"HSET", k, e, e});
        break;
      case 5:
        op({"RPUSH", k, e});
        break;
      case 6:
        op({"LPOP", k});
        break;
      case 7:
        op({"ZADD", k, "1", e});
        break;
      case 8:
        op({"PEXPIRE", k, std::to_string(world_.draw(1, 3000))});
        break;
      case 9:
        op({"SET", k, "7", "PX", std::to_string(world_.draw(1, 3000))});
        break;
      case 10:
        op({"SREM", k, e});
        break;
      case 11:
        op({"APPEND", k, e});
        break;
      case 12:
        op({"HINCRBY", k, e, "2"});
        break;
      default:
        op({"ZINCRBY", k, "1", e});
        break;
    }
    if (!ops.empty()) ops.back().levels.write = level;
  }
  return ops;
}

void Workload::next(std::size_t client) {
  if (stopping_) return;
  std::vector<Op> ops = draw(client);
  if (ops.empty()) {
    world_.after(ms, [this, client] { next(client); });
    return;
  }
  issue(client, std::move(ops));
}

void Workload::issue(std::size_t client, std::vector<Op>&& ops) {
  Client& c = clients_[client];
  c.out.clear();
  c.down = false;
  c.waiting = ops.size();
  const std::uint64_t round = ++c.round;
  for (Op& op : ops) {
    op.id = ops_.size() + 1;
    op.client = client;
    op.node = c.node;
    op.start = world_.now();
    op.sure_read = op.levels.read.value == Level::quorum || healthy_;
    std::string line = "c" + std::to_string(client) + " > n" + std::to_string(c.node + 1) + " #" +
                       std::to_string(op.id);
    for (const auto& a : op.args) line += " " + a;
    if (op.levels.write.value == Level::one) line += " (one)";
    if (op.levels.read.value == Level::quorum) line += " (read quorum)";
    world_.log(std::move(line));
    if (op.args[0] == "FLUSHALL") flushes_.push_back(op.id);
    if (!op.value.empty() || op.args[0] == "LPOP" || op.args[0] == "RPOP")
      by_key_[op.key].push_back(op.id);
    c.out.push_back(op.id);
    ++open_;
    ops_.push_back(std::move(op));
  }
  for (const std::uint64_t id : c.out) {
    // The connection keeps their order.
    if (c.down)
      close_op(ops_[id - 1], Outcome::refused);
    else if (!send_(ops_[id - 1])) {
      c.down = true;
      close_op(ops_[id - 1], Outcome::refused);
    }
  }
  if (c.waiting == 0) return;
  world_.after(client_timeout, [this, client, round] {
    if (clients_[client].round == round && clients_[client].waiting > 0) give_up(client);
  });
}

// The client has waited long enough: it goes on elsewhere. The operations stay open until answered.
void Workload::give_up(std::size_t client) {
  Client& c = clients_[client];
  world_.log("c" + std::to_string(client) + " gives up waiting");
  for (const std::uint64_t id : c.out) {
    if (ops_[id - 1].outcome == Outcome::open)
      ops_[id - 1].outcome = Outcome::unknown, ++not_acked_;
  }
  c.waiting = 0;
  c.down = true;
  round_over(client);
}

void Workload::round_over(std::size_t client) {
  Client& c = clients_[client];
  ++c.round;
  if (c.down || world_.chance(0.01)) c.node = world_.random.below(nodes_);
  world_.after(world_.draw(options_.think_low, options_.think_high),
               [this, client] { next(client); });
}

void Workload::close_op(Op& op, Outcome outcome) {
  op.end = world_.now();
  --open_;
  slowest_ = std::max(slowest_, op.end - op.start);
  if (op.outcome != Outcome::open) return;  // its client has gone on
  op.outcome = outcome;
  outcome == Outcome::acked ? ++acked_ : ++not_acked_;
  Client& c = clients_[op.client];
  if (outcome != Outcome::acked) c.down = true;
  if (--c.waiting == 0) round_over(op.client);
}

void Workload::answered(std::uint64_t id, std::string&& reply) {
  Op& op = ops_[id - 1];
  if (op.answered) return world_.violation(op.key, "#" + std::to_string(id) + " is answered twice");
  op.answered = true;
  if (op.end >= 0) return;
  // On its way to the client; what counts as its end is when the node knew.
  op.reply = reply;
  std::string shown = reply.substr(0, 100);
  std::replace(shown.begin(), shown.end(), '\r', ' ');
  std::erase(shown, '\n');
  world_.log("c" + std::to_string(op.client) + " < #" + std::to_string(id) + " " + op.key + " " +
             shown);
  if (reply.empty()) world_.violation(op.key, "#" + std::to_string(id) + " has an empty reply");
  Outcome outcome = Outcome::acked;
  if (is_error(reply)) {
    // Every error but this one promises that nothing was stored.
    const bool knew = reply.find("nothing was written") != std::string::npos;
    outcome = reply.starts_with("-NOQUORUM") && !knew ? Outcome::unknown : Outcome::refused;
    const bool known = reply.starts_with("-NOQUORUM") || reply.starts_with("-RINGDOWN") ||
                       reply.starts_with("-LOADING") ||
                       (op.key.starts_with("mix:") &&
                        (reply.starts_with("-WRONGTYPE") || reply.starts_with("-ERR")));
    if (known && op.key.starts_with("mix:") &&
        (reply.starts_with("-WRONGTYPE") || reply.starts_with("-ERR")))
      outcome = Outcome::acked;
    if (!known)
      world_.violation(op.key,
                       "#" + std::to_string(id) + " unexpected error " + reply.substr(0, 80));
  }
  op.sure_read = op.levels.read.value == Level::quorum ||
                 (op.sure_read && healthy_ && op.start >= healthy_since_);
  const bool late = op.outcome != Outcome::open;
  close_op(op, outcome);
  if (late || outcome != Outcome::acked) return;
  const std::string& command = op.args[0];
  if (command == "GET" && op.sure_read) {
    const auto got = strings_of(op.reply);
    check_register(op.key, got.empty() ? "" : got[0], op.start,
                   "#" + std::to_string(id) + " reads");
  }
  if (command == "SADD" || command == "HSET" || command == "ZADD") {
    if (!op.value.empty()) adds_[op.key].push_back(id);
  }
}

void Workload::node_killed(std::size_t node) {
  for (Op& op : ops_) {
    if (op.node != node || op.end >= 0) continue;
    close_op(op, Outcome::unknown);
  }
}

// ---- what must be true

void Workload::check_register(const std::string& key, const std::string& value, Us read_start,
                              const std::string& what) {
  const auto& writes = by_key_[key];
  const Op* last = nullptr;
  for (const std::uint64_t id : writes) {
    const Op& op = ops_[id - 1];
    if (op.outcome == Outcome::acked && op.end <= read_start) last = &op;
  }
  // A flush erases what was there before it, or with it; whatever it left is a possible value.
  for (const std::uint64_t id : flushes_) {
    const Op& f = ops_[id - 1];
    if (value == "(nil)" && (!last || f.end < 0 || f.end + clocks_differ >= last->start)) return;
  }
  if (!last && value == "(nil)") return;
  bool seen = false;
  for (const std::uint64_t id : writes) {
    const Op& op = ops_[id - 1];
    if (last && op.id == last->id) seen = true;
    if (op.value != value || op.outcome == Outcome::refused) continue;
    if (!last || seen) return;
    if (op.outcome == Outcome::acked) continue;
    const Us until =
        op.end < 0 ? last->start : op.end + (op.answered ? clocks_differ : orphan_lives);
    if (until >= last->start) return;
  }
  world_.violation(key,
                   what + " " + value + ", but " +
                       (last ? last->value + " (#" + std::to_string(last->id) + ")" : "nothing") +
                       " was acknowledged last");
}

void Workload::check_elements(const std::string& key, const std::set<std::string>& there) {
  struct State {
    bool added = false, unsure_add = false, removal_sent = false, removed = false;
    std::uint64_t add = 0, removal = 0;
  };
  std::map<std::string, State> states;
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    State& s = states[op.value];
    const bool removes = op.args[0] == "SREM" || op.args[0] == "HDEL" || op.args[0] == "ZREM";
    if (op.outcome == Outcome::refused) continue;
    if (!removes) {
      (op.outcome == Outcome::acked ? s.added : s.unsure_add) = true;
      s.add = id;
    } else {
      s.removal_sent = true;
      s.removal = id;
      s.removed |= op.outcome == Outcome::acked && op.reply == ":1\r\n";
      // Read at the acting node, at level ONE, after the acknowledgement: while two act it may not
      // be seen.
      if (op.outcome == Outcome::acked && op.reply == ":0\r\n" && op.sure_read &&
          op.levels.read.value != Level::quorum && flushes_.empty()) {
        world_.violation(
            key, "#" + std::to_string(id) + " did not find the acknowledged element " + op.value);
      }
    }
  }
  for (const auto& [element, s] : states) {
    const bool is = there.contains(element);
    if (s.added && !s.removal_sent && !is && flushes_.empty()) {
      world_.violation(key, "the acknowledged element " + element + " (#" + std::to_string(s.add) +
                                ") is missing");
    }
    if (s.removed && is)
      world_.violation(
          key, "the removed element " + element + " (#" + std::to_string(s.removal) + ") is back");
  }
  for (const std::string& element : there) {
    if (!states.contains(element)) world_.violation(key, "nobody wrote " + element);
  }
}

void Workload::check_list(const std::string& key, const std::vector<std::string>& there) {
  std::map<std::string, int> count;
  for (const auto& e : there) ++count[e];
  std::map<std::string, std::uint64_t> popped;
  std::size_t unknown_pops = 0, missing = 0;
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    if (op.args[0] != "LPOP" && op.args[0] != "RPOP") continue;
    if (op.outcome == Outcome::unknown || op.outcome == Outcome::open) ++unknown_pops;
    if (op.outcome != Outcome::acked) continue;
    const std::string e = strings_of(op.reply).at(0);
    if (e == "(nil)") continue;
    if (count.contains(e))
      world_.violation(key, "the popped element " + e + " (#" + std::to_string(id) + ") is there");
    popped.emplace(e, id);
  }
  std::string first_missing;
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    if (op.value.empty()) continue;
    if (count[op.value] > 1)
      world_.violation(key, op.value + " is there " + std::to_string(count[op.value]) + " times");
    if (op.outcome == Outcome::refused && count[op.value])
      world_.violation(key, "the refused element " + op.value + " is there");
    if (op.outcome == Outcome::acked && !count[op.value] && !popped.contains(op.value)) {
      ++missing;
      if (first_missing.empty()) first_missing = op.value + " (#" + std::to_string(id) + ")";
    }
  }
  if (missing > unknown_pops && flushes_.empty()) {
    world_.violation(key, std::to_string(missing) + " acknowledged elements are missing, such as " +
                              first_missing + ", with " + std::to_string(unknown_pops) +
                              " pops of unknown outcome");
  }
}

void Workload::check_end(const Read& read) {
  for (const Op& op : ops_) {
    if (op.end < 0) world_.violation(op.key, "#" + std::to_string(op.id) + " is never answered");
  }
  for (const auto& [key, ids] : by_key_) {
    if (key.starts_with("reg:")) {
      check_register(key, strings_of(read({"GET", key})).at(0), world_.now(), "the last value is");
    } else if (key.starts_with("uniq:")) {
      const Op& op = ops_[ids.front() - 1];
      const std::string v = strings_of(read({"GET", key})).at(0);
      bool excused = false, flushed = false;
      for (const std::uint64_t id : flushes_) {
        const Op& f = ops_[id - 1];
        excused |= f.end < 0 || f.end + clocks_differ >= op.start;
        flushed |= f.outcome == Outcome::acked && op.outcome == Outcome::acked &&
                   op.end + clocks_differ < f.start;
      }
      if (op.outcome == Outcome::acked && v != op.value && !excused)
        world_.violation(key, "was acknowledged (#" + std::to_string(op.id) + ") and is " + v);
      if (flushed && v != "(nil)") world_.violation(key, "was flushed and is back");
      if (v != "(nil)" && v != op.value) world_.violation(key, "has the wrong value " + v);
    } else if (key.starts_with("cnt:")) {
      long long acked = 0, unknown = 0;
      for (const std::uint64_t id : ids) {
        const Op& op = ops_[id - 1];
        if (op.outcome == Outcome::acked) acked += std::atoll(op.value.c_str());
        if (op.outcome == Outcome::unknown || op.outcome == Outcome::open)
          unknown += std::atoll(op.value.c_str());
      }
      const std::string v = strings_of(read({"GET", key})).at(0);
      const long long value = v == "(nil)" ? 0 : std::atoll(v.c_str());
      if ((value < acked && flushes_.empty()) || value > acked + unknown) {
        world_.violation(key, "is " + v + ", acknowledged " + std::to_string(acked) + ", unknown " +
                                  std::to_string(unknown));
      }
    } else if (key.starts_with("set:")) {
      const auto all = strings_of(read({"SMEMBERS", key}));
      check_elements(key, {all.begin(), all.end()});
    } else if (key.starts_with("hash:")) {
      const auto all = strings_of(read({"HKEYS", key}));
      check_elements(key, {all.begin(), all.end()});
    } else if (key.starts_with("zset:")) {
      const auto all = strings_of(read({"ZRANGE", key, "0", "-1"}));
      check_elements(key, {all.begin(), all.end()});
    } else if (key.starts_with("list:")) {
      check_list(key, strings_of(read({"LRANGE", key, "0", "-1"})));
    }
  }
}

}  // namespace gyre::sim
