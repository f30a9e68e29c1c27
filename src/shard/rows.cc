#include "shard/rows.h"

#include "base/bytes.h"
#include "record/apply.h"

namespace gyre {
namespace {

constexpr std::uint32_t floor_mark = 0xffffffffu, agreement_mark = 0xfffffffeu;
constexpr std::size_t changes_at_once = 512;

enum RowKind : std::uint8_t { header_row = 0, element_row = 1 };
enum RowFlag : std::uint8_t { with_floor = 1, with_expiry = 2, with_newest = 4 };

std::string hex(std::string_view bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes.substr(0, 64)) {
    out.push_back(digits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(digits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

}  // namespace

void row_prefix(std::string& to, Slot slot, DbIndex db, std::string_view key) {
  to.clear();
  put_be16(to, slot.value);
  put_u8(to, db.value);
  put_be32(to, static_cast<std::uint32_t>(key.size()));
  to.append(key);
}

std::string slot_row_prefix(Slot slot) {
  std::string out;
  put_be16(out, slot.value);
  return out;
}

std::string floor_row(Slot slot, DbIndex db) {
  std::string out;
  put_be16(out, slot.value);
  put_u8(out, db.value);
  put_be32(out, floor_mark);
  return out;
}

std::string agreement_row(Slot slot) {
  std::string out;
  put_be16(out, slot.value);
  put_u8(out, 0);
  put_be32(out, agreement_mark);
  return out;
}

void header_value(std::string& to, const Node& n) {
  clear_buffer(to);
  const TypeId type = stored_type(n);
  const bool implied_floor = type == TypeId::string && !n.has(Node::floored);
  const bool expires = n.has(Node::has_expiry), stub = record_stub(n);
  const TypeClaim claim = stub ? record_claim(n) : TypeClaim{};
  put_u8(to, static_cast<std::uint8_t>(stub ? claim.type : type));
  put_u8(to, static_cast<std::uint8_t>((implied_floor ? 0 : with_floor) |
                                       (expires ? with_expiry : 0) | (stub ? with_newest : 0)));
  if (!implied_floor) put_be64(to, record_floor(n).bits);
  if (expires) {
    const Expiry e = n.expiry();
    put_be64(to, static_cast<std::uint64_t>(e.at_ms));
    put_be64(to, e.version.bits);
  }
  if (stub) {
    put_be64(to, record_newest(n).bits);
    put_be64(to, claim.version.bits);
  }
  if (type != TypeId::string) return;
  const Cell cell = string_cell(n);
  put_be64(to, cell.version.bits);
  put_u8(to, cell.tombstone);
  put_u8(to, cell.has_sums);
  to.append(cell.stored);
}

void element_value(std::string& to, const Cell& cell) {
  clear_buffer(to);
  put_be64(to, cell.version.bits);
  put_u8(to, cell.tombstone);
  put_u8(to, cell.has_sums);
  to.append(cell.stored);
}

Result<void> RowReader::row(std::string_view key, std::string_view value) {
  Reader in(key);
  const Slot slot{in.be16()};
  const DbIndex db{in.u8()};
  const std::uint32_t size = in.be32();
  if (in.ok() && size == floor_mark) {
    flush();
    Reader v(value);
    const Version floor{v.be64()};
    if (!v.finished()) return Error(Errc::corrupt, "the store holds a bad floor row: " + hex(key));
    sink_.loaded_floor(slot, db, floor);
    return {};
  }
  if (in.ok() && size == agreement_mark) {
    flush();
    Reader v(value);
    const Version repaired{v.be64()}, confirmed{v.be64()};
    const std::uint8_t partial = v.u8();
    if (!v.finished() || partial > 1)
      return Error(Errc::corrupt, "the store holds a bad agreement row: " + hex(key));
    sink_.loaded_agreement(slot, repaired, confirmed, partial != 0);
    return {};
  }
  const std::string_view record_key = in.raw(size);
  const std::uint8_t kind = in.u8();
  if (!in.ok() || slot.value >= slots_total || kind > element_row) {
    return Error(Errc::corrupt, "the store holds a row that is not one: " + hex(key));
  }
  const bool same = open_ && slot == slot_ && db == effect_.db && record_key == record_key_;
  if (!same) {
    flush();
    if (kind != header_row)
      return Error(Errc::corrupt, "the store holds an element without its record: " + hex(key));
    slot_ = slot;
    record_key_.assign(record_key);
    effect_.clear();
    effect_.db = db;
    open_ = true;
    if (!parse_header(value))
      return Error(Errc::corrupt, "the store holds a bad record header: " + hex(key) + " = " +
                                      hex(value.substr(0, 64)));
    return {};
  }
  if (!parse_element(in.rest(), value))
    return Error(Errc::corrupt, "the store holds a bad element: " + hex(key));
  return {};
}

void RowReader::finish() {
  flush();
}

bool RowReader::parse_header(std::string_view value) {
  Reader in(value);
  const std::uint8_t type = in.u8();
  const std::uint8_t flags = in.u8();
  if (!in.ok() || type >= types_total || flags > 7) return false;
  effect_.type = static_cast<TypeId>(type);
  if (flags & with_floor) effect_.floor = {in.be64()};
  if (flags & with_expiry) {
    effect_.expiry.at_ms = static_cast<UnixMs>(in.be64());
    effect_.expiry.version = {in.be64()};
  }
  if (flags & with_newest) {
    effect_.expired = true;
    effect_.version = {in.be64()};
    if (in.left() > 0) effect_.claim = {in.be64()};  // format 1: of no type
    return in.finished() && valid_effect(effect_);
  }
  if (effect_.type != TypeId::string) return in.finished();
  Reader peek = in;
  const Version version{peek.be64()};
  if (!(flags & with_floor)) effect_.floor = version.before();
  return add_cell({}, in);
}

bool RowReader::parse_element(std::string_view id, std::string_view value) {
  Reader in(value);
  if (!add_cell(id, in)) return false;
  if (pending_.size() >= changes_at_once) {
    // The rest of a large record goes on in another effect with the same header.
    Effect header = effect_;
    flush();
    effect_ = header;
    effect_.changes.clear();
    open_ = true;
  }
  return true;
}

bool RowReader::add_cell(std::string_view id, Reader& in) {
  Cell cell;
  cell.version = {in.be64()};
  cell.tombstone = in.u8() != 0;
  cell.has_sums = in.u8() != 0;
  cell.stored = in.rest();
  if (!in.ok()) return false;
  const std::size_t id_at = bytes_.size();
  bytes_.append(id);
  const auto add = [&](Version version, Version sum, bool tombstone, std::string_view payload) {
    pending_.push_back({id_at, id.size(), bytes_.size(), payload.size(), version, sum, tombstone});
    bytes_.append(payload);
  };
  if (!cell.has_sums) {
    add(cell.version, {}, cell.tombstone, cell.stored);
    return true;
  }
  Reader stored(cell.stored);
  const std::string_view payload = stored.bytes();
  if (cell.version) add(cell.version, {}, cell.tombstone, payload);
  const std::uint64_t n = stored.varint();
  for (std::uint64_t i = 0; i < n && stored.ok(); ++i) {
    const Version sum{stored.be64()};
    const Version version{stored.be64()};
    add(version, sum, false, stored.bytes());
  }
  return stored.finished();
}

void RowReader::flush() {
  if (!open_) return;
  effect_.key = record_key_;
  const std::string_view all = bytes_;
  for (const Pending& p : pending_) {
    effect_.changes.push_back({all.substr(p.id_at, p.id_size), p.version, p.sum, p.tombstone,
                               all.substr(p.payload_at, p.payload_size)});
  }
  effect_.version = effect_.newest();
  sink_.loaded(slot_, effect_);
  pending_.clear();
  bytes_.clear();
  effect_.clear();
  open_ = false;
}

}  // namespace gyre
