// What simulated clients do: workload.h has the kinds of keys. A new type joins by a row in
// draw_element or draw_mix and its line in checks.cc.
#include <algorithm>
#include <cstdlib>

#include "tools/sim/workload.h"

namespace gyre::sim {

struct Workload::Draft {
  Workload& of;
  std::vector<Op> ops{};
  // `key`: where it is not the first argument.
  Op& op(std::vector<std::string> args, std::string value = {}, std::string key = {}) {
    Op& o = ops.emplace_back();
    o.key = key.empty() && args.size() > 1 ? args[1] : std::move(key);
    o.db = of.db_of(o.key);
    o.args = std::move(args);
    o.value = std::move(value);
    return o;
  }
};

namespace {

constexpr std::size_t multi_most = 4;

}  // namespace

// The name of a key of this kind and number, in the window.
std::string Workload::named(const std::string& kind) {
  std::size_t at = 0;
  for (const char c : kind) at = at * 31 + static_cast<unsigned char>(c);
  return kind + tags_[at % tags_.size()];
}

// An acknowledged element, each at most once: who removes it is the only one to.
std::string Workload::take_added(const std::string& key) {
  auto& of = adds_[key];
  if (of.empty()) return {};
  const std::size_t i = world_.random.below(of.size());
  std::swap(of[i], of.back());
  const std::string element = ops_[of.back() - 1].value;
  of.pop_back();
  return element;
}

std::vector<Op> Workload::draw(std::size_t client) {
  Draft d{*this};
  const std::uint64_t dice = world_.random.below(100);
  if (dice < 15)
    draw_register(d, client);
  else if (dice < 27)
    draw_read(d, client);
  else if (dice < 40)
    draw_unique(d, client);
  else if (dice < 51)
    draw_counter(d);
  else if (dice < 66)
    draw_element(d);
  else if (dice < 72)
    draw_list(d);
  else if (dice < 76)
    draw_stream(d);
  else if (dice < 83)
    draw_condition(d, client);
  else if (dice < 85)
    draw_walk(d, client);
  else
    draw_mix(d);
  return std::move(d.ops);
}

// Registers have one writer: the client of the same number.
void Workload::draw_register(Draft& to, std::size_t client) {
  const std::string k = named("reg:" + std::to_string(client));
  const std::uint64_t burst = world_.chance(0.3) ? 1 + world_.random.below(4) : 1;
  for (std::uint64_t i = 0; i < burst; ++i) {
    if (burst > 1 && world_.chance(0.3)) {
      Op& read = to.op({"GET", k});
      if (world_.chance(0.5)) read.levels.read = {Level::quorum};
    }
    if (world_.chance(0.1)) {
      to.op({"DEL", k}, "(nil)");
    } else {
      const std::string v = "v" + std::to_string(++serial_);
      to.op({"SET", k, v}, v);
    }
  }
}

void Workload::draw_read(Draft& to, std::size_t client) {
  const bool own = world_.chance(0.3);
  const std::size_t writer = own ? client : world_.random.below(clients_.size());
  Op& o = to.op({"GET", named("reg:" + std::to_string(writer))});
  o.levels.read = {own                  ? Level::one
                   : world_.chance(0.6) ? Level::quorum
                   : world_.chance(0.1) ? Level::all
                                        : Level::one};
}

void Workload::draw_unique(Draft& to, std::size_t client) {
  const Level level{world_.chance(0.15) ? Level::all : Level::quorum};
  const std::string serial = std::to_string(++serial_);
  const double which = world_.random.unit();
  if (which < 0.2) {
    // One slot's part of an MSET, as the server takes it apart; sometimes read back.
    std::vector<std::string> set{"MSET"}, get{"MGET"};
    const std::string tag = tags_[world_.random.below(tags_.size())];
    Op o;
    const std::size_t count = 1 + world_.random.below(multi_most);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string k = "uniq:" + serial + "." + std::to_string(i) + tag;
      if (i > 0 && db_of(k) != db_of(set[1])) continue;
      set.insert(set.end(), {k, k});
      get.push_back(k);
      if (i > 0) o.keys.push_back(k);
    }
    Op& made = to.op(set, set[1]);
    made.keys = o.keys;
    made.levels.write = level;
    if (world_.chance(0.3)) to.op(get).levels.read = {Level::quorum};
  } else if (which < 0.4) {
    const std::string k = named("del:" + serial);
    to.op({"SET", k, k}, k).levels.write = level;
    clients_[client].then = [this, client, k] {
      Draft d{*this};
      d.op({"DEL", k}, "(nil)");
      issue(client, std::move(d.ops));
    };
  } else if (which < 0.55) {
    const std::string k = named("exp:" + serial);
    to.op({"SET", k, k, "PX", std::to_string(world_.draw(1, world_.chance(0.5) ? 600 : 4000))}, k);
    if (world_.chance(0.5)) {
      // Longer: a replica that misses it forgets what others still have, and asks for it again.
      clients_[client].then = [this, client, k] {
        Draft d{*this};
        const std::string time = std::to_string(world_.draw(1, 6000));
        world_.chance(0.5) ? d.op({"PEXPIRE", k, time}) : d.op({"GETEX", k, "PX", time});
        issue(client, std::move(d.ops));
      };
    }
  } else {
    const std::string k = named("uniq:" + serial);
    to.op({"SET", k, k}, k).levels.write = level;
  }
}

