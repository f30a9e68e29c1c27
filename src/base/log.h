// Log lines with time, level, node. Levels are Redis': debug, verbose, notice, warning.
//
// One logger for the process; writing a line is one write(2), so threads' lines do not mix.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace gyre {

enum class LogLevel : std::uint8_t { debug, verbose, notice, warning, nothing };

// path: empty means standard output. node: name shown in every line, may be empty.
// Returns false when the file cannot be opened; the old destination stays.
bool log_open(std::string_view path, std::string_view node);
void log_level(LogLevel level);
LogLevel log_level();

// printf-like; control bytes in the result are escaped, the line is cut at 1024 bytes.
void log_line(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));

// The lines of one place in the code that may come by the thousand: one a second. The first is
// written at once; of those that follow within a second the first is kept, counted with the rest,
// and written when the second is over, by the next one or by log_held_lines().
class SeldomLine {
 public:
  SeldomLine();  // static: never destroyed before the process ends
  void line(LogLevel level, const char* format, ...) __attribute__((format(printf, 3, 4)));
  // Writes what is kept if it is due at `now`.
  void flush(std::int64_t now_ms);

 private:
  void flush_locked(std::int64_t now_ms);

  std::mutex lock_;
  std::int64_t written_at_ = 0;
  std::uint64_t held_ = 0;
  LogLevel level_{};
  std::string first_;
};
// To be called now and then, from any thread.
void log_held_lines();

}  // namespace gyre

#define LOG_SELDOM(level, ...)                              \
  do {                                                      \
    static auto& seldom_line = *new ::gyre::SeldomLine;     \
    seldom_line.line(::gyre::LogLevel::level, __VA_ARGS__); \
  } while (false)
#define LOG_DEBUG(...) ::gyre::log_line(::gyre::LogLevel::debug, __VA_ARGS__)
#define LOG_VERBOSE(...) ::gyre::log_line(::gyre::LogLevel::verbose, __VA_ARGS__)
#define LOG_NOTICE(...) ::gyre::log_line(::gyre::LogLevel::notice, __VA_ARGS__)
#define LOG_WARNING(...) ::gyre::log_line(::gyre::LogLevel::warning, __VA_ARGS__)
