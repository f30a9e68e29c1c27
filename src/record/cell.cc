#include "record/cell.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/numbers.h"

namespace gyre {
namespace {

__extension__ using int128 = __int128;

// An integer of up to 30 digits. One node's amount may pass 64 bits while base and amounts together
// do not: adding the lowest number to a base above zero, say, once and again.
std::optional<int128> parse_wide(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits.size() > 30 || (digits.front() == '0' && text != "0")) return {};
  int128 value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return {};
    value = value * 10 + (c - '0');
  }
  return negative ? -value : value;
}

std::string format_wide(int128 value) {
  std::string out;
  for (int128 v = value; v != 0; v /= 10) {
    const auto digit = static_cast<int>(v % 10);
    out.push_back(static_cast<char>('0' + (digit < 0 ? -digit : digit)));
  }
  if (out.empty()) out = "0";
  if (value < 0) out.push_back('-');
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

std::string_view Cell::payload() const {
  if (!has_sums) return stored;
  return Reader(stored).bytes();
}

std::vector<Sum> Cell::sums() const {
  std::vector<Sum> out;
  if (!has_sums) return out;
  Reader in(stored);
  in.bytes();
  const std::uint64_t n = in.varint();
  out.reserve(static_cast<std::size_t>(n));
  for (std::uint64_t i = 0; i < n; ++i) {
    Sum s;
    s.id = {in.be64()};
    s.version = {in.be64()};
    s.amount = in.bytes();
    out.push_back(s);
  }
  GYRE_ASSERT(in.finished());
  return out;
}

Version Cell::newest() const {
  Version v = version;
  if (has_sums) {
    for (const Sum& s : sums()) v = std::max(v, s.version);
  }
  return v;
}

CellState CellState::of(const Cell& cell) {
  CellState state;
  state.version = cell.version;
  state.tombstone = cell.tombstone;
  state.present = true;
  state.payload.assign(cell.payload());
  for (const Sum& s : cell.sums()) state.sums.push_back({s.id, s.version, std::string(s.amount)});
  return state;
}

CellMerge CellState::merge(const Change& change) {
  CellMerge out;
  if (!change.sum) {
    if (change.version <= version) {
      out.stands = change.version == version || change.version.node() == version.node();
      out.above = version;
      return out;
    }
    version = change.version;
    tombstone = change.tombstone;
    payload.assign(change.tombstone ? std::string_view() : change.payload);
    std::erase_if(sums, [this](const OwnSum& s) { return s.id <= version; });
    present = true;
    return {.taken = true, .stands = true, .above = {}};
  }
  if (change.sum <= version) {
    out.stands = change.version.node() == version.node();
    out.above = version;
    return out;
  }
  auto at = std::lower_bound(sums.begin(), sums.end(), change.sum,
                             [](const OwnSum& s, Version id) { return s.id < id; });
  if (at != sums.end() && at->id == change.sum) {
    if (change.version <= at->version)
      return {.taken = false, .stands = true, .above = at->version};
    at->version = change.version;
    at->amount.assign(change.payload);
  } else {
    sums.insert(at, {change.sum, change.version, std::string(change.payload)});
  }
  present = true;
  return {.taken = true, .stands = true, .above = {}};
}

void CellState::drop_below(Version floor) {
  if (version && version <= floor) {
    version = {};
    tombstone = true;
    payload.clear();
  }
  std::erase_if(sums, [floor](const OwnSum& s) { return s.id <= floor; });
  present = version || !sums.empty();
}

std::string CellState::stored() const {
  if (sums.empty()) return payload;
  std::string out;
  put_bytes(out, payload);
  put_varint(out, sums.size());
  for (const OwnSum& s : sums) {
    put_be64(out, s.id.bits);
    put_be64(out, s.version.bits);
    put_bytes(out, s.amount);
  }
  return out;
}

CellInteger cell_integer(const Cell& cell) {
  int128 total = 0;
  if (!cell.tombstone) {
    const auto base = parse_int(cell.payload());
    if (!base) return {};
    total = *base;
  }
  if (cell.has_sums) {
    for (const Sum& s : cell.sums()) {
      const auto amount = parse_wide(s.amount);
      if (!amount) return {};
      total += *amount;
    }
  }
  const auto value = static_cast<std::int64_t>(total);
  return value == total ? CellInteger{true, value} : CellInteger{};
}

std::optional<std::int64_t> shown_integer(const Cell& cell) {
  if (const CellInteger n = cell_integer(cell); n.ok) return n.value;
  return cell.has_sums ? parse_int(cell_text(cell)) : std::nullopt;
}

std::optional<std::string> cell_total(const Cell& cell) {
  if (const CellInteger n = cell_integer(cell); n.ok) return format_int(n.value);
  bool integers = cell.tombstone || parse_int(cell.payload());
  if (!cell.tombstone && !parse_long_double(cell.payload())) return {};
  for (const Sum& s : cell.sums()) {
    if (!parse_long_double(s.amount)) return {};
    integers = integers && parse_wide(s.amount);
  }
  if (integers) return {};
  return cell_text(cell);
}

CellState closed_part(const Cell& cell, Version upto) {
  CellState part = CellState::of(cell);
  std::erase_if(part.sums, [upto](const CellState::OwnSum& s) { return s.id > upto; });
  return part;
}

std::string sum_of_amounts(std::string_view a, std::string_view b) {
  const auto x = parse_wide(a);
  const auto y = parse_wide(b);
  if (x && y) return format_wide(*x + *y);
  return format_long_double(parse_long_double(a).value_or(0) + parse_long_double(b).value_or(0));
}

std::string cell_text(const Cell& cell) {
  if (!cell.has_sums) return std::string(cell.stored);
  if (const CellInteger n = cell_integer(cell); n.ok) return format_int(n.value);
  long double total = 0;
  if (!cell.tombstone) total = parse_long_double(cell.payload()).value_or(0);
  for (const Sum& s : cell.sums()) total += parse_long_double(s.amount).value_or(0);
  return format_long_double(total);
}

}  // namespace gyre
