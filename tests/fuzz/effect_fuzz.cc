// Bytes of a peer: what decodes must encode to the same effect, and what is valid must merge into
// any record, by the laws: again changes nothing, and the digest follows.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "record/apply.h"
#include "shard/rows.h"

namespace {

struct Merged {
  ~Merged() {
    if (record) gyre::destroy_record(slabs, record);
    GYRE_ASSERT(slabs.used() == 0);
  }
  void merge(const gyre::Effect& e) {
    record = gyre::apply(record, e, {.keep_tombstones = true, .digests = true}, slabs, result);
    digest += result.digest_delta;
    GYRE_ASSERT(digest == (record ? gyre::record_digest(*record, e.db) : 0));
  }
  gyre::Slabs slabs;
  gyre::Node* record = nullptr;
  gyre::ApplyResult result;
  std::uint64_t digest = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> exact(data, data + size);
  gyre::Reader in({exact.data(), exact.size()});
  std::vector<gyre::Effect> effects;
  gyre::Effect e;
  while (effects.size() < 8 && gyre::decode_effect(in, e)) {
    std::string bytes, again;
    gyre::encode_effect(bytes, e);
    gyre::Reader copy(bytes);
    gyre::Effect back;
    GYRE_ASSERT(gyre::decode_effect(copy, back) && copy.finished());
    gyre::encode_effect(again, back);
    GYRE_ASSERT(again == bytes);
    if (!gyre::valid_effect(e)) continue;
    // All of one record, whatever key and database they name.
    e.key = "key";
    e.db = {0};
    effects.push_back(e);
  }
  Merged one, other;
  for (const gyre::Effect& effect : effects) {
    one.merge(effect);
    one.merge(effect);
    GYRE_ASSERT(!one.result.changed);
  }
  for (auto at = effects.rbegin(); at != effects.rend(); ++at) other.merge(*at);
  if (one.record) {
    std::string row;
    gyre::header_value(row, *one.record);
  }
  return 0;
}
