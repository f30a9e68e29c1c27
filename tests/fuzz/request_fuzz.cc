// Requests in one piece, in two and byte by byte must give the same commands and the same error,
// and leave the same bytes. The first byte of the input says where the cut is and whether the
// client logged in.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sanitizer/asan_interface.h>

#include "base/assert.h"
#include "resp/request.h"

namespace {

struct Outcome {
  std::vector<std::string> words;  // of all commands, each command begins with a mark
  std::string error;
  std::string rest;
  bool operator==(const Outcome&) const = default;
};

class Connection {
 public:
  explicit Connection(bool authenticated) {
    parser_.set_authenticated(authenticated);
    parser_.set_max_bulk(1 << 20);
  }

  // The input moves with each piece, as a buffer that grows does.
  void arrive(std::string_view bytes) {
    outcome_.rest += bytes;
    // A copy of exact size, so that the sanitizer sees a read behind the end.
    const std::vector<char> exact(outcome_.rest.begin(), outcome_.rest.end());
    outcome_.rest.erase(0, take({exact.data(), exact.size()}));
  }

  // Byte by byte, in a buffer that stays where it is and whose bytes still to come are poisoned:
  // copies for each byte would be most of the work.
  void arrive_in_bytes(std::string_view bytes) {
    const auto buffer = std::make_unique<char[]>(bytes.size());
    const auto at = [&](std::size_t i) { return buffer.get() + i; };
    std::size_t used = 0;
    for (std::size_t size = 1; size <= bytes.size(); ++size) {
      ASAN_UNPOISON_MEMORY_REGION(at(0), size);
      buffer[size - 1] = bytes[size - 1];
      ASAN_POISON_MEMORY_REGION(at(size), bytes.size() - size);
      used += take({at(used), size - used});
    }
    outcome_.rest = bytes.substr(used);
  }

  const Outcome& outcome() const { return outcome_; }

 private:
  std::size_t take(std::string_view input) {
    const std::size_t before = input.size();
    gyre::Parsed parsed;
    do {
      std::size_t used = 0;
      args_.clear();
      parsed = parser_.next(input, used, args_);
      GYRE_ASSERT(used <= input.size());
      GYRE_ASSERT(args_.empty() == (parsed != gyre::Parsed::command));
      if (parsed == gyre::Parsed::command) outcome_.words.emplace_back("(command)");
      outcome_.words.insert(outcome_.words.end(), args_.begin(), args_.end());
      input.remove_prefix(used);
    } while (parsed == gyre::Parsed::command);
    if (parsed == gyre::Parsed::error) outcome_.error = parser_.error().text();
    parser_.reset_scratch();
    return before - input.size();
  }

  gyre::RequestParser parser_;
  std::vector<std::string_view> args_;
  Outcome outcome_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = std::min<std::size_t>(data[0] >> 1, input.size());
  const bool authenticated = (data[0] & 1) != 0;

  Connection whole(authenticated);
  whole.arrive(input);
  Connection split(authenticated);
  split.arrive(input.substr(0, cut));
  split.arrive(input.substr(cut));
  GYRE_ASSERT(whole.outcome() == split.outcome());

  Connection bytes(authenticated);
  bytes.arrive_in_bytes(input);
  GYRE_ASSERT(input.empty() || whole.outcome() == bytes.outcome());
  return 0;
}
