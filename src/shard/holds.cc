#include "shard/holds.h"

#include "base/bytes.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::uint8_t part_format = 1;

}  // namespace

std::string part_key(Slot slot, std::string_view transaction) {
  std::string key = "{";
  key.append(slot_tag(slot));
  key += '}';
  key.append(transaction);
  return key;
}

std::string_view transaction_of(std::string_view part_key) {
  const std::size_t end = part_key.find('}');
  return end == std::string_view::npos ? std::string_view() : part_key.substr(end + 1);
}

std::string encode_part(const Part& part) {
  std::string out;
  put_u8(out, part_format);
  put_u8(out, static_cast<std::uint8_t>(part.state));
  put_varint(out, part.slots.size());
  for (const Slot s : part.slots) put_be16(out, s.value);
  out.append(part.effects);
  return out;
}

bool decode_part(std::string_view bytes, Part& part) {
  Reader in(bytes);
  if (in.u8() != part_format) return false;
  const std::uint8_t state = in.u8();
  if (state != 'P' && state != 'C' && state != 'N') return false;
  part.state = static_cast<Part::State>(state);
  const std::uint64_t count = in.varint();
  if (!in.ok() || count > slots_total || in.left() < 2 * count) return false;
  part.slots.clear();
  for (std::uint64_t i = 0; i < count; ++i) {
    const Slot slot{in.be16()};
    if (slot.value >= slots_total) return false;
    part.slots.push_back(slot);
  }
  part.effects = in.rest();
  return in.ok();
}

void encode_seen(std::string& to, const Seen& seen) {
  put_u8(to, seen.db.value);
  put_varint(to, seen.key.size());
  to.append(seen.key);
  put_be64(to, seen.newest.bits);
}

bool decode_seen(std::string_view bytes, std::vector<Seen>& to) {
  Reader in(bytes);
  while (in.left() > 0) {
    Seen seen;
    seen.db = {in.u8()};
    seen.key = in.raw(in.varint());
    seen.newest = {in.be64()};
    if (!in.ok()) return false;
    to.push_back(seen);
  }
  return true;
}

}  // namespace gyre
