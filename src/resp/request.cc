#include "resp/request.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/numbers.h"

namespace gyre {
namespace {

// Redis' PROTO_INLINE_MAX_SIZE: the longest line of any kind. Lines are searched for in this many
// bytes and one more, so that a long line fails alike in one piece and in many.
constexpr std::size_t line_max = 64 * 1024;

constexpr std::int64_t args_max = std::numeric_limits<int>::max();
constexpr std::int64_t args_max_unauthenticated = 10;
constexpr std::int64_t bulk_max_unauthenticated = 16384;

// An arena of parts that a huge command left behind is given back.
constexpr std::size_t parts_kept = 1024;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Reads "digits CR LF" at `at` when all of it is there and it is plain: 1 to 8 digits, no sign, no
// leading zero. Returns the offset behind it, or 0 when the careful way has to decide.
std::size_t read_plain_number(std::string_view text, std::size_t at, std::int64_t& number) {
  constexpr std::size_t digits_max = 8;
  if (text.size() < at + 3 || !is_digit(text[at])) return 0;
  const std::size_t stop = std::min(text.size() - 1, at + digits_max + 1);
  std::int64_t value = text[at] - '0';
  std::size_t p = at + 1;
  if (value == 0 && text[p] != '\r') return 0;
  while (p < stop && is_digit(text[p])) value = value * 10 + (text[p++] - '0');
  if (p == stop || text[p] != '\r') return 0;
  number = value;
  return p + 2;
}

// Four characters as the machine loads them.
constexpr std::uint32_t header_of(char a, char b, char c, char d) {
  const auto byte = [](char ch, int shift) { return static_cast<std::uint32_t>(ch) << shift; };
  return byte(a, 0) | byte(b, 8) | byte(c, 16) | byte(d, 24);
}
static_assert(std::endian::native == std::endian::little);

// A header as clients send them, "*2\r\n" or "$16\r\n", at `at`, which has at least five bytes
// before `end`: its number, up to 9999; moves `at` behind it. Negative when it is not that plain.
[[gnu::always_inline]] inline int read_header(char kind, const char*& at, const char* end) {
  std::uint32_t word;
  std::memcpy(&word, at, sizeof word);
  // What remains beside the digits of a header of that shape: no bit but theirs, and none above 9.
  const std::uint32_t one = word ^ header_of(kind, '0', '\r', '\n');
  if (((one | (one + 0x0600u)) & 0xfffff0ffu) == 0) {
    at += 4;
    return static_cast<int>(one >> 8);
  }
  const std::uint32_t two = word ^ header_of(kind, '0', '0', '\r');
  if (((two | (two + 0x060600u)) & 0xfff0f0ffu) == 0 && two & 0xff00u) {
    at += 5;
    return static_cast<int>((two >> 8 & 0xfu) * 10 + (two >> 16));
  }
  if (*at != kind || at[1] == '0') return -1;
  int value = 0;
  const char* p = at + 1;
  const char* const stop = std::min(end - 1, at + 6);
  for (; p < stop && is_digit(*p); ++p) value = value * 10 + (*p - '0');
  if (p >= stop || p == at + 1 || *p != '\r') return -1;
  at = p + 2;
  return value;
}

// What sdssplitargs skips between words. Inside a plain word, VT and FF do not end it.
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool ends_word(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char unescape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Appends what the escape at `at`, where a backslash and one more byte stand, means to `word`.
// Returns the offset behind it.
std::size_t read_escape(std::string_view line, std::size_t at, std::string& word) {
  if (line[at + 1] == 'x' && at + 3 < line.size()) {
    const int high = hex_value(line[at + 2]);
    const int low = hex_value(line[at + 3]);
    if (high >= 0 && low >= 0) {
      word.push_back(static_cast<char>(high * 16 + low));
      return at + 4;
    }
  }
  word.push_back(unescape(line[at + 1]));
  return at + 2;
}

// Appends the quoted text whose opening quote is at `at` to `word`, and moves `at` behind its
// closing one, which has to end the word. False when the quotes are not balanced.
bool read_quoted(std::string_view line, std::size_t& at, std::string& word) {
  const char quote = line[at++];
  while (at < line.size()) {
    const bool more = at + 1 < line.size();
    if (line[at] == quote) {
      ++at;
      return at == line.size() || is_space(line[at]);
    }
    if (quote == '"' && line[at] == '\\' && more) {
      at = read_escape(line, at, word);
    } else if (quote == '\'' && line[at] == '\\' && more && line[at + 1] == '\'') {
      word.push_back('\'');
      at += 2;
    } else {
      word.push_back(line[at++]);
    }
  }
  return false;
}

// Splits a line as redis-cli and Redis' inline commands do. A word is plain text, a quoted text, or
// plain text with a quoted one behind it. False when the quotes are not balanced.
bool split_line(std::string_view line, std::forward_list<std::string>& scratch,
                std::vector<std::string_view>& args) {
  std::size_t at = 0;
  for (;;) {
    while (at < line.size() && is_space(line[at])) ++at;
    if (at == line.size()) return true;
    const std::size_t begin = at;
    while (at < line.size() && !ends_word(line[at]) && line[at] != '"' && line[at] != '\'') ++at;
    const std::string_view plain = line.substr(begin, at - begin);
    if (at == line.size() || ends_word(line[at])) {
      args.push_back(plain);
      continue;
    }
    std::string& word = scratch.emplace_front(plain);
    if (!read_quoted(line, at, word)) return false;
    args.push_back(word);
  }
}

}  // namespace

Parsed RequestParser::next_carefully(std::string_view input, std::size_t& used,
                                     std::vector<std::string_view>& args) {
  used = 0;
  if (failed_) return Parsed::error;
  const std::size_t first = args.size();
  while (used < input.size()) {
    const std::string_view command = input.substr(used);
    std::size_t taken = 0;
    const Parsed parsed = command[0] == '*' ? read_multibulk(command, taken, args)
                                            : read_inline(command, taken, args);
    if (parsed == Parsed::error) args.resize(first);
    if (parsed != Parsed::command) return parsed;
    used += taken;
    if (args.size() > first) return Parsed::command;
  }
  return Parsed::need_more;
}

Parsed RequestParser::read_inline(std::string_view command, std::size_t& taken,
                                  std::vector<std::string_view>& args) {
  const std::string_view window = command.substr(0, line_max + 1);
  const std::size_t newline = window.find('\n', progress_.searched);
  if (newline == std::string_view::npos) {
    if (window.size() > line_max) {
      fail("Protocol error: too big inline request");
      return Parsed::error;
    }
    progress_.searched = window.size();
    return Parsed::need_more;
  }
  progress_ = {};
  taken = newline + 1;
  std::string_view line = command.substr(0, newline);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (split_line(line, scratch_, args)) return Parsed::command;
  fail("Protocol error: unbalanced quotes in request");
  return Parsed::error;
}

// Nearly every command: whole, with few arguments and short numbers. False: not one of them,
// nothing has changed.
bool RequestParser::read_plain(std::string_view command, std::size_t& taken,
                               std::vector<std::string_view>& args) const {
  constexpr std::ptrdiff_t shortest = 5;  // of the rest of a command at each header
  const char* at = command.data();
  const char* const end = command.data() + command.size();
  if (end - at < shortest) return false;
  int left = read_header('*', at, end);
  if (left <= 0 || left > args_max_unauthenticated * (authenticated_ ? 100 : 1)) return false;
  const std::size_t first = args.size();
  for (; left > 0; --left) {
    if (end - at < shortest) break;
    const int size = read_header('$', at, end);
    if (size < 0 || end - at < size + 2 || static_cast<std::size_t>(size) > max_bulk_) break;
    args.emplace_back(at, static_cast<std::size_t>(size));
    at += size + 2;
  }
  if (left > 0) {
    args.resize(first);
    return false;
  }
  taken = static_cast<std::size_t>(at - command.data());
  return true;
}

// The careful way: the count, then for each argument its size and its bytes, pushed to `args` as
// they are found. When something is missing, what was found is kept as offsets and taken back from
// `args`; the call that completes the command puts it in front of its own.
Parsed RequestParser::read_multibulk(std::string_view command, std::size_t& taken,
                                     std::vector<std::string_view>& args) {
  const std::size_t first = args.size();
  Progress now = progress_;  // a local: the compiler cannot keep members in registers here
  if (now.at == 0) {
    const Header header = read_count(command, now);
    if (header == Header::error) return Parsed::error;
    if (header == Header::need_more) return suspend(command, now, first, args);
  }
  while (now.args_left > 0) {
    if (now.bulk_size < 0) {
      const Header header = read_bulk_size(command, now);
      if (header == Header::error) return Parsed::error;
      if (header == Header::need_more) return suspend(command, now, first, args);
    }
    const auto size = static_cast<std::size_t>(now.bulk_size);
    const std::size_t there = command.size() - now.at;
    if (there < 2 || there - 2 < size) {
      wanted_bytes_ = size + 2 - there;
      return suspend(command, now, first, args);
    }
    args.push_back(command.substr(now.at, size));
    now.at += size + 2;
    now.bulk_size = -1;
    --now.args_left;
  }
  taken = now.at;
  if (!parts_.empty()) restore_parts(command, first, args);
  progress_ = {};
  return Parsed::command;
}

RequestParser::Header RequestParser::read_count(std::string_view command, Progress& now) {
  std::int64_t count = 0;
  std::size_t end = read_plain_number(command, 1, count);
  if (end == 0) {
    const Header found = find_line(command, now, "Protocol error: too big mbulk count string", end);
    if (found != Header::ready) return found;
    const auto parsed = parse_int(command.substr(1, end - 3));
    count = parsed ? *parsed : args_max + 1;
  }
  if (count > args_max) {
    fail("Protocol error: invalid multibulk length");
    return Header::error;
  }
  if (count > args_max_unauthenticated && !authenticated_) {
    fail("Protocol error: unauthenticated multibulk length");
    return Header::error;
  }
  now.at = end;
  now.args_left = count;
  return Header::ready;
}

RequestParser::Header RequestParser::read_bulk_size(std::string_view command, Progress& now) {
  std::int64_t size = 0;
  std::size_t end = 0;
  if (now.at < command.size() && command[now.at] == '$') {
    end = read_plain_number(command, now.at + 1, size);
  }
  if (end == 0) {
    const Header found = find_line(command, now, "Protocol error: too big bulk count string", end);
    if (found != Header::ready) return found;
    if (command[now.at] != '$') {
      fail(std::string("Protocol error: expected '$', got '") + command[now.at] + "'");
      return Header::error;
    }
    const std::size_t digits = now.at + 1;
    size = parse_int(command.substr(digits, end - 2 - digits)).value_or(-1);
  }
  if (size < 0 || static_cast<std::uint64_t>(size) > max_bulk_) {
    fail("Protocol error: invalid bulk length");
    return Header::error;
  }
  if (size > bulk_max_unauthenticated && !authenticated_) {
    fail("Protocol error: unauthenticated bulk length");
    return Header::error;
  }
  now.at = end;
  now.bulk_size = size;
  return Header::ready;
}

// Finds the end of the line that begins at now.at: `end` is the offset behind its CR and the byte
// after that, which Redis takes for LF unseen.
RequestParser::Header RequestParser::find_line(std::string_view command, Progress& now,
                                               const char* too_long, std::size_t& end) {
  const std::string_view window = command.substr(0, now.at + line_max + 1);
  const std::size_t cr = window.find('\r', std::max(now.at, now.searched));
  if (cr == std::string_view::npos) {
    if (window.size() - now.at > line_max) {
      fail(too_long);
      return Header::error;
    }
    now.searched = window.size();
    return Header::need_more;
  }
  if (cr + 1 == command.size()) {
    now.searched = cr;
    return Header::need_more;
  }
  end = cr + 2;
  return Header::ready;
}

Parsed RequestParser::suspend(std::string_view command, const Progress& now, std::size_t first,
                              std::vector<std::string_view>& args) {
  for (std::size_t i = first; i < args.size(); ++i) {
    const auto offset = static_cast<std::size_t>(args[i].data() - command.data());
    parts_.push_back({offset, args[i].size()});
  }
  args.resize(first);
  progress_ = now;
  return Parsed::need_more;
}

void RequestParser::restore_parts(std::string_view command, std::size_t first,
                                  std::vector<std::string_view>& args) {
  auto to = args.insert(args.begin() + static_cast<std::ptrdiff_t>(first), parts_.size(), {});
  for (const Part& part : parts_) *to++ = command.substr(part.offset, part.size);
  if (parts_.capacity() > parts_kept) {
    parts_ = {};
  } else {
    parts_.clear();
  }
}

void RequestParser::fail(std::string_view why) {
  failed_ = true;
  error_ = Error(Errc::protocol, std::string(why));
}

}  // namespace gyre
