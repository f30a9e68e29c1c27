// Payloads of RESTORE: what is read must be written and read back the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/assert.h"
#include "rdb/value.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> exact(data, data + size);
  gyre::rdb::payload_intact({exact.data(), exact.size()});
  gyre::Reader in({exact.data(), exact.size()});
  const std::uint8_t type = in.u8();
  if (!in.ok()) return 0;
  const auto value = gyre::rdb::read_value(in, type, std::size_t{1} << 22);
  if (!value) return 0;
  GYRE_ASSERT(value->stream || !value->parts.empty());
  const std::string payload = gyre::rdb::dump_payload(*value);
  GYRE_ASSERT(gyre::rdb::payload_intact(payload));
  const auto back = gyre::rdb::payload_value(payload, std::size_t{1} << 26);
  GYRE_ASSERT(back && back->type == value->type && back->parts == value->parts);
  GYRE_ASSERT(back->scores == value->scores && back->stream == value->stream);
  return 0;
}
