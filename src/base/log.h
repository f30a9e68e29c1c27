// Log lines with time, level, node. Levels are Redis': debug, verbose, notice, warning.
//
// One logger for the process; writing a line is one write(2), so threads' lines do not mix.
#pragma once

#include <cstdint>
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

}  // namespace gyre

#define LOG_DEBUG(...) ::gyre::log_line(::gyre::LogLevel::debug, __VA_ARGS__)
#define LOG_VERBOSE(...) ::gyre::log_line(::gyre::LogLevel::verbose, __VA_ARGS__)
#define LOG_NOTICE(...) ::gyre::log_line(::gyre::LogLevel::notice, __VA_ARGS__)
#define LOG_WARNING(...) ::gyre::log_line(::gyre::LogLevel::warning, __VA_ARGS__)
