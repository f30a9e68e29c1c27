#include "base/log.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

// Sends the log to a file of its own for the life of a test.
class LogFile {
 public:
  explicit LogFile(std::string_view node) : level_(log_level()) {
    char name[] = "/tmp/gyre-log-test-XXXXXX";
    const int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    close(fd);
    path_ = name;
    REQUIRE(log_open(path_, node));
  }
  ~LogFile() {
    log_open("", "");
    log_level(level_);
    unlink(path_.c_str());
  }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  std::vector<std::string> lines() const {
    std::ifstream in(path_);
    std::vector<std::string> result;
    for (std::string line; std::getline(in, line);) result.push_back(line);
    return result;
  }

 private:
  LogLevel level_;
  std::string path_;
};

TEST_SUITE("base/log") {
  TEST_CASE("a line has time, node, level and text") {
    LogFile file("n1");
    log_level(LogLevel::notice);
    errno = EAGAIN;
    LOG_NOTICE("listening on %d", 6379);
    CHECK(errno == EAGAIN);
    LOG_VERBOSE("not shown");
    LOG_WARNING("late");
    const auto lines = file.lines();
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].size() ==
          std::string("2026-11-21 01:20:11.123 [n1] notice: listening on 6379").size());
    CHECK(lines[0][4] == '-');
    CHECK(lines[0][19] == '.');
    CHECK(lines[0].ends_with(" [n1] notice: listening on 6379"));
    CHECK(lines[1].ends_with(" [n1] warning: late"));
  }

  TEST_CASE("without a node there are no brackets") {
    LogFile file("");
    LOG_WARNING("x");
    CHECK(file.lines().at(0).substr(23) == " warning: x");
  }

  TEST_CASE("control bytes cannot forge a line") {
    LogFile file("n");
    LOG_WARNING("a\nb\r\tc\x1b[31m%s", "\x7f");
    REQUIRE(file.lines().size() == 1);
    CHECK(file.lines()[0].ends_with("a\\nb\\r\\tc\\x1b[31m\\x7f"));
  }

  TEST_CASE("a long line is cut") {
    LogFile file("n");
    LOG_WARNING("%s", std::string(5000, 'x').c_str());
    LOG_WARNING("%s", std::string(5000, '\n').c_str());
    const auto lines = file.lines();
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].size() == 1023);
    CHECK(lines[1].size() <= 1023);
    CHECK(lines[1].ends_with("\\n"));
  }

  TEST_CASE("levels") {
    LogFile file("n");
    log_level(LogLevel::nothing);
    LOG_WARNING("hidden");
    log_level(LogLevel::debug);
    CHECK(log_level() == LogLevel::debug);
    LOG_DEBUG("shown");
    log_line(LogLevel::nothing, "never");
    CHECK(file.lines().size() == 1);
  }

  TEST_CASE("a file that cannot be opened leaves the old one") {
    LogFile file("n");
    CHECK_FALSE(log_open("/nonexistent/dir/log", "m"));
    LOG_WARNING("still here");
    CHECK(file.lines().at(0).ends_with("[n] warning: still here"));
  }

  TEST_CASE("threads do not mix their lines") {
    LogFile file("n");
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([] {
          for (int i = 0; i < 200; ++i) LOG_WARNING("%s", "0123456789");
        });
      }
    }
    const auto lines = file.lines();
    CHECK(lines.size() == 800);
    for (const auto& line : lines) REQUIRE(line.ends_with("[n] warning: 0123456789"));
  }

  TEST_CASE("lines that come by the thousand are counted") {
    LogFile file("n");
    static SeldomLine seldom;
    const auto say = [](int slot) { seldom.line(LogLevel::warning, "slot %d", slot); };
    for (int i = 0; i < 1000; ++i) say(i);
    auto lines = file.lines();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].ends_with("warning: slot 0"));
    seldom.flush(std::numeric_limits<std::int64_t>::max());
    lines = file.lines();
    REQUIRE(lines.size() == 2);
    CHECK(lines[1].ends_with("warning: slot 1 (999 such lines; this is the first)"));
    seldom.flush(std::numeric_limits<std::int64_t>::max());
    CHECK(file.lines().size() == 2);
  }
}

}  // namespace
}  // namespace gyre
