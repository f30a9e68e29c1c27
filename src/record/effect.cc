#include "record/effect.h"

#include <algorithm>

namespace gyre {
namespace {

enum EffectFlag : std::uint8_t {
  overwrite = 1,
  with_floor = 2,
  with_expiry = 4,
  with_base = 8,
  of_slot = 16,
  of_expired = 32,
  is_whole = 64,
  with_over = 128
};
enum ChangeFlag : std::uint8_t { removed = 1, own_version = 2, is_sum = 4 };

}  // namespace

Version Effect::newest() const {
  Version v = std::max({version, floor, expiry.version});
  for (const Change& c : changes) v = std::max(v, c.version);
  return v;
}

void encode_effect(std::string& to, const Effect& e) {
  std::uint8_t flags = 0;
  if (e.floor && e.floor == e.version.before()) {
    flags |= overwrite;
  } else if (e.floor) {
    flags |= with_floor;
  }
  if (e.expiry.version) flags |= with_expiry;
  if (e.has_base) {
    flags |= with_base;
  } else if (e.base) {
    flags |= with_over;
  }
  if (e.slot_floor) flags |= of_slot;
  if (e.expired) flags |= of_expired;
  if (e.whole) flags |= is_whole;
  put_u8(to, flags);
  put_u8(to, static_cast<std::uint8_t>(e.type));
  put_u8(to, e.db.value);
  put_be64(to, e.version.bits);
  put_bytes(to, e.key);
  if (flags & with_floor) put_be64(to, e.floor.bits);
  if (flags & with_expiry) {
    put_be64(to, static_cast<std::uint64_t>(e.expiry.at_ms));
    put_be64(to, e.expiry.version.bits);
  }
  if (flags & (with_base | with_over)) put_be64(to, e.base.bits);
  if (e.expired) put_be64(to, e.claim.bits);
  put_varint(to, e.changes.size());
  for (const Change& c : e.changes) {
    const auto f = static_cast<std::uint8_t>((c.tombstone ? removed : 0) |
                                             (c.version != e.version ? own_version : 0) |
                                             (c.sum ? is_sum : 0));
    put_u8(to, f);
    put_bytes(to, c.id);
    if (f & own_version) put_be64(to, c.version.bits);
    if (f & is_sum) put_be64(to, c.sum.bits);
    if (!c.tombstone) put_bytes(to, c.payload);
  }
}

bool decode_effect(Reader& in, Effect& e) {
  e.clear();
  const std::uint8_t flags = in.u8();
  const std::uint8_t type = in.u8();
  if (type >= types_total || ((flags & with_base) && (flags & with_over))) return false;
  e.type = static_cast<TypeId>(type);
  e.db = {in.u8()};
  e.version = {in.be64()};
  e.key = in.bytes();
  if (flags & overwrite) e.floor = e.version.before();
  if (flags & with_floor) e.floor = {in.be64()};
  if (flags & with_expiry) {
    e.expiry.at_ms = static_cast<UnixMs>(in.be64());
    e.expiry.version = {in.be64()};
  }
  e.slot_floor = (flags & of_slot) != 0;
  e.expired = (flags & of_expired) != 0;
  e.whole = (flags & is_whole) != 0;
  e.has_base = (flags & with_base) != 0;
  if (flags & (with_base | with_over)) e.base = {in.be64()};
  if ((flags & with_over) && !e.base) return false;
  if (e.expired) e.claim = {in.be64()};
  const std::uint64_t n = in.varint();
  if (n > in.left())
    return false;  // each change takes bytes: never allocate from a declared number
  for (std::uint64_t i = 0; i < n && in.ok(); ++i) {
    Change c;
    const std::uint8_t f = in.u8();
    if (f > 7) return false;
    c.tombstone = (f & removed) != 0;
    c.id = in.bytes();
    c.version = (f & own_version) ? Version{in.be64()} : e.version;
    if (f & is_sum) c.sum = {in.be64()};
    if (!c.tombstone) c.payload = in.bytes();
    if (!c.version || ((f & is_sum) && (!c.sum || c.tombstone))) return false;
    e.changes.push_back(c);
  }
  if (!in.ok()) return false;
  // Changes need a type to live in; a header alone may be of none.
  if (e.type == TypeId::none && !e.changes.empty()) return false;
  if (e.slot_floor && (e.type != TypeId::none || e.key.size() != 2 || !e.floor)) return false;
  return true;
}

}  // namespace gyre
