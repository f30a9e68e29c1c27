// What must be true of the workload's keys: at each answer, and when all replicas are equal.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tools/sim/workload.h"

namespace gyre::sim {
namespace {

// How long after its answer a write of unknown outcome may still happen: clocks differ so much.
constexpr Us clocks_differ = 600 * ms;
// One whose node was killed may still lie with another node, under its ceiling.
constexpr Us orphan_lives = 2500 * ms;

bool is_open(Outcome o) {
  return o == Outcome::unknown || o == Outcome::open;
}

}  // namespace

bool Workload::flushed(DbIndex db) const {
  return std::any_of(flushes_.begin(), flushes_.end(), [&](std::uint64_t id) {
    return ops_[id - 1].args[0] == "FLUSHALL" || ops_[id - 1].db == db;
  });
}

Workload::Flushed Workload::flushed_after(const Op& op) const {
  Flushed out;
  for (const std::uint64_t id : flushes_) {
    const Op& f = ops_[id - 1];
    if (f.args[0] != "FLUSHALL" && f.db != op.db) continue;
    out.excused |= f.end < 0 || f.end + clocks_differ >= op.start;
    out.surely |= f.outcome == Outcome::acked && op.outcome == Outcome::acked &&
                  op.end + clocks_differ < f.start;
  }
  return out;
}

void Workload::check_register(const std::string& key, const std::string& value, Us read_start,
                              const std::string& what) {
  const auto& writes = by_key_[key];
  const Op* last = nullptr;
  for (const std::uint64_t id : writes) {
    const Op& op = ops_[id - 1];
    if (op.outcome == Outcome::acked && op.end >= 0 && op.end <= read_start) last = &op;
  }
  // A flush erases what was there before it, or with it; whatever it left is a possible value.
  if (value == "(nil)") {
    for (const std::uint64_t id : flushes_) {
      const Op& f = ops_[id - 1];
      if (f.args[0] != "FLUSHALL" && f.db != db_of(key)) continue;
      if (!last || f.end < 0 || f.end + clocks_differ >= last->start) return;
    }
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
  const bool flushes = flushed(db_of(key));
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    State& s = states[op.value];
    const bool removes = op.args[0] == "SREM" || op.args[0] == "HDEL" || op.args[0] == "ZREM" ||
                         op.args[0] == "XDEL";
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
          op.levels.read.value != Level::quorum && !flushes) {
        world_.violation(
            key, "#" + std::to_string(id) + " did not find the acknowledged element " + op.value);
      }
    }
  }
  for (const auto& [element, s] : states) {
    const bool is = there.contains(element);
    if (s.added && !s.removal_sent && !is && !flushes) {
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
    if (is_open(op.outcome)) ++unknown_pops;
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
  if (missing > unknown_pops && !flushed(db_of(key))) {
    world_.violation(key, std::to_string(missing) + " acknowledged elements are missing, such as " +
                              first_missing + ", with " + std::to_string(unknown_pops) +
                              " pops of unknown outcome");
  }
}

void Workload::check_sum(const std::string& key, const std::string& value) {
  long long acked = 0, unknown = 0;
  bool lost = false;  // a transaction of unknown outcome may lie over the acknowledged ones
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    // A watched transaction that found its key changed did nothing.
    if (!op.watches.empty() && op.reply == "*-1\r\n") continue;
    if (op.outcome == Outcome::acked) acked += std::atoll(op.value.c_str());
    if (is_open(op.outcome)) unknown += std::atoll(op.value.c_str());
    lost |= !op.watches.empty() && is_open(op.outcome);
  }
  const long long is = value == "(nil)" ? 0 : std::atoll(value.c_str());
  const bool flushes = flushed(key.starts_with("pair:") ? DbIndex{} : db_of(key));
  if ((is < acked && !flushes && !lost) || is > acked + unknown) {
    world_.violation(key, "is " + value + ", acknowledged " + std::to_string(acked) + ", unknown " +
                              std::to_string(unknown));
  }
}

void Workload::check_unique(const std::string& key, const std::string& value) {
  if (value != "(nil)" && value != key)
    return world_.violation(key, "has the wrong value " + value);
  bool written = false, deleted = false, perhaps = false;
  std::string which;
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    const Flushed f = flushed_after(op);
    if (op.args[0] == "DEL") {
      deleted |= op.outcome == Outcome::acked;
      perhaps |= op.outcome != Outcome::refused;
    } else {
      written |= op.outcome == Outcome::acked && !f.excused;
      deleted |= f.surely;
    }
    which += " #" + std::to_string(id);
  }
  if (key.starts_with("exp:")) {
    if (value != "(nil)" && !options_.jumps)
      world_.violation(key, "has not expired (" + which + ")");
    return;
  }
  if (deleted && value != "(nil)") world_.violation(key, "was removed and is back:" + which);
  if (written && !perhaps && value == "(nil)")
    world_.violation(key, "was acknowledged and is not there:" + which);
}

