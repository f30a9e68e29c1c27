// Reply: writes one client's replies in RESP2 or RESP3.
//
// A command says what it answers (a map, a double, a null); the writer knows how the connection's
// protocol spells it. It appends to a buffer that somebody else owns. Aggregates announce their
// length first; when it is not known, deferred_array() leaves room that finish_array() fills in.
// Threading: none; one writer lives for one command.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gyre {

class Reply {
 public:
  // out outlives the writer. protocol: 2 or 3.
  Reply(std::string& out, int protocol) : out_(out), protocol_(protocol) {}

  int protocol() const { return protocol_; }
  std::string& out() { return out_; }

  void ok() { out_.append("+OK\r\n", 5); }
  void simple(std::string_view text);  // +text; CR and LF become spaces
  void error(const Error& error);      // -PREFIX text; CR and LF become spaces
  void error(Errc code) { this->error(Error(code)); }
  void error(std::string_view text) { this->error(Error(Errc::err, std::string(text))); }
  void integer(std::int64_t value);
  void bulk(std::string_view bytes);
  void bulk_int(std::int64_t value);  // an integer as a bulk string
  void real(double value);            // RESP3 double, RESP2 bulk (Redis' score format)
  void boolean(bool value);           // RESP3 #t/#f, RESP2 :1/:0
  void verbatim(std::string_view format, std::string_view text);  // RESP2: bulk
  void big_number(std::string_view digits);                       // RESP2: bulk
  void null();                                                    // RESP3 _, RESP2 $-1
  void null_array();                                              // RESP3 _, RESP2 *-1
  void array(std::size_t elements);
  void map(std::size_t pairs);                              // RESP2: flat array of 2 x pairs
  void set(std::size_t elements);                           // RESP2: array
  void push(std::size_t elements);                          // RESP2: array
  void raw(std::string_view bytes) { out_.append(bytes); }  // already RESP

  // Aggregates whose length is found out while writing. The mark is an offset: finish may move the
  // bytes behind it, so nested ones are finished inner first.
  std::size_t deferred() const { return out_.size(); }
  void finish_array(std::size_t mark, std::size_t elements) { insert_header(mark, '*', elements); }
  void finish_set(std::size_t mark, std::size_t elements) {
    insert_header(mark, protocol_ == 3 ? '~' : '*', elements);
  }
  void finish_map(std::size_t mark, std::size_t pairs) {
    protocol_ == 3 ? insert_header(mark, '%', pairs) : insert_header(mark, '*', 2 * pairs);
  }

 private:
  void header(char type, std::size_t n);
  void insert_header(std::size_t mark, char type, std::size_t n);

  std::string& out_;
  int protocol_;
};

}  // namespace gyre
