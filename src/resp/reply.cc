#include "resp/reply.h"

#include <charconv>
#include <cstring>

#include "base/numbers.h"

namespace gyre {
namespace {

// A type byte, a 64-bit number with its sign, CR and LF.
constexpr std::size_t header_max = 1 + 20 + 2;

// Bulks up to this size are put together on the stack and appended at once: one capacity check
// in place of three. Longer ones are copied only once, straight into the output.
constexpr std::size_t short_bulk_max = 128;

// Writes "<type><n>\r\n" at `to`, which has room for header_max bytes; returns its end.
char* write_header(char* to, char type, std::int64_t n) {
  *to++ = type;
  if (n >= 0 && n < 10) {
    *to++ = static_cast<char>('0' + n);
  } else {
    to = std::to_chars(to, to + 20, n).ptr;
  }
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

std::size_t span(const char* begin, const char* end) {
  return static_cast<std::size_t>(end - begin);
}

// Of up to 16 bytes, without a call; returns the end.
char* copy_short(char* to, std::string_view from) {
  const std::size_t size = from.size();
  if (size >= 8) {
    std::memcpy(to, from.data(), 8);
    std::memcpy(to + size - 8, from.data() + size - 8, 8);
  } else if (size >= 4) {
    std::memcpy(to, from.data(), 4);
    std::memcpy(to + size - 4, from.data() + size - 4, 4);
  } else if (size > 0) {
    to[0] = from[0];
    to[size / 2] = from[size / 2];
    to[size - 1] = from[size - 1];
  }
  return to + size;
}

// A line of the protocol ends at the first CR LF, whatever stands in it.
void append_line(std::string& out, std::string_view text) {
  const std::size_t begin = out.size();
  out.append(text);
  for (std::size_t at = begin; at < out.size(); ++at) {
    if (out[at] == '\r' || out[at] == '\n') out[at] = ' ';
  }
}

}  // namespace

void Reply::simple(std::string_view text) {
  out_.push_back('+');
  append_line(out_, text);
  out_.append("\r\n", 2);
}

void Reply::error(const Error& error) {
  out_.push_back('-');
  out_.append(error_prefix(error.code));
  out_.push_back(' ');
  append_line(out_, error.text());
  out_.append("\r\n", 2);
}

void Reply::integer(std::int64_t value) {
  char text[header_max];
  out_.append(text, span(text, write_header(text, ':', value)));
}

void Reply::bulk(std::string_view bytes) {
  char text[header_max + short_bulk_max + 2];
  if (bytes.size() < 10) {
    text[0] = '$';
    text[1] = static_cast<char>('0' + bytes.size());
    std::memcpy(text + 2, "\r\n", 2);
    char* const end = copy_short(text + 4, bytes);
    std::memcpy(end, "\r\n", 2);
    return void(out_.append(text, span(text, end) + 2));
  }
  char* end = write_header(text, '$', static_cast<std::int64_t>(bytes.size()));
  if (bytes.size() <= short_bulk_max) {
    if (!bytes.empty()) std::memcpy(end, bytes.data(), bytes.size());
    end += bytes.size();
    *end++ = '\r';
    *end++ = '\n';
    out_.append(text, span(text, end));
    return;
  }
  out_.append(text, span(text, end));
  out_.append(bytes);
  out_.append("\r\n", 2);
}

void Reply::bulk_int(std::int64_t value) {
  char digits[20];
  const char* end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  bulk({digits, span(digits, end)});
}

void Reply::real(double value) {
  const std::string text = format_double(value);
  if (protocol_ < 3) return bulk(text);
  out_.push_back(',');
  out_.append(text);
  out_.append("\r\n", 2);
}

void Reply::boolean(bool value) {
  if (protocol_ < 3) return integer(value ? 1 : 0);
  out_.append(value ? "#t\r\n" : "#f\r\n", 4);
}

void Reply::verbatim(std::string_view format, std::string_view text) {
  if (protocol_ < 3) return bulk(text);
  GYRE_ASSERT(format.size() == 3);
  header('=', text.size() + 4);
  out_.append(format);
  out_.push_back(':');
  out_.append(text);
  out_.append("\r\n", 2);
}

void Reply::big_number(std::string_view digits) {
  if (protocol_ < 3) return bulk(digits);
  out_.push_back('(');
  append_line(out_, digits);
  out_.append("\r\n", 2);
}

void Reply::null() {
  protocol_ == 3 ? out_.append("_\r\n", 3) : out_.append("$-1\r\n", 5);
}

void Reply::null_array() {
  protocol_ == 3 ? out_.append("_\r\n", 3) : out_.append("*-1\r\n", 5);
}

void Reply::array(std::size_t elements) {
  header('*', elements);
}
void Reply::map(std::size_t pairs) {
  protocol_ == 3 ? header('%', pairs) : header('*', 2 * pairs);
}
void Reply::set(std::size_t elements) {
  header(protocol_ == 3 ? '~' : '*', elements);
}
void Reply::push(std::size_t elements) {
  header(protocol_ == 3 ? '>' : '*', elements);
}

void Reply::header(char type, std::size_t n) {
  char text[header_max];
  out_.append(text, span(text, write_header(text, type, static_cast<std::int64_t>(n))));
}

void Reply::insert_header(std::size_t mark, char type, std::size_t n) {
  GYRE_ASSERT(mark <= out_.size());
  char text[header_max];
  out_.insert(mark, text, span(text, write_header(text, type, static_cast<std::int64_t>(n))));
}

}  // namespace gyre
