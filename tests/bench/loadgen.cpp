// loadgen: a closed-loop load generator for servers that speak RESP.
//
//   loadgen [options] -- COMMAND ARG...
//
// One thread, epoll, no reply objects: it only counts complete replies, so that a server saturates
// before it does. Every connection sends a batch of -P requests, waits for all replies, and sends
// the next. In the arguments __key__ becomes a 12-digit number and __data__ becomes -d bytes of
// 'x'. With --seq the numbers go 0, 1, 2 ... by request; otherwise each is drawn at random below
// -r. The CPU time of the servers (--pids) is read here, after the warm-up, from
// /proc/PID/task/*/schedstat.
// Prints one JSON object.
#include <dirent.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace {

constexpr int silence_ms = 5000;         // no reply at all for so long ends the run
constexpr std::size_t number_size = 12;  // digits that stand for __key__

std::uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::uint64_t(t.tv_sec) * 1000000000ull + std::uint64_t(t.tv_nsec);
}

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "loadgen: %s (%s)\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at <= text.size() && !text.empty()) {
    std::size_t end = std::min(text.find(by, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::vector<std::string> read_words(const std::string& path) {
  std::ifstream file(path);
  if (!file) die("cannot read " + path);
  std::vector<std::string> out;
  for (std::string word; file >> word;) out.push_back(word);
  return out;
}

// CPU time of a process, all its threads.
std::uint64_t cpu_ns(const std::string& pid) {
  std::uint64_t sum = 0;
  const std::string dir = "/proc/" + pid + "/task";
  DIR* d = opendir(dir.c_str());
  if (d == nullptr) return 0;
  while (dirent* e = readdir(d)) {
    if (e->d_name[0] == '.') continue;
    FILE* f = std::fopen((dir + "/" + e->d_name + "/schedstat").c_str(), "r");
    unsigned long long run = 0;
    if (f != nullptr && std::fscanf(f, "%llu", &run) == 1) sum += run;
    if (f != nullptr) std::fclose(f);
  }
  closedir(d);
  return sum;
}

std::uint16_t crc16(const char* p, std::size_t n) {  // XMODEM, as Redis Cluster hashes keys
  unsigned c = 0;
  for (std::size_t i = 0; i < n; i++) {
    c ^= unsigned(std::uint8_t(p[i])) << 8;
    for (int b = 0; b < 8; b++) c = (c & 0x8000 ? (c << 1) ^ 0x1021 : c << 1) & 0xFFFF;
  }
  return std::uint16_t(c);
}

void put_number(char* to, std::uint64_t value) {
  for (std::size_t i = number_size; i-- > 0; value /= 10) to[i] = char('0' + value % 10);
}

// Latencies: 64 sub-buckets per power of two, under 1.6 % error.
class Histogram {
 public:
  void add(std::uint64_t ns, std::uint64_t times) {
    counts_[index(ns)] += times;
    total_ += times;
    top_ = std::max(top_, ns);
  }
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

struct Options {
  std::vector<std::string> ports{"6379"}, pids, slots, command;
  int connections = 50, depth = 1;
  std::uint64_t range = 1000000, limit = 0, size = 3, seed = 1;
  double secs = 1, warm = 0.1;
  bool seq = false;
};

Options parse(int argc, char** argv) {
  Options o;
  int i = 1;
  for (; i < argc; i++) {
    const std::string a = argv[i];
    if (a == "--") break;
    if (a == "--seq") {
      o.seq = true;
      continue;
    }
    if (i + 1 >= argc) die("no value for " + a);
    const std::string v = argv[++i];
    auto number = [&] { return std::strtoull(v.c_str(), nullptr, 10); };
    if (a == "--ports")
      o.ports = split(v, ',');
    else if (a == "--pids")
      o.pids = split(v, ',');
    else if (a == "--slots")
      o.slots = read_words(v);  // a file of low-high=index of port: too long for a command line
    else if (a == "-c")
      o.connections = int(number());
    else if (a == "-P")
      o.depth = int(number());
    else if (a == "-r")
      o.range = number();
    else if (a == "-d")
      o.size = number();
    else if (a == "-n")
      o.limit = number();
    else if (a == "--secs")
      o.secs = std::atof(v.c_str());
    else if (a == "--warm")
      o.warm = std::atof(v.c_str());
    else if (a == "--seed")
      o.seed = number();
    else
      die("unknown option " + a);
  }
  for (i++; i < argc; i++) o.command.push_back(argv[i]);
  if (o.command.empty() || o.range == 0 || o.depth < 1 || o.connections < 1)
    die("bad command line");
  return o;
}

// The encoded request and where its numbers go.
struct Request {
  std::string bytes;
  std::vector<std::size_t> holes;

  explicit Request(const Options& o) {
    bytes = "*" + std::to_string(o.command.size()) + "\r\n";
    for (std::string arg : o.command) {
      if (arg == "__data__") arg = std::string(o.size, 'x');
      std::vector<std::size_t> at_arg;
      for (std::size_t at = 0; (at = arg.find("__key__", at)) != std::string::npos;) {
        arg.replace(at, 7, std::string(number_size, '0'));
        at_arg.push_back(at);
      }
      bytes += "$" + std::to_string(arg.size()) + "\r\n";
      for (std::size_t at : at_arg) holes.push_back(bytes.size() + at);
      bytes += arg + "\r\n";
    }
  }
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

struct Connection {
  int fd = -1;
  std::size_t node = 0;
  std::string out;  // one batch of requests
  std::size_t sent = 0;
  bool wants_out = false;
  int pending = 0;  // replies awaited
  std::uint64_t began = 0;
  Replies replies;
};

class Generator {
 public:
  explicit Generator(const Options& o) : o_(o), request_(o), random_(88172645463325252ull) {
    random_ ^= o.seed * 0x9E3779B97F4A7C15ull;
    map_slots();
    epoll_ = epoll_create1(0);
    connections_.resize(std::size_t(o.connections));
    for (std::size_t k = 0; k < connections_.size(); k++) {
      Connection& c = connections_[k];
      c.node = k % o.ports.size();
      c.fd = dial(o.ports[c.node]);
      watch(c, EPOLL_CTL_ADD);
    }
  }

  void run() {
    const std::uint64_t begin = now_ns();
    const std::uint64_t warm_until = begin + std::uint64_t(o_.warm * 1e9);
    const std::uint64_t until = warm_until + std::uint64_t(o_.secs * 1e9);
    bool counting = o_.limit > 0;  // a fixed number of requests is counted whole
    mark();
    for (Connection& c : connections_) start(c, now_ns());
    epoll_event events[256];
    while (in_flight_ > 0) {
      const int n = epoll_wait(epoll_, events, 256, silence_ms);
      if (n == 0) die("no reply for 5 s");
      const std::uint64_t t = now_ns();
      if (!counting && t >= warm_until) counting = true, mark();
      if (t >= until && o_.limit == 0) break;
      if (t >= begin + 600000000000ull) die("over 600 s");
      for (int e = 0; e < n; e++)
        serve(*static_cast<Connection*>(events[e].data.ptr), events[e].events);
    }
    report();
  }

 private:
  static int dial(const std::string& port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int yes = 1;
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(std::uint16_t(std::atoi(port.c_str())));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0)
      die("connect " + port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
  }

  void watch(Connection& c, int operation) {
    epoll_event event{};
    event.events = c.wants_out ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &c;
    epoll_ctl(epoll_, operation, c.fd, &event);
  }

  // A smart client of a cluster: the numbers whose key belongs to each node.
  void map_slots() {
    owned_.resize(o_.ports.size());
    if (o_.slots.empty()) return;
    std::vector<std::size_t> owner(16384);
    for (const std::string& s : o_.slots) {
      int low = 0, high = 0, who = 0;
      if (std::sscanf(s.c_str(), "%d-%d=%d", &low, &high, &who) != 3) die("bad --slots");
      for (int k = low; k <= high; k++) owner.at(std::size_t(k)) = std::size_t(who);
    }
    std::string key = o_.command.size() > 1 ? o_.command[1] : "";
    const std::size_t hole = key.find("__key__");
    if (hole == std::string::npos) die("--slots needs __key__ in the key");
    key.replace(hole, 7, std::string(number_size, '0'));
    for (std::uint64_t k = 0; k < o_.range; k++) {
      put_number(&key[hole], k);
      owned_.at(owner[crc16(key.data(), key.size()) & 16383]).push_back(std::uint32_t(k));
    }
    for (auto& mine : owned_)
      if (mine.empty()) die("--slots leaves a port without keys");
  }

  std::uint64_t draw() {
    random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
    return random_;
  }

  std::uint64_t number(const Connection& c) {
    const auto& mine = owned_[c.node];
    return mine.empty() ? draw() % o_.range : mine[draw() % mine.size()];
  }

  void start(Connection& c, std::uint64_t t) {
    auto many = std::uint64_t(o_.depth);
    if (o_.limit > 0) many = std::min(many, o_.limit - issued_);
    if (many == 0) return;
    c.out.clear();
    for (std::uint64_t p = 0; p < many; p++) {
      const std::size_t base = c.out.size();
      c.out += request_.bytes;
      const std::uint64_t next = next_++;
      for (std::size_t hole : request_.holes)
        put_number(&c.out[base + hole], o_.seq ? next : number(c));
    }
    issued_ += many, in_flight_++;
    c.pending = int(many), c.sent = 0, c.began = t;
    push(c);
  }

  void push(Connection& c) {
    while (c.sent < c.out.size()) {
      const ssize_t n =
          send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) die("send");
      if (n < 0) break;
      c.sent += std::size_t(n);
    }
    const bool wants_out = c.sent < c.out.size();
    if (wants_out == c.wants_out) return;
    c.wants_out = wants_out;
    watch(c, EPOLL_CTL_MOD);
  }

  void serve(Connection& c, std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) push(c);
    if ((events & ~std::uint32_t(EPOLLOUT)) == 0) return;
    const ssize_t got = recv(c.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("the server closed a connection");
    const int ended =
        c.replies.count(buffer_.data(), buffer_.data() + got, [&](const std::string& line) {
          if (errors_++ == 0) first_error_ = line;
        });
    c.pending -= ended;
    done_ += std::uint64_t(ended);
    if (c.pending > 0 || c.sent < c.out.size()) return;
    const std::uint64_t t = now_ns();
    latency_.add(t - c.began, std::uint64_t(o_.depth));
    in_flight_--;
    start(c, t);
  }

  // Counting begins here.
  void mark() {
    cpu_.clear();
    for (const std::string& pid : o_.pids) cpu_.push_back(cpu_ns(pid));
    getrusage(RUSAGE_SELF, &usage_);
    latency_ = Histogram{};
    done_ = 0;
    counted_from_ = now_ns();
  }

  void report() {
    const double wall = double(now_ns() - counted_from_) / 1e9;
    rusage now{};
    getrusage(RUSAGE_SELF, &now);
    auto seconds = [](const timeval& a, const timeval& b) {
      return double(a.tv_sec - b.tv_sec) + double(a.tv_usec - b.tv_usec) / 1e6;
    };
    const double client =
        seconds(now.ru_utime, usage_.ru_utime) + seconds(now.ru_stime, usage_.ru_stime);
    double server = 0;
    for (std::size_t k = 0; k < o_.pids.size(); k++)
      server += double(cpu_ns(o_.pids[k]) - cpu_[k]) / 1e9;
    for (char& ch : first_error_)
      if (ch == '"' || ch == '\\' || ch == '\r') ch = ' ';
    std::printf(
        "{\"ops\": %llu, \"secs\": %.4f, \"rps\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
        "\"p999_us\": %.1f, \"server_us_per_op\": %.4f, \"server_busy\": %.3f, \"client_busy\": "
        "%.3f, "
        "\"errors\": %llu, \"first_error\": \"%s\"}\n",
        static_cast<unsigned long long>(done_), wall, double(done_) / wall,
        latency_.percentile_us(50), latency_.percentile_us(99), latency_.percentile_us(99.9),
        done_ > 0 ? server * 1e6 / double(done_) : 0, server / wall, client / wall,
        static_cast<unsigned long long>(errors_), first_error_.c_str());
  }

  const Options& o_;
  Request request_;
  std::uint64_t random_;
  int epoll_ = -1;
  std::vector<std::vector<std::uint32_t>> owned_;
  std::vector<Connection> connections_;
  std::vector<char> buffer_ = std::vector<char>(1 << 18);
  Histogram latency_;
  std::uint64_t issued_ = 0, done_ = 0, errors_ = 0, next_ = 0, in_flight_ = 0, counted_from_ = 0;
  std::string first_error_;
  std::vector<std::uint64_t> cpu_;
  rusage usage_{};
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  Generator(options).run();
}
