#include "shard/holds.h"

#include "base/bytes.h"
#include "record/record.h"
#include "ring/slot.h"

namespace gyre {
namespace {

constexpr std::uint8_t part_format = 2;

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
  put_varint(out, part.slots.size());
  for (const Slot s : part.slots) put_be16(out, s.value);
  out.append(part.effects);
  return out;
}

bool decode_part(std::string_view bytes, Part& part) {
  Reader in(bytes);
  if (in.u8() != part_format) return false;
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

PartRecord read_part(const Node* record) {
  PartRecord r;
  if (!record || stored_type(*record) != TypeId::hash || !record->has(Node::boxed)) return r;
  const Collection& fields = *collection_of(*record);
  const auto find = [&](std::string_view id, Cell& cell) {
    return fields.find(id, cell) && !cell.tombstone;
  };
  using State = PartRecord::State;
  Cell cell;
  if (find(part_field::asked, cell)) r.asked = cell.version, r.state = State::asked;
  if (find(part_field::accepted, cell)) {
    r.accepted_at = cell.version;
    r.accepted_never = cell.payload() == "N";
    r.state = State::asked;
  }
  const auto read = [&](State state) {
    r.text = cell.payload();
    if (decode_part(r.text, r.part)) r.state = state;
    return r.state == state;
  };
  if (find(part_field::prepared, cell) && read(State::prepared)) r.prepared_at = cell.version;
  if (find(part_field::dropped, cell)) r.state = State::dropped;
  if (find(part_field::committed, cell)) read(State::committed);
  return r;
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
