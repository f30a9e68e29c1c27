// Files that --import is given: whatever they hold, each key that is read is a payload that RESTORE
// can judge, and reading ends.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "rdb/file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gyre::rdb;
  constexpr std::size_t room = 1 << 20;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // As it is, and with a header in front and a checksum of 0 behind, which stands for none.
  const std::string dressed = "REDIS0010" + std::string(bytes) + std::string(8, '\0');
  for (const std::string_view file : {bytes, std::string_view(dressed)}) {
    FileReader in(file, room);
    if (!in.intact()) continue;
    std::size_t before = in.offset();
    while (const auto key = in.next()) {
      GYRE_ASSERT(in.offset() > before);
      before = in.offset();
      const std::string payload = sealed_payload(std::string(key->value));
      GYRE_ASSERT(payload_intact(payload) && payload_value(payload, room));
    }
  }
  return 0;
}
