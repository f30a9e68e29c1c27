// Requests in one piece and in two must give the same commands and the same error, and leave the
// same bytes. The first byte of the input says where the cut is and whether the client logged in.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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

  void arrive(std::string_view bytes) {
    outcome_.rest += bytes;
    // A copy of exact size, so that the sanitizer sees a read behind the end.
    const std::vector<char> exact(outcome_.rest.begin(), outcome_.rest.end());
    std::string_view input(exact.data(), exact.size());
    std::vector<std::string_view> args;
    gyre::Parsed parsed;
    do {
      std::size_t used = 0;
      args.clear();
      parsed = parser_.next(input, used, args);
      GYRE_ASSERT(used <= input.size());
      GYRE_ASSERT(args.empty() == (parsed != gyre::Parsed::command));
      if (parsed == gyre::Parsed::command) outcome_.words.emplace_back("(command)");
      outcome_.words.insert(outcome_.words.end(), args.begin(), args.end());
      input.remove_prefix(used);
    } while (parsed == gyre::Parsed::command);
    if (parsed == gyre::Parsed::error) outcome_.error = parser_.error().text();
    outcome_.rest = std::string(input);
    parser_.reset_scratch();
  }

  const Outcome& outcome() const { return outcome_; }

 private:
  gyre::RequestParser parser_;
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

  if (input.size() > 4096) return 0;  // byte by byte copies the rest each time
  Connection bytes(authenticated);
  for (const char& c : input) bytes.arrive({&c, 1});
  GYRE_ASSERT(input.empty() || whole.outcome() == bytes.outcome());
  return 0;
}
