#include "tools/sim/workload.h"

#include <algorithm>
#include <cstdlib>

#include "base/hash.h"
#include "ring/slot.h"

namespace gyre::sim {
namespace {

constexpr Us client_timeout = 3 * second;

std::string line_of(const Op& op) {
  std::string line = "c" + std::to_string(op.client) + " > n" + std::to_string(op.node + 1) + " #" +
                     std::to_string(op.id);
  if (op.exec) line += " EXEC";
  for (const auto& a : op.args) line += " " + a;
  for (const auto& command : op.more) {
    line += " ;";
    for (const auto& a : command) line += " " + a;
  }
  if (op.levels.write.value != Level::quorum) line += " (write " + op.levels.write.text() + ")";
  if (op.levels.read.value != Level::one) line += " (read " + op.levels.read.text() + ")";
  return line;
}

}  // namespace

bool is_error(const std::string& r) {
  return !r.empty() && r[0] == '-';
}

std::vector<std::string> strings_of(const std::string& r) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at < r.size()) {
    const std::size_t end = r.find("\r\n", at);
    if (end == std::string::npos) break;
    const char kind = r[at];
    const std::string line = r.substr(at + 1, end - at - 1);
    at = end + 2;
    if (kind == '*' && line == "-1") out.push_back("(nil)");
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

Workload::Workload(World& world, Shadow& shadow, std::size_t nodes, const WorkloadOptions& options,
                   Send send)
    : world_(world),
      shadow_(shadow),
      nodes_(nodes),
      options_(options),
      send_(std::move(send)),
      clients_(options.clients) {
  std::set<std::uint16_t> have;
  for (std::uint64_t i = 0; have.size() < std::min<std::size_t>(options.window.count, 64); ++i) {
    const std::string tag = "{" + std::to_string(i) + "}";
    const std::uint16_t slot = key_slot(tag).value;
    if (slot < options.window.first || slot >= options.window.first + options.window.count)
      continue;
    if (have.insert(slot).second) tags_.push_back(tag);
  }
}

DbIndex Workload::db_of(const std::string& key) const {
  return {static_cast<std::uint8_t>(hash64(key, 7) % options_.databases)};
}

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

void Workload::next(std::size_t client) {
  if (stopping_) return;
  const std::uint64_t round = clients_[client].round;
  std::vector<Op> ops = draw(client);
  if (clients_[client].round != round) return;  // it has sent what it does in several steps
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
    op.guesses = options_.guesses();
    if (c.first == 0) c.first = op.id;
    world_.log(line_of(op));
    if (op.args[0].starts_with("FLUSH")) flushes_.push_back(op.id);
    if (!op.value.empty() || op.args[0] == "LPOP" || op.args[0] == "RPOP")
      by_key_[op.key].push_back(op.id);
    for (const std::string& k : op.keys) by_key_[k].push_back(op.id);
    c.out.push_back(op.id);
    ++open_;
    ops_.push_back(std::move(op));
  }
  for (const std::uint64_t id : std::vector<std::uint64_t>(c.out)) {
    // The connection keeps their order.
    if (c.down) {
      close_op(ops_[id - 1], Outcome::refused);
    } else if (!send_(ops_[id - 1])) {
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
  std::function<void()> then;
  then.swap(c.then);
  // A retry of what was cut off, or what follows from what was read.
  if (then && !c.down && !stopping_) {
    world_.after(world_.draw(0, 2 * ms), std::move(then));
    return;
  }
  if (c.down || world_.chance(0.01)) {
    c.node = world_.random.below(nodes_);
    c.first = 0;
  }
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
                       reply.starts_with("-LOADING") || reply.starts_with("-MISCONF");
    const bool typed = op.key.starts_with("mix:") &&
                       (reply.starts_with("-WRONGTYPE") || reply.starts_with("-ERR") ||
                        reply.starts_with("-NOGROUP") || reply.starts_with("-BUSYGROUP"));
    if (typed) outcome = Outcome::acked;
    if (!known && !typed)
      world_.violation(op.key,
                       "#" + std::to_string(id) + " unexpected error " + reply.substr(0, 80));
  }
  op.sure_read = op.levels.read.value == Level::quorum ||
                 (op.sure_read && healthy_ && op.start >= healthy_since_ && options_.well());
  const bool late = op.outcome != Outcome::open;
  // Before the client goes on: the check must not see what it does next.
  if (!late && outcome == Outcome::acked) {
    op.outcome = Outcome::acked;
    judge_answer(op);
    ops_[id - 1].outcome = Outcome::open;
  }
  close_op(ops_[id - 1], outcome);
}

void Workload::judge_answer(Op& op) {
  const std::string& command = op.args[0];
  const std::string what = "#" + std::to_string(op.id) + " reads";
  if (command == "GET" && op.key.starts_with("reg:")) {
    const auto got = strings_of(op.reply);
    const std::string value = got.empty() ? "" : got[0];
    if (op.sure_read || own_write_read(op)) check_register(op.key, value, op.start, what);
    // Of what its client sent after it, it cannot know.
    for (const std::uint64_t id : by_key_[op.key]) {
      const Op& w = ops_[id - 1];
      if (id > op.id && w.client == op.client && w.value == value && value != "(nil)")
        world_.violation(op.key, what + " " + value + " of #" + std::to_string(id) + " after it");
    }
    if (op.levels.read.value == Level::quorum)
      shadow_.quorum_read(op.db, op.key, value, op.start, world_.now(), what);
  }
  if (command == "MGET" && op.key == "acct:") {
    // In a healthy ring one transaction sees all or nothing of another.
    constexpr Us settled = 5 * second;
    long long sum = 0;
    for (const std::string& v : strings_of(op.reply))
      sum += v == "(nil)" ? 0 : std::atoll(v.c_str());
    if (sum != 0 && healthy_ && healthy_since_ + settled < op.start && flushes_.empty())
      world_.violation(op.key, what + " accounts whose sum is " + std::to_string(sum));
  } else if (command == "MGET") {
    const auto got = strings_of(op.reply);
    for (std::size_t i = 0; i < got.size() && i + 1 < op.args.size(); ++i) {
      if (got[i] != "(nil)" && got[i] != op.args[i + 1])
        world_.violation(op.args[i + 1], what + " " + got[i]);
    }
  }
  if ((command == "SADD" || command == "HSET" || command == "ZADD" || command == "XADD") &&
      !op.exec) {
    if (!op.value.empty()) adds_[op.key].push_back(op.id);
  }
  // What several could win one has won.
  if (op.key.starts_with("lock:") && op.reply == "+OK\r\n") {
    for (const std::uint64_t id : by_key_[op.key]) {
      const Op& other = ops_[id - 1];
      if (id != op.id && other.outcome == Outcome::acked && other.reply == "+OK\r\n" &&
          !flushed(op.db))
        world_.violation(op.key, what + " OK, and so did #" + std::to_string(id));
    }
  }
}

// Whether it reads, through the connection that was told so, what its own client wrote last.
bool Workload::own_write_read(const Op& op) const {
  const auto writes = by_key_.find(op.key);
  if (writes == by_key_.end() || op.guesses != options_.guesses()) return false;
  for (auto id = writes->second.rbegin(); id != writes->second.rend(); ++id) {
    const Op& w = ops_[*id - 1];
    if (w.outcome == Outcome::acked && w.end >= 0 && w.end <= op.start)
      return w.client == op.client && w.id >= clients_[op.client].first;
  }
  return false;
}

void Workload::node_killed(std::size_t node) {
  for (std::size_t i = 0; i < ops_.size(); ++i) {
    if (ops_[i].node != node || ops_[i].end >= 0) continue;
    close_op(ops_[i], Outcome::unknown);
  }
}

}  // namespace gyre::sim
