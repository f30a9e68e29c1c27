#include "rdb/file.h"

#include <utility>

#include "rdb/crc64.h"
#include "rdb/packed.h"

namespace gyre::rdb {
namespace {

constexpr std::string_view magic = "REDIS";
constexpr std::size_t header_bytes = 9, checksum_bytes = 8;

enum Mark : std::uint8_t {
  function_mark = 0xf5,
  old_function = 0xf6,
  module_data = 0xf7,
  idle = 0xf8,
  frequency = 0xf9,
  note_mark = 0xfa,
  sizes = 0xfb,
  expiry_ms = 0xfc,
  expiry_s = 0xfd,
  select = 0xfe,
  end = 0xff,
};

}  // namespace

// ---- writing

FileWriter::FileWriter(std::function<bool(std::string_view)> write) : write_(std::move(write)) {
  const std::string number = std::to_string(rdb::version);
  bytes_ = std::string(magic) + std::string(4 - number.size(), '0') + number;
}

void FileWriter::note(std::string_view name, std::string_view value) {
  put_u8(bytes_, note_mark);
  write_string(bytes_, name);
  write_string(bytes_, value);
}

void FileWriter::function(std::string_view library_code) {
  put_u8(bytes_, function_mark);
  write_string(bytes_, library_code);
}

void FileWriter::database(std::size_t db, std::uint64_t keys, std::uint64_t expiring) {
  put_u8(bytes_, select);
  write_length(bytes_, db);
  put_u8(bytes_, sizes);
  write_length(bytes_, keys);
  write_length(bytes_, expiring);
}

void FileWriter::key(std::string_view key, UnixMs expires_at, const Value& value) {
  if (expires_at != 0) {
    put_u8(bytes_, expiry_ms);
    put_le(bytes_, static_cast<std::uint64_t>(expires_at), 8);
  }
  // The type stands before the key, the value behind it.
  std::string body;
  write_value(body, value);
  bytes_.push_back(body.front());
  write_string(bytes_, key);
  bytes_.append(body, 1);
  if (bytes_.size() >= piece) flush();
}

bool FileWriter::finish() {
  put_u8(bytes_, end);
  flush();
  put_le(bytes_, crc_, checksum_bytes);
  if (ok_) ok_ = write_(bytes_);
  return ok_;
}

void FileWriter::flush() {
  crc_ = crc64(crc_, bytes_);
  if (ok_) ok_ = write_(bytes_);
  bytes_.clear();
}

// ---- reading

FileReader::FileReader(std::string_view file, std::size_t room)
    : file_(file), end_(file.size()), room_(room), in_(file) {}

std::nullopt_t FileReader::wrong(std::string what) {
  if (error_.empty()) error_ = std::move(what) + " at byte " + std::to_string(offset());
  in_ = Reader({});
  return std::nullopt;
}

bool FileReader::intact() {
  if (file_.size() < header_bytes || !file_.starts_with(magic)) return wrong("no RDB file"), false;
  for (const char c : file_.substr(magic.size(), 4)) {
    if (c < '0' || c > '9') return wrong("no RDB file"), false;
    version_ = version_ * 10 + static_cast<unsigned>(c - '0');
  }
  if (version_ == 0 || version_ > rdb::version)
    return wrong("version " + std::to_string(version_) + " is not known (up to " +
                 std::to_string(rdb::version) + ")"),
           false;
  in_ = Reader(file_.substr(header_bytes));
  if (version_ < 5) return true;
  if (file_.size() < header_bytes + 1 + checksum_bytes) return wrong("it ends too early"), false;
  end_ = file_.size() - checksum_bytes;
  const std::string_view body = file_.substr(0, end_);
  in_ = Reader(body.substr(header_bytes));
  Reader tail(file_.substr(body.size()));
  const std::uint64_t sum = le_unsigned(tail, checksum_bytes);
  if (sum != 0 && sum != crc64(0, body)) return wrong("the checksum is wrong"), false;
  return true;
}

std::optional<FileReader::Key> FileReader::next() {
  Key key;
  while (error_.empty()) {
    const std::uint8_t mark = in_.u8();
    if (!in_.ok()) return wrong("it ends too early");
    switch (mark) {
      case end:
        in_ = Reader({});
        return std::nullopt;
      case select: {
        const auto db = read_count(in_);
        if (!db) return wrong("a database without number");
        db_ = static_cast<std::size_t>(*db);
        break;
      }
      case sizes:
        if (!read_count(in_) || !read_count(in_)) return wrong("sizes that cannot be read");
        break;
      case note_mark:
        if (!string() || !string()) return wrong("a note that cannot be read");
        break;
      case expiry_ms:
        key.expires_at = static_cast<UnixMs>(le_unsigned(in_, 8));
        break;
      case expiry_s:
        key.expires_at = static_cast<UnixMs>(le_unsigned(in_, 4)) * 1000;
        break;
      case idle:
        if (!read_count(in_)) return wrong("an idle time that cannot be read");
        break;
      case frequency:
        in_.u8();
        break;
      case function_mark: {
        const auto code = string();
        if (!code) return wrong("a function that cannot be read");
        functions_.emplace_back(code->parts.front());
        break;
      }
      case old_function:
        return wrong("a function of a version before 7.0");
      case module_data:
        return wrong("data of a module");
      default: {
        auto name = string();
        if (!name) return wrong("a key that cannot be read");
        name_ = std::move(*name);
        key.key = name_.parts.front();
        const std::size_t begin = offset();
        if (!read_value(in_, mark, room_) || !in_.ok())
          return wrong("a value that cannot be read (type " + std::to_string(mark) + ")");
        key.db = db_;
        body_.assign(1, static_cast<char>(mark));
        body_.append(file_.substr(begin, offset() - begin));
        key.value = body_;
        return key;
      }
    }
  }
  return std::nullopt;
}

}  // namespace gyre::rdb
