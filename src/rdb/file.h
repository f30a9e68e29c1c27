// RDB files: what Redis' SAVE writes and loads at its start, and so do SAVE and --import here.
//
//   | REDIS0010 | (0xfa name value)* | (0xf5 code of a library)* |
//   |             (0xfe database 0xfb keys expiring key*)* | 0xff | crc64 le64
//   | key: | [0xfc expiry ms le64] | type u8 | key | value |        numbers and strings as in
//   rdb/value.h
//
// Written is version 10, of Redis 7.0. Read is every version up to it: also expiries in seconds,
// idle times and frequencies (passed over); data of modules is refused.
// Pure: bytes go and come through the caller. Threading: the caller's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "rdb/value.h"

namespace gyre::rdb {

class FileWriter {
 public:
  // `write` is given the file in order, in pieces; false: no more can be written.
  explicit FileWriter(std::function<bool(std::string_view)> write);
  // Both before the first database.
  void note(std::string_view name, std::string_view value);
  void function(std::string_view library_code);
  void database(std::size_t db, std::uint64_t keys, std::uint64_t expiring);
  void key(std::string_view key, UnixMs expires_at, const Value& value);  // expires_at 0: never
  // False: something could not be written.
  bool finish();
  bool ok() const { return ok_; }

 private:
  static constexpr std::size_t piece = std::size_t{1} << 20;
  void flush();

  std::function<bool(std::string_view)> write_;
  std::string bytes_;
  std::uint64_t crc_ = 0;
  bool ok_ = true;
};

class FileReader {
 public:
  struct Key {
    std::size_t db = 0;
    std::string_view key;
    UnixMs expires_at = 0;   // 0: never
    std::string_view value;  // type byte and value, for sealed_payload()
  };
  // The file as a whole, which outlives the reader. `room`: as read_value().
  FileReader(std::string_view file, std::size_t room);
  // Whether header and checksum are right. To be asked first; without, error() says what is wrong.
  bool intact();
  // The next key; nothing at the end, and when the file cannot be read on: then error() says why.
  // Its views hold until the next call.
  std::optional<Key> next();
  const std::string& error() const { return error_; }
  std::size_t offset() const { return end_ - in_.left(); }
  // The codes of the libraries of functions met so far.
  const std::vector<std::string>& functions() const { return functions_; }
  unsigned version() const { return version_; }

 private:
  std::nullopt_t wrong(std::string what);
  std::optional<Value> string() { return read_value(in_, 0, room_); }

  std::string_view file_;
  std::size_t end_ = 0;  // of what in_ reads
  std::size_t room_;
  Reader in_;
  std::string error_;
  Value name_;        // of the key that was given out
  std::string body_;  // its type and value
  std::vector<std::string> functions_;
  std::size_t db_ = 0;
  unsigned version_ = 0;
};

}  // namespace gyre::rdb
