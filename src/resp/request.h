// RequestParser: finds a client's commands in the bytes that have arrived, without copying them.
//
// The input is one contiguous buffer that begins at a command. Arguments are views into it. Only an
// inline word with quotes has no bytes to point at; it is unquoted into a scratch of the parser.
//
//     *2 CR LF  $3 CR LF  GET CR LF  $1 CR LF  k CR LF        multibulk
//     GET "a key" CR LF                                       inline, split as a shell would
//
// A command that is not complete stays in the buffer and is seen again from its first byte, longer.
// The parser remembers how far it got, as offsets from that byte: the buffer may move, and a
// command that comes in many pieces costs its bytes, not pieces x arguments.
//
// Invariants: memory follows bytes received, never a declared number; the answer does not depend on
//             where the input was split.
// Threading:  none; one instance per connection.
// Source:     the behaviour and messages of Redis 7.0.15, bytes after a bulk (CR LF) included: they
//             are skipped and not looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gyre {

// The words of one command, its name first.
using Args = std::span<const std::string_view>;

enum class Parsed : std::uint8_t { command, need_more, error };

class RequestParser {
 public:
  // Takes the next command from `input` and appends its arguments, one at least, to `args`.
  //
  // used: bytes the caller drops from the front, whatever the answer. On need_more these are only
  //       the blank lines and empty multibulks before the incomplete command.
  // Lifetime: views into `input`; words that had quotes live until reset_scratch().
  // Errors:  error() says why; every later call fails too, because the stream is out of step.
  Parsed next(std::string_view input, std::size_t& used, std::vector<std::string_view>& args) {
    wanted_bytes_ = 0;
    if (progress_.at == 0 && !failed_ && read_plain(input, used, args)) {
      progress_.searched = 0;
      return Parsed::command;
    }
    return next_carefully(input, used, args);
  }

  // After need_more: bytes still missing of the bulk being read, 0 when that is not known.
  std::size_t bytes_wanted() const { return wanted_bytes_; }

  // The protocol error, ready to be answered before the connection is closed.
  const Error& error() const { return error_; }

  // Frees the unquoted words of all commands so far.
  void reset_scratch() { scratch_.clear(); }

  void set_max_bulk(std::size_t bytes) { max_bulk_ = bytes; }

  // While false, commands may have only few and short arguments: enough for AUTH and HELLO. A
  // caller that parses ahead stops behind these two, because their outcome changes the limits.
  void set_authenticated(bool authenticated) { authenticated_ = authenticated; }

 private:
  // How far an incomplete command was read; offsets count from its first byte.
  struct Progress {
    std::size_t at = 0;           // where the next header or bulk begins
    std::size_t searched = 0;     // no end of line before this offset
    std::int64_t args_left = 0;   // multibulk: arguments not yet read
    std::int64_t bulk_size = -1;  // of the bulk that begins at `at`; -1 before its header
  };
  struct Part {
    std::size_t offset;
    std::size_t size;
  };
  enum class Header : std::uint8_t { ready, need_more, error };

  Parsed next_carefully(std::string_view input, std::size_t& used,
                        std::vector<std::string_view>& args);
  Parsed read_inline(std::string_view command, std::size_t& taken,
                     std::vector<std::string_view>& args);
  bool read_plain(std::string_view command, std::size_t& taken,
                  std::vector<std::string_view>& args) const;
  Parsed read_multibulk(std::string_view command, std::size_t& taken,
                        std::vector<std::string_view>& args);
  Header read_count(std::string_view command, Progress& now);
  Header read_bulk_size(std::string_view command, Progress& now);
  Header find_line(std::string_view command, Progress& now, const char* too_long, std::size_t& end);
  Parsed suspend(std::string_view command, const Progress& now, std::size_t first,
                 std::vector<std::string_view>& args);
  void restore_parts(std::string_view command, std::size_t first,
                     std::vector<std::string_view>& args);
  void fail(std::string_view why);

  Progress progress_;
  std::vector<Part> parts_;  // arguments of the incomplete command
  std::forward_list<std::string> scratch_;
  std::size_t wanted_bytes_ = 0;
  std::size_t max_bulk_ = std::size_t{512} * 1024 * 1024;
  bool authenticated_ = true;
  bool failed_ = false;
  Error error_{Errc::protocol};
};

}  // namespace gyre