void Workload::draw_counter(Draft& to) {
  const std::string which = ":" + std::to_string(world_.random.below(options_.keys));
  const std::string n = std::to_string(1 + world_.random.below(5));
  switch (world_.random.below(7)) {
    case 5:
    case 6: {
      // What one account loses the other gains: most of the time in another slot.
      const std::size_t from = world_.random.below(tags_.size() < 6 ? tags_.size() : 6);
      const std::size_t into = world_.random.below(tags_.size() < 6 ? tags_.size() : 6);
      const std::string a = "acct:" + std::to_string(from) + tags_[from];
      const std::string b = "acct:" + std::to_string(into) + tags_[into];
      if (world_.chance(0.2)) {
        std::vector<std::string> all{"MGET"};
        for (const auto& [key, unused] : by_key_) {
          if (key.starts_with("acct:")) all.push_back(key);
        }
        if (all.size() > 1) to.op(all, {}, "acct:").db = {};
        break;
      }
      Op& o = to.op({"DECRBY", a, n}, {}, "acct:");
      o.exec = true;
      o.db = {};
      o.more = {{"INCRBY", b, n}};
      by_key_[a], by_key_[b];
      break;
    }
    case 0:
      to.op({"HINCRBY", named("hcnt" + which), "f", n}, n);
      break;
    case 1:
      to.op({"ZINCRBY", named("zcnt" + which), n, "m"}, n);
      break;
    case 2: {
      // Two counters of one slot in one transaction.
      const std::string tag = tags_[world_.random.below(2)];
      const std::string a = "pair:a" + tag, b = "pair:b" + tag;
      Op& o = to.op({"INCRBY", a, n}, n);
      o.exec = true;
      o.db = {};
      o.keys = {b};
      o.more = {{"INCRBY", b, n}};
      break;
    }
    default:
      to.op({"INCRBY", named("cnt" + which), n}, n);
  }
}

void Workload::draw_element(Draft& to) {
  struct Kind {
    const char *prefix, *element, *removal;
    std::vector<std::string> read;
  };
  static const Kind kinds[] = {{"set:", "e", "SREM", {"SMEMBERS"}},
                               {"hash:", "f", "HDEL", {"HGETALL"}},
                               {"zset:", "z", "ZREM", {"ZRANGE", "0", "-1"}}};
  const std::size_t at = world_.random.below(3);
  const Kind& kind = kinds[at];
  const std::string k = named(kind.prefix + std::to_string(world_.random.below(options_.keys)));
  if (world_.chance(0.7)) {
    const std::string e = kind.element + std::to_string(++serial_);
    if (at == 0) to.op({"SADD", k, e}, e);
    if (at == 1) to.op({"HSET", k, e, "x"}, e);
    if (at == 2) to.op({"ZADD", k, std::to_string(world_.random.below(1000)), e}, e);
  } else if (world_.chance(0.7)) {
    if (const std::string e = take_added(k); !e.empty()) to.op({kind.removal, k, e}, e);
  } else {
    std::vector<std::string> words = kind.read;
    words.insert(words.begin() + 1, k);
    to.op(words);
  }
}

