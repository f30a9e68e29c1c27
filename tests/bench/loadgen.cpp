// loadgen: a closed-loop load generator for servers that speak RESP, over loopback.
//
//   loadgen [options] -- COMMAND ARG... [++ COMMAND ARG...]
//
// One thread, epoll, no reply objects: it only counts complete replies, so that a server saturates
// before it does. Every connection (-c) sends a batch of -P requests, waits for all replies, and
// sends the next, for --secs after --warm, or -n requests in all.
//
//   in the arguments   __key__ becomes a 12-digit number below -r; __data__ -d bytes of 'x';
//                      __rank__ a place below -r, without leading zeros, and after it __plus9__
//                      that place plus 9
//   --seq              the numbers go 0, 1, 2 ... by request instead of at random
//   --zipf S           they follow Zipf's law with exponent S
//   --slots FILE       a cluster-aware client: numbers whose key belongs to the connection's port
//   --share 70         70 % of the requests are of the command before ++, the others of the second
//   --idle N           N more connections that have sent one PING and are then quiet
//   --every MS         also figures for each interval of so many milliseconds
//   --stay             a connection that breaks is counted, and opened again to the next port
//
// The CPU time of the servers (--pids) is read here, after the warm-up, from
// /proc/PID/task/*/schedstat. Prints one JSON object.
#include "loadgen.h"

#include <dirent.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace {

constexpr int silence_ms = 5000;                // no reply at all for so long ends the run
constexpr std::uint64_t retry_ns = 20'000'000;  // between tries to connect (--stay)
constexpr std::uint64_t longest_ns = 600'000'000'000;

std::uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::uint64_t(t.tv_sec) * 1000000000ull + std::uint64_t(t.tv_nsec);
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

