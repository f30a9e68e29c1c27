#include "server/session.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>

#include <doctest/doctest.h>

#include "commands/command_command.h"
#include "commands/table.h"
#include "server/info.h"

namespace gyre {
namespace {

TEST_CASE("sessions: every row without a function has a handler") {
  // Dispatch runs these itself.
  constexpr auto elsewhere =
      std::to_array<std::string_view>({"MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"});
  for (const CommandSpec* spec : all_commands()) {
    CAPTURE(spec->name);
    const bool has = session_handler(*spec) != nullptr;
    const bool dispatched =
        std::find(elsewhere.begin(), elsewhere.end(), spec->name) != elsewhere.end();
    if (spec->run || dispatched) {
      CHECK(!has);
    } else if (!command_is_container(*spec)) {
      CHECK(has);
    }
  }
}

TEST_CASE("error counts: by prefix, bounded") {
  ErrorCounts counts;
  counts.note("-ERR syntax error\r\n");
  counts.note("ERR no such key");
  counts.note("-WRONGTYPE Operation");
  std::map<std::string, std::uint64_t> sums{{"ERR", 1}};
  counts.add_to(sums);
  CHECK(sums == std::map<std::string, std::uint64_t>{{"ERR", 3}, {"WRONGTYPE", 1}});
  counts.reset();
  for (int i = 0; i < 1000; ++i) counts.note("-E" + std::to_string(i));
  sums.clear();
  counts.add_to(sums);
  CHECK(sums.size() == ErrorCounts::prefixes_max);
}

}  // namespace
}  // namespace gyre
