// ReplyReader: reads replies in RESP2 and RESP3, for the tools and the tests (hiredis of this age
// cannot read RESP3).
//
// A reply becomes a tree of values. Bytes are taken as they come, nothing has to stay in the
// caller's buffer but an unfinished line.
//
// Invariants: at most reply_depth_max aggregates inside each other; memory follows bytes received,
//             never a declared length; the answer does not depend on where the input was split.
// Threading:  none; one instance per connection.
// Source:     the RESP3 specification (S. Sanfilippo), without its streamed strings and aggregates,
//             which no server sends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gyre {

inline constexpr std::size_t reply_depth_max = 128;

enum class ReplyType : std::uint8_t {
  null,        // _, $-1, *-1
  simple,      // + text
  error,       // - or ! text, prefix and all
  integer,     // : integer
  bulk,        // $ text
  array,       // * elements
  map,         // % elements: key, value, key, value
  set,         // ~ elements
  push,        // > elements
  real,        // , real; text as it was sent
  boolean,     // # integer: 0 or 1
  verbatim,    // = text, and format ("txt", "mkd")
  big_number,  // ( text
};

struct ReplyValue {
  ReplyType type = ReplyType::null;
  std::int64_t integer = 0;
  double real = 0;
  std::string text;
  std::string format;
  std::vector<ReplyValue> elements;
  std::vector<ReplyValue> attributes;  // what a | before the value said: key, value, ...

  bool operator==(const ReplyValue&) const = default;
};

enum class ReplyRead : std::uint8_t { reply, need_more, error };

class ReplyReader {
 public:
  ReplyReader() { restart(); }

  // Reads on in `input`; on reply, the whole of it is in `out`.
  // used: bytes the caller drops from the front, whatever the answer.
  // Errors: error() says why; every later call fails too.
  ReplyRead next(std::string_view input, std::size_t& used, ReplyValue& out);

  const Error& error() const { return error_; }

 private:
  // An aggregate whose elements are being read. The lowest one is not an aggregate: it waits for
  // the reply as its only element.
  struct Frame {
    ReplyValue value;
    std::uint64_t left = 1;
    bool is_attribute = false;
    std::vector<ReplyValue> attributes;  // for the element that comes next
  };

  void restart();
  void read_line(std::string_view input, std::size_t& used);
  void begin(char type, std::string_view line);
  void begin_bulk(char type, std::string_view line);
  void begin_aggregate(char type, std::string_view line);
  void read_scalar(char type, std::string_view line);
  void read_bulk(std::string_view input, std::size_t& used);
  void finish_bulk();
  ReplyValue new_value(ReplyType type);
  void settle(ReplyValue value);
  void fail(std::string_view why);

  std::vector<Frame> open_;
  ReplyValue bulk_;              // while bulk_left_ > 0
  std::uint64_t bulk_left_ = 0;  // bytes of the bulk still missing, its CR LF counted
  std::size_t searched_ = 0;     // no end of line before this offset of the input
  bool waiting_ = false;         // for bytes
  bool failed_ = false;
  Error error_{Errc::protocol};
};

}  // namespace gyre