int dial(const std::string& port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const int yes = 1;
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(std::uint16_t(std::atoi(port.c_str())));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0) die("socket");
  if (connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) {
    close(fd);
    return -1;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

struct Connection {
  int fd = -1;
  std::size_t node = 0;
  std::string out;  // one batch of requests
  std::size_t sent = 0;
  bool wants_out = false;
  int pending = 0;  // replies awaited
  std::uint64_t began = 0, retry_at = 0;
  Replies replies;
};

// What one interval of --every has seen.
struct Interval {
  Histogram latency;
  std::uint64_t errors = 0;
};

class Generator {
 public:
  explicit Generator(const Options& o) : o_(o), numbers_(o) {
    for (const auto& command : o.commands) requests_.emplace_back(command, o);
    epoll_ = epoll_create1(0);
    for (int k = 0; k < o.idle; k++) open_idle(o.ports[std::size_t(k) % o.ports.size()]);
    connections_.resize(std::size_t(o.connections));
    for (std::size_t k = 0; k < connections_.size(); k++) {
      Connection& c = connections_[k];
      c.node = k % o.ports.size();
      c.fd = dial(o.ports[c.node]);
      if (c.fd < 0) die("connect " + o.ports[c.node]);
      watch(c, EPOLL_CTL_ADD);
    }
  }

  void run() {
    begin_ = now_ns();
    const std::uint64_t warm_until = begin_ + std::uint64_t(o_.warm * 1e9);
    bool counting = o_.limit > 0;  // a fixed number of requests is counted whole
    mark();
    for (Connection& c : connections_) start(c, now_ns());
    epoll_event events[256];
    std::uint64_t heard = now_ns();
    while (in_flight_ > 0 || broken_ > 0) {
      const int n = epoll_wait(epoll_, events, 256, broken_ > 0 || o_.stay ? 20 : silence_ms);
      const std::uint64_t t = now_ns();
      if (n > 0) heard = t;
      if (n == 0 && !o_.stay && t > heard + silence_ms * 900'000ull) die("no reply for 5 s");
      if (!counting && t >= warm_until) counting = true, mark();
      if (o_.limit == 0 && counting && done_ > 0 && t >= until()) break;
      if (t >= begin_ + longest_ns) die("over 600 s");
      for (int e = 0; e < n; e++)
        serve(*static_cast<Connection*>(events[e].data.ptr), events[e].events);
      if (broken_ > 0) mend(t);
    }
    report();
  }

 private:
  // As a real idle client: it has been served once.
  static void open_idle(const std::string& port) {
    const int fd = dial(port);
    char pong[64];
    const char ping[] = "*1\r\n$4\r\nPING\r\n";
    const auto size = ssize_t(sizeof ping - 1);
    if (fd < 0 || send(fd, ping, sizeof ping - 1, MSG_NOSIGNAL) != size ||
        recv(fd, pong, sizeof pong, 0) <= 0)
      die("idle connection to " + port);
  }

  void watch(Connection& c, int operation) {
    epoll_event event{};
    event.events = c.wants_out ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &c;
    epoll_ctl(epoll_, operation, c.fd, &event);
  }

  const Request& choose() {
    if (requests_.size() == 1 || numbers_.draw() % 100 < o_.share) return requests_[0];
    return requests_[1];
  }

  void append_request(Connection& c) {
    const Request& request = choose();
    const std::size_t base = c.out.size();
    c.out += request.bytes;
    const std::uint64_t in_turn = next_++;
    std::uint64_t number = 0;
    for (const Request::Hole& hole : request.holes) {
      if (hole.kind == Request::Kind::plus)
        number += hole.plus;
      else if (hole.kind == Request::Kind::rank)
        number = request.rank_low + numbers_.draw() % (9 * request.rank_low - 100);
      else
        number = o_.seq ? in_turn : numbers_.next(c.node);
      put_number(&c.out[base + hole.at], number, hole.digits);
    }
  }

  void start(Connection& c, std::uint64_t t) {
    auto many = std::uint64_t(o_.depth);
    if (o_.limit > 0) many = std::min(many, o_.limit - issued_);
    if (many == 0) return;
    c.out.clear();
    for (std::uint64_t p = 0; p < many; p++) append_request(c);
    issued_ += many, in_flight_++;
    c.pending = int(many), c.sent = 0, c.began = t;
    push(c);
  }

  void push(Connection& c) {
    while (c.sent < c.out.size()) {
      const ssize_t n =
          send(c.fd, c.out.data() + c.sent, c.out.size() - c.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return lost(c, "send");
      if (n < 0) break;
      c.sent += std::size_t(n);
    }
    const bool wants_out = c.sent < c.out.size();
    if (wants_out == c.wants_out) return;
    c.wants_out = wants_out;
    watch(c, EPOLL_CTL_MOD);
  }

  void serve(Connection& c, std::uint32_t events) {
    if (c.fd < 0) return;
    if ((events & EPOLLOUT) != 0) push(c);
    if (c.fd < 0 || (events & ~std::uint32_t(EPOLLOUT)) == 0) return;
    const ssize_t got = recv(c.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return lost(c, "the server closed a connection");
    const int ended =
        c.replies.count(buffer_.data(), buffer_.data() + got, [&](const std::string& line) {
          if (errors_++ == 0) first_error_ = line;
          if (Interval* now = interval()) now->errors++;
        });
    c.pending -= ended;
    done_ += std::uint64_t(ended);
    if (c.pending > 0 || c.sent < c.out.size()) return;
    const std::uint64_t t = now_ns();
    latency_.add(t - c.began, std::uint64_t(o_.depth));
    if (Interval* now = interval()) now->latency.add(t - c.began, std::uint64_t(o_.depth));
    in_flight_--;
    start(c, t);
  }

  // ---- broken connections (--stay)

  void lost(Connection& c, const char* why) {
    if (!o_.stay) die(why);
    close(c.fd);
    c.fd = -1;
    lost_ += std::uint64_t(c.pending);
    if (Interval* now = interval()) now->errors += std::uint64_t(c.pending);
    if (c.pending > 0) in_flight_--;
    c.pending = 0, c.wants_out = false, c.replies = Replies{};
    c.retry_at = now_ns();
    broken_++;
  }

  void mend(std::uint64_t t) {
    for (Connection& c : connections_) {
      if (c.fd >= 0 || t < c.retry_at) continue;
      c.node = (c.node + 1) % o_.ports.size();
      c.fd = dial(o_.ports[c.node]);
      c.retry_at = t + retry_ns;
      if (c.fd < 0) continue;
      broken_--;
      watch(c, EPOLL_CTL_ADD);
      start(c, t);
    }
  }

  // ---- figures

  Interval* interval() {
    if (o_.every <= 0) return nullptr;
    const auto at = std::size_t(double(now_ns() - counted_from_) / (o_.every * 1e6));
    if (at >= 100'000) die("too many intervals");
    while (series_.size() <= at) series_.emplace_back();
    return &series_[at];
  }

  // A starved server may answer nothing before the warm-up is over: it has its time after that.
  std::uint64_t until() const { return counted_from_ + std::uint64_t(o_.secs * 1e9); }

  // Counting begins here.
  void mark() {
    cpu_.clear();
    for (const std::string& pid : o_.pids) cpu_.push_back(cpu_ns(pid));
    getrusage(RUSAGE_SELF, &usage_);
    latency_ = Histogram{};
    series_.clear();
    done_ = 0;
    counted_from_ = now_ns();
  }

  double client_seconds() const {
    rusage now{};
    getrusage(RUSAGE_SELF, &now);
    auto seconds = [](const timeval& a, const timeval& b) {
      return double(a.tv_sec - b.tv_sec) + double(a.tv_usec - b.tv_usec) / 1e6;
    };
    return seconds(now.ru_utime, usage_.ru_utime) + seconds(now.ru_stime, usage_.ru_stime);
  }

  // A process that has ended has no figures any more: what it used before is not counted.
  double server_seconds() const {
    double server = 0;
    for (std::size_t k = 0; k < o_.pids.size(); k++) {
      const std::uint64_t now = cpu_ns(o_.pids[k]);
      if (now > cpu_[k]) server += double(now - cpu_[k]) / 1e9;
    }
    return server;
  }

  void report() {
    const double wall = double(now_ns() - counted_from_) / 1e9;
    const double client = client_seconds(), server = server_seconds();
    for (char& ch : first_error_)
      if (ch == '"' || ch == '\\' || std::uint8_t(ch) < ' ') ch = ' ';
    using Big = unsigned long long;
    std::printf("{\"ops\": %llu, \"secs\": %.4f, \"rps\": %.0f, ", Big(done_), wall,
                double(done_) / wall);
    std::printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, ",
                latency_.percentile_us(50), latency_.percentile_us(99),
                latency_.percentile_us(99.9));
    std::printf("\"server_us_per_op\": %.4f, \"server_busy\": %.3f, \"client_busy\": %.3f, ",
                done_ > 0 ? server * 1e6 / double(done_) : 0, server / wall, client / wall);
    std::printf("\"errors\": %llu, \"lost\": %llu, \"first_error\": \"%s\", \"from_ns\": %llu",
                Big(errors_), Big(lost_), first_error_.c_str(), Big(counted_from_));
    if (o_.every > 0) report_series();
    std::printf("}\n");
  }

  // [ops, p50, p99, errors and lost requests] of each interval.
  void report_series() const {
    std::printf(", \"every_ms\": %.1f, \"series\": [", o_.every);
    for (std::size_t k = 0; k < series_.size(); k++) {
      const Interval& i = series_[k];
      std::printf("%s[%llu, %.1f, %.1f, %llu]", k > 0 ? ", " : "",
                  static_cast<unsigned long long>(i.latency.total()), i.latency.percentile_us(50),
                  i.latency.percentile_us(99), static_cast<unsigned long long>(i.errors));
    }
    std::printf("]");
  }

  const Options& o_;
  Numbers numbers_;
  std::vector<Request> requests_;
  int epoll_ = -1;
  std::vector<Connection> connections_;
  std::vector<char> buffer_ = std::vector<char>(1 << 18);
  Histogram latency_;
  std::vector<Interval> series_;
  std::uint64_t issued_ = 0, done_ = 0, errors_ = 0, lost_ = 0, next_ = 0, in_flight_ = 0;
  std::uint64_t broken_ = 0, begin_ = 0, counted_from_ = 0;
  std::string first_error_;
  std::vector<std::uint64_t> cpu_;
  rusage usage_{};
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  Generator(options).run();
}
