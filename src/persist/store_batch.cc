#include "persist/store_batch.h"

#include <limits>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"

namespace gyre {
namespace {

bool take_string(std::string_view& rest, std::string_view& out) {
  Reader reader(rest);
  out = reader.bytes();
  if (!reader.ok()) return false;
  rest.remove_prefix(rest.size() - reader.left());
  return true;
}

}  // namespace

void StoreBatch::begin(Kind kind) {
  if (rep_.empty()) rep_.assign(header_bytes, '\0');
  put_u8(rep_, static_cast<std::uint8_t>(kind));
}

void StoreBatch::string(std::string_view bytes) {
  GYRE_ASSERT(bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  put_bytes(rep_, bytes);
}

void StoreBatch::put(std::string_view key, std::string_view value) {
  begin(Kind::put);
  string(key);
  string(value);
  ++count_;
}

void StoreBatch::erase(std::string_view key) {
  begin(Kind::erase);
  string(key);
  ++count_;
}

void StoreBatch::erase_range(std::string_view first, std::string_view last) {
  if (last <= first) return;  // RocksDB would refuse the whole batch
  begin(Kind::erase_range);
  string(first);
  string(last);
  ++count_;
}

void StoreBatch::note(std::string_view text) {
  begin(Kind::note);
  string(text);
}

void StoreBatch::append(const StoreBatch& other) {
  if (other.empty()) return;
  if (rep_.empty()) rep_.assign(header_bytes, '\0');
  const std::size_t end = other.rep_.size();  // other may be *this
  rep_.append(other.rep_, header_bytes, end - header_bytes);
  GYRE_ASSERT(count_ <= std::numeric_limits<std::uint32_t>::max() - other.count_);
  count_ += other.count_;
}

std::string StoreBatch::take() {
  if (rep_.empty()) rep_.assign(header_bytes, '\0');
  for (unsigned i = 0; i < 4; ++i) rep_[8 + i] = static_cast<char>(count_ >> (8 * i));
  std::string out = std::move(rep_);
  clear();
  return out;
}

std::string_view StoreBatch::records(std::string_view rep) {
  return rep.size() <= header_bytes ? std::string_view() : rep.substr(header_bytes);
}

bool StoreBatch::next(std::string_view& rest, Record& record) {
  if (rest.empty()) return false;
  std::string_view at = rest.substr(1);
  record = {static_cast<Kind>(rest.front()), {}, {}};
  switch (record.kind) {
    case Kind::put:
    case Kind::erase_range:
      if (!take_string(at, record.key) || !take_string(at, record.value)) return false;
      break;
    case Kind::erase:
      if (!take_string(at, record.key)) return false;
      break;
    case Kind::note:
      if (!take_string(at, record.value)) return false;
      break;
    default:
      return false;
  }
  rest = at;
  return true;
}

}  // namespace gyre
