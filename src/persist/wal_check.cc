#include "persist/wal_check.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "base/bytes.h"
#include "base/numbers.h"
#include "persist/file_io.h"
#include "persist/store_batch.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace gyre {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view note_tag = "gyre:synced:";
constexpr std::size_t block_bytes = 32768;
constexpr std::size_t fragment_header = 7;

// CRC32C (Castagnoli), as RocksDB's files use it.
constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1u) ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
    table[i] = crc;
  }
  return table;
}
constexpr auto crc_table = make_crc_table();

std::uint32_t crc32c_table(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes)
    crc = crc_table[(crc ^ static_cast<unsigned char>(c)) & 0xffu] ^ (crc >> 8);
  return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse(std::string_view bytes) {
  std::uint64_t crc = 0xffffffffu;
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  auto tail = static_cast<std::uint32_t>(crc);
  for (; left > 0; --left, ++at) tail = _mm_crc32_u8(tail, static_cast<unsigned char>(*at));
  return ~tail;
}
std::uint32_t crc32c(std::string_view bytes) {
  static const bool fast = __builtin_cpu_supports("sse4.2") != 0;
  return fast ? crc32c_sse(bytes) : crc32c_table(bytes);
}
#else
std::uint32_t crc32c(std::string_view bytes) {
  return crc32c_table(bytes);
}
#endif

std::uint64_t load_le(const char* from, std::size_t n) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < n; ++i)
    v |= std::uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
  return v;
}

std::uint32_t unmask(std::uint32_t masked) {
  const std::uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

// Cuts one log into records. A bad place is reported once, and reading goes on in the next block.
class LogReader {
 public:
  explicit LogReader(std::string_view file) : file_(file) {}

  enum class Step : std::uint8_t { record, bad, end };
  Step next() {
    record_.clear();
    bool within = false;
    for (;;) {
      const std::size_t left_in_block = block_bytes - at_ % block_bytes;
      if (left_in_block < fragment_header) at_ += left_in_block;  // a block's unused end
      if (at_ >= file_.size()) return within ? Step::bad : Step::end;
      if (!within) start_ = at_;
      std::string_view payload;
      const unsigned type = fragment(payload);
      if (type == 0) {
        at_ = next_block();
        return Step::bad;
      }
      const bool begins = type == 1 || type == 2;
      if (begins && within) return Step::bad;  // the record's end is missing; this one is read next
      at_ += fragment_header + payload.size();
      if (!begins && !within) return Step::bad;  // the end of a record whose begin is missing
      record_.append(payload);
      if (type == 1 || type == 4) return Step::record;
      within = true;
    }
  }
  const std::string& record() const { return record_; }
  std::size_t start() const { return start_; }

 private:
  std::size_t next_block() const { return (at_ / block_bytes + 1) * block_bytes; }

  // The type of the fragment at at_, 1 .. 4; 0 when there is no whole and valid one.
  unsigned fragment(std::string_view& payload) const {
    const std::size_t block_end = std::min(next_block(), file_.size());
    if (block_end - at_ < fragment_header) return 0;
    const char* header = file_.data() + at_;
    const auto length = static_cast<std::size_t>(load_le(header + 4, 2));
    const auto type = static_cast<unsigned char>(header[6]);
    if (type < 1 || type > 4 || length > block_end - at_ - fragment_header) return 0;
    const auto stored = static_cast<std::uint32_t>(load_le(header, 4));
    if (crc32c(file_.substr(at_ + 6, 1 + length)) != unmask(stored)) return 0;
    payload = file_.substr(at_ + fragment_header, length);
    return type;
  }

  std::string_view file_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;
  std::string record_;
};

// The sequence number that the record's note says is synced; 0: no such note.
std::uint64_t claimed(std::string_view record) {
  std::uint64_t claim = 0;
  std::string_view rest = StoreBatch::records(record);
  StoreBatch::Record row{};
  while (StoreBatch::next(rest, row)) {
    if (row.kind != StoreBatch::Kind::note || !row.value.starts_with(note_tag)) continue;
    claim = std::max(claim, parse_uint(row.value.substr(note_tag.size())).value_or(0));
  }
  return claim;
}

// Follows the records of all logs in order.
class HoleFinder {
 public:
  void bad(const std::string& file, std::size_t offset) {
    if (!hole_) hole_ = Hole{file, offset, expected_};
  }

  // False when the record proves that what is missing had been synced.
  bool record(const std::string& file, std::string_view record) {
    if (record.size() < StoreBatch::header_bytes) return true;
    const std::uint64_t sequence = load_le(record.data(), 8);
    const std::uint64_t count = load_le(record.data() + 8, 4);
    if (hole_ && hole_->first_lost == 0) hole_->first_lost = sequence > 0 ? sequence - 1 : 0;
    // A later log that goes on where the torn one ended: the store was opened, or resumed after a
    // write error, behind that end. Nothing is missing.
    if (hole_ && file != hole_->file && sequence == hole_->first_lost) hole_.reset();
    if (hole_) return claimed(record) < hole_->first_lost;
    expected_ = sequence + count;
    return true;
  }

  std::string place() const { return hole_->file + " at offset " + std::to_string(hole_->offset); }

 private:
  struct Hole {
    std::string file;
    std::size_t offset;
    std::uint64_t first_lost;  // sequence number; 0: not known yet
  };
  std::optional<Hole> hole_;
  std::uint64_t expected_ = 0;
};

std::vector<std::pair<std::uint64_t, fs::path>> logs_of(const std::string& directory,
                                                        std::error_code& error) {
  std::vector<std::pair<std::uint64_t, fs::path>> logs;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".log") continue;
    std::string digits = it->path().stem().string();  // 000012: parse_uint takes no leading zeros
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
    if (const auto number = parse_uint(digits)) logs.emplace_back(*number, it->path());
  }
  std::sort(logs.begin(), logs.end());
  return logs;
}

}  // namespace

std::string synced_note(std::uint64_t sequence) {
  return std::string(note_tag) + std::to_string(sequence);
}

Result<void> check_wals(const std::string& directory) {
  std::error_code error;
  const auto logs = logs_of(directory, error);
  if (error) return Error(Errc::io, directory + ": " + error.message());
  HoleFinder holes;
  for (const auto& log : logs) {
    const std::string name = log.second.string();
    const MappedFile file(name);
    if (!file.ok()) return Error(Errc::io, name + ": " + std::strerror(file.error()));
    LogReader reader(file.bytes());
    for (LogReader::Step step{}; (step = reader.next()) != LogReader::Step::end;) {
      if (step == LogReader::Step::bad) {
        holes.bad(name, reader.start());
      } else if (!holes.record(name, reader.record())) {
        return Error(Errc::corrupt,
                     holes.place() +
                         ": the log is damaged here, and a later record shows that this part had "
                         "been written to the disk");
      }
    }
  }
  return {};
}

}  // namespace gyre