void Workload::draw_list(Draft& to) {
  const std::string k = named("list:" + std::to_string(world_.random.below(options_.keys)));
  if (world_.chance(0.6)) {
    const std::string e = "l" + std::to_string(++serial_);
    to.op({world_.chance(0.8) ? "RPUSH" : "LPUSH", k, e}, e);
  } else if (world_.chance(0.8)) {
    to.op({world_.chance(0.8) ? "LPOP" : "RPOP", k});
  } else {
    to.op({"LRANGE", k, "0", "-1"});
  }
}

// Entries of their own under ids that the node makes up; who removes one names its id.
void Workload::draw_stream(Draft& to) {
  const std::string k = named("stream:" + std::to_string(world_.random.below(options_.keys)));
  if (world_.chance(0.65)) {
    const std::string e = "x" + std::to_string(++serial_);
    to.op({"XADD", k, "*", "e", e}, e);
  } else if (world_.chance(0.7)) {
    auto& of = adds_[k];
    if (of.empty()) return;
    std::swap(of[world_.random.below(of.size())], of.back());
    const Op added = ops_[of.back() - 1];
    of.pop_back();
    to.op({"XDEL", k, strings_of(added.reply).at(0)}, added.value);
  } else {
    to.op({"XRANGE", k, "-", "+"});
  }
}

void Workload::draw_condition(Draft& to, std::size_t client) {
  const double which = world_.random.unit();
  if (which < 0.35) {
    // Several clients meet at one of these: the number changes slowly.
    const std::string k = named("lock:" + std::to_string(world_.now() / (100 * ms)));
    const std::string v = "w" + std::to_string(++serial_);
    to.op({"SET", k, v, "NX"}, v);
  } else if (which < 0.65) {
    const std::string k = named("app:" + std::to_string(world_.now() / (5 * second)));
    const std::string v = "<" + std::to_string(++serial_) + ">";
    to.op({"APPEND", k, v}, v);
  } else {
    watch_and_set(client, named("cas:" + std::to_string(world_.random.below(options_.keys))));
  }
}

// WATCH (as a node asks for it), GET, and an EXEC that sets the next number.
void Workload::watch_and_set(std::size_t client, const std::string& key) {
  Draft d{*this};
  const auto step = [this, client](Draft& draft, std::function<void()> then) {
    clients_[client].then = std::move(then);
    issue(client, std::move(draft.ops));
  };
  d.op({"GYRE.VERSION", key}).levels = Levels{}.watching();
  step(d, [this, client, key, step] {
    const Version version{std::strtoull(strings_of(only(client).reply).at(0).c_str(), nullptr, 10)};
    Draft get{*this};
    get.op({"GET", key}).levels = Levels{}.watching();
    step(get, [this, client, key, version, step] {
      const long long was = std::atoll(strings_of(only(client).reply).at(0).c_str());
      Draft exec{*this};
      Op& o = exec.op({"SET", key, std::to_string(was + 1)}, "1");
      o.exec = true;
      o.watches = {{o.db, key, version}};
      step(exec, {});
    });
  });
}

void Workload::draw_walk(Draft& to, std::size_t client) {
  const DbIndex db{static_cast<std::uint8_t>(world_.random.below(options_.databases))};
  if (options_.flush && world_.random.below(8) == 0) {
    to.op({world_.chance(0.5) ? "FLUSHALL" : "FLUSHDB"}).db = db;
  } else if (world_.chance(0.2)) {
    to.op({"DBSIZE"}).db = db;
  } else if (world_.chance(0.2)) {
    to.op({"KEYS", "cnt:*"}).db = db;
    to.ops.back().key.clear();
  } else {
    clients_[client].scanned.clear();
    clients_[client].scan_began = world_.now();
    scan_on(client, db, "0");
  }
}