// Nothing is rolled back: what answered -NOQUORUM because its base had moved may stand, above what
// was acknowledged.
bool Workload::shadowed(const Op& op) const {
  const auto& writes = by_key_.at(op.key);
  return std::any_of(writes.begin(), writes.end(), [&](std::uint64_t id) {
    const Op& other = ops_[id - 1];
    return is_open(other.outcome) && (other.end < 0 || other.end + clocks_differ >= op.start);
  });
}

void Workload::check_pieces(const std::string& key, const std::string& value) {
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    const std::size_t at = value.find(op.value);
    const bool there = value != "(nil)" && at != std::string::npos;
    if (op.outcome == Outcome::acked && !there && !flushed(op.db) && !shadowed(op))
      world_.violation(
          key, "the acknowledged piece " + op.value + " (#" + std::to_string(id) + ") is missing");
    if (there && op.outcome == Outcome::refused)
      world_.violation(key, "the refused piece " + op.value + " is there");
    if (there && value.find(op.value, at + 1) != std::string::npos)
      world_.violation(key, "the piece " + op.value + " is there twice");
  }
}

void Workload::check_lock(const std::string& key, const std::string& value) {
  for (const std::uint64_t id : by_key_[key]) {
    const Op& op = ops_[id - 1];
    if (op.outcome == Outcome::acked && op.reply == "+OK\r\n" && value != op.value &&
        !flushed(op.db) && !shadowed(op))
      world_.violation(key, op.value + " has won (#" + std::to_string(id) + ") and it is " + value);
  }
}

// A whole SCAN in quiet times has every key that was there all the time.
void Workload::check_scan(std::size_t client, DbIndex db) {
  const Client& c = clients_[client];
  if (flushed(db)) return;
  for (auto at = by_key_.lower_bound("uniq:"); at != by_key_.end(); ++at) {
    const auto& [key, ids] = *at;
    if (!key.starts_with("uniq:")) break;
    if (db_of(key) != db || c.scanned.contains(key)) continue;
    const Op& op = ops_[ids.front() - 1];
    if (op.outcome != Outcome::acked || op.end < 0 || op.end > c.scan_began) continue;
    return world_.violation(key, "is not in the SCAN of client " + std::to_string(client));
  }
}

// Transfers between accounts are whole or not at all, whatever died in the middle.
void Workload::check_accounts(const Read& read) {
  if (flushed({})) return;
  long long sum = 0;
  std::string all;
  for (const auto& [key, ids] : by_key_) {
    if (!key.starts_with("acct:")) continue;
    const std::string value = strings_of(read({}, {"GET", key})).at(0);
    sum += value == "(nil)" ? 0 : std::atoll(value.c_str());
    all += " " + key + "=" + value;
  }
  if (sum != 0)
    world_.violation("acct:", "the sum of all accounts is " + std::to_string(sum) + ":" + all);
}

void Workload::check_end(const Read& read) {
  check_accounts(read);
  for (const Op& op : ops_) {
    if (op.end < 0) world_.violation(op.key, "#" + std::to_string(op.id) + " is never answered");
  }
  for (const auto& [key, ids] : by_key_) {
    const DbIndex db = key.starts_with("pair:") ? DbIndex{} : db_of(key);
    const auto one = [&](std::vector<std::string> words) {
      return strings_of(read(db, words)).at(0);
    };
    const auto many = [&](std::vector<std::string> words) { return strings_of(read(db, words)); };
    const std::string kind = key.substr(0, key.find(':'));
    if (kind == "reg") {
      check_register(key, one({"GET", key}), world_.now(), "the last value is");
    } else if (kind == "uniq" || kind == "del" || kind == "exp") {
      check_unique(key, one({"GET", key}));
    } else if (kind == "cnt" || kind == "cas" || kind == "pair") {
      check_sum(key, one({"GET", key}));
    } else if (kind == "hcnt") {
      check_sum(key, one({"HGET", key, "f"}));
    } else if (kind == "zcnt") {
      check_sum(key, one({"ZSCORE", key, "m"}));
    } else if (kind == "app") {
      check_pieces(key, one({"GET", key}));
    } else if (kind == "lock") {
      check_lock(key, one({"GET", key}));
    } else if (kind == "set") {
      const auto all = many({"SMEMBERS", key});
      check_elements(key, {all.begin(), all.end()});
    } else if (kind == "hash") {
      const auto all = many({"HKEYS", key});
      check_elements(key, {all.begin(), all.end()});
    } else if (kind == "zset") {
      const auto all = many({"ZRANGE", key, "0", "-1"});
      check_elements(key, {all.begin(), all.end()});
    } else if (kind == "stream") {
      // Id, field and value of each.
      const auto all = many({"XRANGE", key, "-", "+"});
      std::set<std::string> there;
      for (std::size_t i = 2; i < all.size(); i += 3) there.insert(all[i]);
      check_elements(key, there);
    } else if (kind == "list") {
      check_list(key, many({"LRANGE", key, "0", "-1"}));
    }
    if (key.starts_with("pair:a") && !flushed({})) {
      const std::string other = "pair:b" + key.substr(6);
      const std::string a = one({"GET", key}), b = one({"GET", other});
      if (a != b) world_.violation(key, "is " + a + ", its pair " + b);
    }
  }
}

}  // namespace gyre::sim
