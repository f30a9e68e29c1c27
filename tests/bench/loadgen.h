// What the load generator is made of: its options, the numbers in its keys, its requests, and how
// it counts replies and latencies. loadgen.cpp drives these over sockets.
#pragma once

#include <errno.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

constexpr std::size_t number_size = 12;  // digits that stand for __key__

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "loadgen: %s (%s)\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

inline std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at <= text.size() && !text.empty()) {
    std::size_t end = std::min(text.find(by, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

inline std::vector<std::string> read_words(const std::string& path) {
  std::ifstream file(path);
  if (!file) die("cannot read " + path);
  std::vector<std::string> out;
  for (std::string word; file >> word;) out.push_back(word);
  return out;
}

inline std::uint16_t crc16(const char* p, std::size_t n) {  // XMODEM, as Redis Cluster hashes keys
  unsigned c = 0;
  for (std::size_t i = 0; i < n; i++) {
    c ^= unsigned(std::uint8_t(p[i])) << 8;
    for (int b = 0; b < 8; b++) c = (c & 0x8000 ? (c << 1) ^ 0x1021 : c << 1) & 0xFFFF;
  }
  return std::uint16_t(c);
}

inline void put_number(char* to, std::uint64_t value, std::size_t digits = number_size) {
  for (std::size_t i = digits; i-- > 0; value /= 10) to[i] = char('0' + value % 10);
}

// ---- options

struct Options {
  std::vector<std::string> ports{"6379"}, pids, slots;
  std::vector<std::vector<std::string>> commands;  // one, or two that --share divides
  int connections = 50, depth = 1, idle = 0;
  std::uint64_t range = 1000000, limit = 0, size = 3, seed = 1, share = 100;
  double secs = 1, warm = 0.1, zipf = 0, every = 0;
  bool seq = false, stay = false;
};

inline bool set_option(Options& o, const std::string& a, const std::string& v) {
  auto number = [&] { return std::strtoull(v.c_str(), nullptr, 10); };
  auto real = [&] { return std::atof(v.c_str()); };
  if (a == "--ports") return o.ports = split(v, ','), true;
  if (a == "--pids") return o.pids = split(v, ','), true;
  // A file of low-high=index of port: too long for a command line.
  if (a == "--slots") return o.slots = read_words(v), true;
  if (a == "-c") return o.connections = int(number()), true;
  if (a == "-P") return o.depth = int(number()), true;
  if (a == "-r") return o.range = number(), true;
  if (a == "-d") return o.size = number(), true;
  if (a == "-n") return o.limit = number(), true;
  if (a == "--idle") return o.idle = int(number()), true;
  if (a == "--secs") return o.secs = real(), true;
  if (a == "--warm") return o.warm = real(), true;
  if (a == "--zipf") return o.zipf = real(), true;
  if (a == "--every") return o.every = real(), true;
  if (a == "--share") return o.share = number(), true;
  if (a == "--seed") return o.seed = number(), true;
  return false;
}

inline Options parse(int argc, char** argv) {
  Options o;
  int i = 1;
  for (; i < argc; i++) {
    const std::string a = argv[i];
    if (a == "--") break;
    if (a == "--seq" || a == "--stay") {
      (a == "--seq" ? o.seq : o.stay) = true;
      continue;
    }
    if (i + 1 >= argc) die("no value for " + a);
    if (!set_option(o, a, argv[++i])) die("unknown option " + a);
  }
  o.commands.emplace_back();
  for (i++; i < argc; i++) {
    if (std::strcmp(argv[i], "++") == 0)
      o.commands.emplace_back();
    else
      o.commands.back().push_back(argv[i]);
  }
  const bool bad = o.commands.size() > 2 || o.commands[0].empty() || o.commands.back().empty();
  if (bad || o.range == 0 || o.depth < 1 || o.connections < 1 || o.share > 100 || o.idle < 0)
    die("bad command line");
  return o;
}

// ---- requests

// An encoded request and where its numbers go.
struct Request {
  enum class Kind : std::uint8_t { key, rank, plus };
  struct Hole {
    std::size_t at = 0, digits = number_size;
    Kind kind = Kind::key;
    std::uint64_t plus = 0;
  };
  std::string bytes;
  std::vector<Hole> holes;
  std::uint64_t rank_low = 1;  // the ranks of __rank__ are this and above, below ten times this

  Request(const std::vector<std::string>& command, const Options& o) {
    while (rank_low * 100 < o.range) rank_low *= 10;
    const std::size_t digits = std::to_string(rank_low).size();
    bytes = "*" + std::to_string(command.size()) + "\r\n";
    for (std::string arg : command) {
      if (arg == "__data__") arg = std::string(o.size, 'x');
      std::vector<Hole> here;
      if (arg == "__rank__" || arg.rfind("__plus", 0) == 0) {
        const Kind kind = arg == "__rank__" ? Kind::rank : Kind::plus;
        here.push_back({0, digits, kind, std::strtoull(arg.c_str() + 6, nullptr, 10)});
        arg = std::string(digits, '0');
      }
      for (std::size_t at = 0; (at = arg.find("__key__", at)) != std::string::npos;) {
        arg.replace(at, 7, std::string(number_size, '0'));
        here.push_back({at, number_size, Kind::key, 0});
      }
      bytes += "$" + std::to_string(arg.size()) + "\r\n";
      for (Hole& h : here) h.at += bytes.size(), holes.push_back(h);
      bytes += arg + "\r\n";
    }
  }
};

// The numbers of keys: uniform, by Zipf's law, or those that belong to one node of a cluster.
class Numbers {
 public:
  explicit Numbers(const Options& o) : range_(o.range), state_(88172645463325252ull) {
    state_ ^= o.seed * 0x9E3779B97F4A7C15ull;
    owned_.resize(o.ports.size());
    if (!o.slots.empty()) map_slots(o);
    if (o.zipf > 0) make_alias(o.zipf);
  }

  std::uint64_t draw() {
    state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
    return state_;
  }

  std::uint64_t next(std::size_t node) {
    const auto& mine = owned_[node];
    if (!mine.empty()) return mine[draw() % mine.size()];
    const std::uint64_t k = draw() % range_;
    if (alias_.empty()) return k;
    return double(draw() >> 11) * 0x1.0p-53 < alias_[k].share ? alias_[k].own : alias_[k].other;
  }

 private:
  struct Alias {
    double share = 1;
    std::uint32_t own = 0, other = 0;
  };

  void map_slots(const Options& o) {
    std::vector<std::size_t> owner(16384);
    for (const std::string& s : o.slots) {
      int low = 0, high = 0, who = 0;
      if (std::sscanf(s.c_str(), "%d-%d=%d", &low, &high, &who) != 3) die("bad --slots");
      for (int k = low; k <= high; k++) owner.at(std::size_t(k)) = std::size_t(who);
    }
    std::string key = o.commands[0].size() > 1 ? o.commands[0][1] : "";
    const std::size_t hole = key.find("__key__");
    if (hole == std::string::npos) die("--slots needs __key__ in the key");
    key.replace(hole, 7, std::string(number_size, '0'));
    for (std::uint64_t k = 0; k < o.range; k++) {
      put_number(&key[hole], k);
      owned_.at(owner[crc16(key.data(), key.size()) & 16383]).push_back(std::uint32_t(k));
    }
    for (auto& mine : owned_)
      if (mine.empty()) die("--slots leaves a port without keys");
  }

  // Walker's alias method: one draw for the place, one for its half. Ranks are shuffled, so that
  // the popular keys are not neighbours.
  void make_alias(double exponent) {
    const std::size_t n = range_;
    std::vector<double> weight(n);
    double sum = 0;
    for (std::size_t k = 0; k < n; k++) sum += weight[k] = std::pow(double(k + 1), -exponent);
    alias_.resize(n);
    std::vector<std::uint32_t> name(n), small, large;
    for (std::size_t k = 0; k < n; k++) name[k] = std::uint32_t(k);
    for (std::size_t k = n; k > 1; k--) std::swap(name[k - 1], name[draw() % k]);
    for (std::size_t k = 0; k < n; k++) {
      weight[k] *= double(n) / sum;
      alias_[k].own = alias_[k].other = name[k];
      (weight[k] < 1 ? small : large).push_back(std::uint32_t(k));
    }
    while (!small.empty() && !large.empty()) {
      const std::uint32_t s = small.back(), l = large.back();
      small.pop_back();
      alias_[s].share = weight[s];
      alias_[s].other = name[l];
      weight[l] -= 1 - weight[s];
      if (weight[l] >= 1) continue;
      large.pop_back();
      small.push_back(l);
    }
  }

  std::uint64_t range_, state_;
  std::vector<std::vector<std::uint32_t>> owned_;
  std::vector<Alias> alias_;
};

// ---- replies

// Latencies: 64 sub-buckets per power of two, under 1.6 % error.
class Histogram {
 public:
  void add(std::uint64_t ns, std::uint64_t times) {
    counts_[index(ns)] += times;
    total_ += times;
    top_ = std::max(top_, ns);
  }
  std::uint64_t total() const { return total_; }
  double percentile_us(double p) const {
    auto want = std::uint64_t(p / 100 * double(total_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); i++)
      if ((seen += counts_[i]) > want) return double(value(i)) / 1e3;
    return double(top_) / 1e3;
  }

 private:
  static std::size_t index(std::uint64_t v) {
    if (v < 64) return v;
    int shift = 63 - __builtin_clzll(v) - 6;
    return std::size_t(shift + 1) * 64 + ((v >> shift) & 63);
  }
  static std::uint64_t value(std::size_t i) {
    return i < 64 ? i : (std::uint64_t(i % 64) | 64) << (i / 64 - 1);
  }
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(64 * 64);
  std::uint64_t total_ = 0, top_ = 0;
};

// Counts complete replies in a stream of bytes, without building them.
class Replies {
 public:
  // Returns how many top-level replies ended in these bytes; on_error gets the text of error
  // replies.
  template <class OnError>
  int count(const char* p, const char* end, OnError on_error) {
    int ended = 0;
    while (p < end) {
      if (skip_ > 0) {
        const std::int64_t some = std::min<std::int64_t>(skip_, end - p);
        skip_ -= some;
        p += some;
        if (skip_ == 0) ended += one_less();
        continue;
      }
      const char* nl = static_cast<const char*>(std::memchr(p, '\n', std::size_t(end - p)));
      line_.append(p, std::size_t((nl == nullptr ? end : nl) - p));
      if (nl == nullptr) break;
      p = nl + 1;
      ended += header(on_error);
      line_.clear();
    }
    return ended;
  }

 private:
  template <class OnError>
  int header(OnError on_error) {
    const long n = std::atol(line_.c_str() + 1);
    switch (line_[0]) {
      case '$':
        if (n >= 0) {
          skip_ = n + 2;
          return 0;
        }
        break;
      case '*':
        if (n > 0) need_ += n;
        break;
      case '-':
        on_error(line_);
        break;
      default:
        break;
    }
    return one_less();
  }
  int one_less() {
    if (--need_ > 0) return 0;
    need_ = 1;
    return 1;
  }
  std::int64_t skip_ = 0;  // bulk bytes still to pass over
  std::int64_t need_ = 1;  // elements missing from the current top-level reply
  std::string line_;       // the header line so far
};