void Workload::scan_on(std::size_t client, DbIndex db, const std::string& cursor) {
  Draft d{*this};
  Op& o = d.op({"SCAN", cursor, "COUNT", "200"});
  o.db = db;
  o.key.clear();
  clients_[client].then = [this, client, db] {
    const std::vector<std::string> words = strings_of(only(client).reply);
    Client& c = clients_[client];
    c.scanned.insert(words.begin() + 1, words.end());
    if (!healthy_ || healthy_since_ > c.scan_began || !options_.well()) return next(client);
    if (words[0] != "0") return scan_on(client, db, words[0]);
    check_scan(client, db);
    next(client);
  };
  issue(client, std::move(d.ops));
}

void Workload::draw_mix(Draft& to) {
  const std::string k = named("mix:" + std::to_string(world_.random.below(options_.keys * 3)));
  const std::string e = "m" + std::to_string(world_.random.below(20));
  const auto soon = [this] { return std::to_string(world_.draw(1, 3000)); };
  const auto number = [this] { return std::to_string(world_.random.below(9)); };
  switch (world_.random.below(33)) {
    case 0:
      to.op({"SET", k, e});
      break;
    case 1:
      to.op({"DEL", k});
      break;
    case 2:
      to.op({"INCR", k});
      break;
    case 3:
      to.op({"SADD", k, e});
      break;
    case 4:
      to.op({"HSET", k, e, e});
      break;
    case 5:
      to.op({"RPUSH", k, e});
      break;
    case 6:
      to.op({"LPOP", k});
      break;
    case 7:
      to.op({"ZADD", k, number(), e});
      break;
    case 8:
      to.op({"PEXPIRE", k, soon()});
      break;
    case 9:
      to.op({"SET", k, "7", "PX", soon()});
      break;
    case 10:
      to.op({"SREM", k, e});
      break;
    case 11:
      to.op({"APPEND", k, e});
      break;
    case 12:
      to.op({"HINCRBY", k, e, "2"});
      break;
    case 13:
      to.op({"PERSIST", k});
      break;
    case 14:
      to.op({"EXPIRE", k, "1"});
      break;
    case 15:
      to.op({"GETEX", k, "PX", soon()});
      break;
    case 16:
      to.op({"GETDEL", k});
      break;
    case 17:
      to.op({"LINSERT", k, "BEFORE", e, e});
      break;
    case 18:
      to.op({"LSET", k, "0", e});
      break;
    case 19:
      to.op({"LREM", k, "0", e});
      break;
    case 20:
      to.op({"SPOP", k});
      break;
    case 21:
      to.op({"ZPOPMIN", k});
      break;
    case 22:
      to.op({"HDEL", k, e});
      break;
    case 23:
      to.op({"SETRANGE", k, number(), e});
      break;
    case 24:
      to.op({"INCRBYFLOAT", k, "0.5"});
      break;
    case 25:
      to.op({"LTRIM", k, "0", number()});
      break;
    case 26:
      to.op({"XADD", k, "MAXLEN", number(), "*", e, e});
      break;
    case 27:
      to.op({"XADD", k, number() + "-*", e, e});
      break;
    case 28:
      to.op({"XGROUP", "CREATE", k, "g", "0", "MKSTREAM"}, {}, k);
      break;
    case 29:
      to.op({"XREADGROUP", "GROUP", "g", e, "COUNT", "2", "STREAMS", k, ">"}, {}, k);
      break;
    case 30:
      to.op({"XAUTOCLAIM", k, "g", e, "0", "-", "COUNT", "3"});
      break;
    case 31:
      world_.chance(0.5) ? to.op({"XTRIM", k, "MAXLEN", number()})
                         : to.op({"XACK", k, "g", number() + "-8"});
      break;
    default:
      to.op({"ZINCRBY", k, "1", e});
      break;
  }
  const double level = world_.random.unit();
  to.ops.back().levels.write = {level < 0.5   ? Level::one
                                : level < 0.9 ? Level::quorum
                                              : Level::all};
  if (world_.chance(0.2)) to.ops.back().levels.read = {Level::quorum};
}

}  // namespace gyre::sim
