// Replies in one piece and in two must give the same values and the same error. The first byte of
// the input says where the cut is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "resp/reply_reader.h"

namespace {

// A value as text. Values themselves do not compare: NaN is not equal to itself.
void describe(const gyre::ReplyValue& value, std::string& out) {
  out += std::to_string(static_cast<int>(value.type)) + ':' + std::to_string(value.integer) + ':' +
         std::to_string(value.real) + ':' + value.format + ':' + value.text + '(';
  for (const auto& element : value.elements) describe(element, out);
  out += '|';
  for (const auto& attribute : value.attributes) describe(attribute, out);
  out += ')';
}

class Connection {
 public:
  void arrive(std::string_view bytes) {
    rest_ += bytes;
    const std::vector<char> exact(rest_.begin(), rest_.end());
    std::string_view input(exact.data(), exact.size());
    gyre::ReplyRead read;
    do {
      gyre::ReplyValue value;
      std::size_t used = 0;
      read = reader_.next(input, used, value);
      GYRE_ASSERT(used <= input.size());
      input.remove_prefix(used);
      if (read == gyre::ReplyRead::reply) describe(value, outcome_);
    } while (read == gyre::ReplyRead::reply);
    rest_ = std::string(input);
    failed_ = read == gyre::ReplyRead::error;
  }

  std::string outcome() const {
    return failed_ ? outcome_ + std::string(reader_.error().text()) : outcome_;
  }

 private:
  gyre::ReplyReader reader_;
  std::string rest_;
  std::string outcome_;
  bool failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = std::min<std::size_t>(data[0], input.size());

  Connection whole;
  whole.arrive(input);
  Connection split;
  split.arrive(input.substr(0, cut));
  split.arrive(input.substr(cut));
  GYRE_ASSERT(whole.outcome() == split.outcome());
  return 0;
}
