#include "base/log.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <vector>

namespace gyre {
namespace {

constexpr std::size_t line_max = 1024;

std::atomic<LogLevel> level_shown{LogLevel::notice};

// Where lines go. The lock is held across the write: a file that is being replaced must not be
// closed under a writer, and its number must not come to mean another file.
struct Destination {
  std::mutex lock;
  int fd = STDOUT_FILENO;
  std::string node;
};

// Never destroyed: other threads may log while the process exits.
Destination& destination() {
  static auto& only = *new Destination;
  return only;
}

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::verbose:
      return "verbose";
    case LogLevel::notice:
      return "notice";
    case LogLevel::warning:
    case LogLevel::nothing:
      break;
  }
  return "warning";
}

// One line under construction: bounded, always with room for its newline.
class Line {
 public:
  void printf(const char* format, ...) __attribute__((format(printf, 2, 3))) {
    va_list args;
    va_start(args, format);
    const int wanted = std::vsnprintf(bytes_ + size_, room() + 1, format, args);
    va_end(args);
    if (wanted > 0) size_ += std::min(static_cast<std::size_t>(wanted), room());
  }

  // What clients sent may stand in a line: control bytes would forge lines or steer a terminal.
  void escaped(std::string_view text) {
    static constexpr char hex[] = "0123456789abcdef";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && byte != 0x7f) {
        put({&c, 1});
      } else if (c == '\n') {
        put("\\n");
      } else if (c == '\r') {
        put("\\r");
      } else if (c == '\t') {
        put("\\t");
      } else {
        const char code[4] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
        put({code, 4});
      }
    }
  }

  std::string_view finish() {
    bytes_[size_] = '\n';
    return {bytes_, size_ + 1};
  }

 private:
  std::size_t room() const { return line_max - 1 - size_; }
  // A piece that does not fit whole is left out, so that an escape is never cut.
  void put(std::string_view piece) {
    if (piece.size() > room()) return;
    std::copy(piece.begin(), piece.end(), bytes_ + size_);
    size_ += piece.size();
  }

  char bytes_[line_max];
  std::size_t size_ = 0;
};

void put_time(Line& line) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  localtime_r(&now.tv_sec, &parts);
  line.printf("%04d-%02d-%02d %02d:%02d:%02d.%03ld ", parts.tm_year + 1900, parts.tm_mon + 1,
              parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1'000'000);
}

}  // namespace

bool log_open(std::string_view path, std::string_view node) {
  int fd = STDOUT_FILENO;
  if (!path.empty()) {
    fd = open(std::string(path).c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return false;
  }
  Destination& to = destination();
  const std::lock_guard hold(to.lock);
  if (to.fd != STDOUT_FILENO) close(to.fd);
  to.fd = fd;
  to.node = node;
  return true;
}

void log_level(LogLevel level) {
  level_shown.store(level, std::memory_order_relaxed);
}
LogLevel log_level() {
  return level_shown.load(std::memory_order_relaxed);
}

namespace {

bool shown(LogLevel level) {
  return level != LogLevel::nothing && level >= log_level();
}

std::string text_of(const char* format, va_list args) {
  char text[line_max];
  const int wanted = std::vsnprintf(text, sizeof text, format, args);
  return {text, std::min(static_cast<std::size_t>(std::max(wanted, 0)), sizeof text - 1)};
}

void write_line(LogLevel level, std::string_view text) {
  const int errno_before = errno;  // callers log first and look at errno afterwards
  Destination& to = destination();
  const std::lock_guard hold(to.lock);
  Line line;
  put_time(line);
  if (!to.node.empty()) {
    line.printf("[");
    line.escaped(to.node);
    line.printf("] ");
  }
  line.printf("%s: ", level_name(level));
  line.escaped(text);
  const std::string_view whole = line.finish();
  // A line that cannot be written is lost: there is nowhere to say so.
  while (write(to.fd, whole.data(), whole.size()) < 0 && errno == EINTR) {
  }
  errno = errno_before;
}

std::int64_t steady_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

constexpr std::int64_t seldom_ms = 1000;

struct SeldomLines {
  std::mutex lock;
  std::vector<SeldomLine*> all;
};

SeldomLines& seldom_lines() {
  static auto& only = *new SeldomLines;
  return only;
}

}  // namespace

void log_line(LogLevel level, const char* format, ...) {
  if (!shown(level)) return;
  va_list args;
  va_start(args, format);
  const std::string text = text_of(format, args);
  va_end(args);
  write_line(level, text);
}

// ---- SeldomLine

SeldomLine::SeldomLine() {
  const std::lock_guard hold(seldom_lines().lock);
  seldom_lines().all.push_back(this);
}

void SeldomLine::line(LogLevel level, const char* format, ...) {
  if (!shown(level)) return;
  const std::lock_guard hold(lock_);
  const std::int64_t now = steady_ms();
  flush_locked(now);
  const bool at_once = written_at_ == 0 || now - written_at_ >= seldom_ms;
  if (!at_once && held_++ > 0) return;
  va_list args;
  va_start(args, format);
  std::string text = text_of(format, args);
  va_end(args);
  if (at_once) {
    write_line(level, text);
    written_at_ = now;
  } else {
    level_ = level;
    first_ = std::move(text);
  }
}

void SeldomLine::flush(std::int64_t now_ms) {
  const std::lock_guard hold(lock_);
  flush_locked(now_ms);
}

void SeldomLine::flush_locked(std::int64_t now_ms) {
  if (held_ == 0 || now_ms - written_at_ < seldom_ms) return;
  if (held_ > 1) first_ += " (" + std::to_string(held_) + " such lines; this is the first)";
  write_line(level_, first_);
  written_at_ = now_ms;
  held_ = 0;
}

void log_held_lines() {
  const std::int64_t now = steady_ms();
  const std::lock_guard hold(seldom_lines().lock);
  for (SeldomLine* line : seldom_lines().all) line->flush(now);
}

}  // namespace gyre
