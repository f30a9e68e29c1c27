// Elements of a stream as a peer may send them: whatever they hold, reading the stream touches
// nothing outside, and what is dumped is read back.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/assert.h"
#include "commands/stream_dump.h"
#include "rdb/value.h"

namespace {

void read_all(const gyre::StreamCollection& s) {
  std::size_t live = 0, all = 0;
  s.for_each([&](const gyre::ElementView& e) {
    ++all;
    live += e.cell.live();
    gyre::Cell cell;
    GYRE_ASSERT(s.find(e.id, cell) && cell.version == e.cell.version);
    return true;
  });
  GYRE_ASSERT(live == s.live() && all - live == s.tombstones());
  gyre::rdb::Value value;
  value.type = gyre::TypeId::stream;
  gyre::dump_stream(s, value);
  const std::string payload = gyre::rdb::dump_payload(value);
  const auto back = gyre::rdb::payload_value(payload, std::size_t{1} << 26);
  // What no node wrote may not be what Redis would take back.
  if (back) GYRE_ASSERT(back->parts == value.parts && *back->stream == *value.stream);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> exact(data, data + size);
  gyre::Reader in({exact.data(), exact.size()});
  gyre::Slabs slabs;
  {
    gyre::StreamCollection s(slabs);
    while (!in.done() && in.ok()) {
      const std::uint8_t kind = in.u8();
      const gyre::Version version{std::uint64_t{1} + in.u8()};
      if (kind % 16 == 15) {
        s.drop_below(version, [](std::string_view, bool) {});
        continue;
      }
      gyre::Change c;
      c.version = version;
      c.tombstone = kind % 4 == 3;
      c.id = in.bytes();
      if (!c.tombstone) c.payload = in.bytes();
      if (in.ok()) s.merge(c, (kind & 64) != 0);
    }
    read_all(s);
  }
  GYRE_ASSERT(slabs.used() == 0);
  return 0;
}
