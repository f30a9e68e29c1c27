#include "script/library.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/numbers.h"
#include "config/line.h"
#include "rdb/crc64.h"
#include "rdb/value.h"

namespace gyre {
namespace {

constexpr char function_tag = static_cast<char>(0xf5);  // of a library in Redis' dumps
constexpr std::size_t dump_room = std::size_t{64} << 20;

}  // namespace

bool library_name_ok(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

Result<Library> read_library(std::string_view code) {
  if (!code.starts_with("#!")) return Error(Errc::err, "Missing library metadata");
  auto line = read_first_line(code);
  const auto words = line ? split_words(line->words) : std::nullopt;
  if (!words) return Error(Errc::err, "Invalid library metadata");
  Library library;
  bool named = false;
  for (const std::string& word : *words) {
    if (!equals_ignore_case(std::string_view(word).substr(0, 5), "name="))
      return Error(Errc::err, "Invalid metadata value given: " + word);
    if (named)
      return Error(Errc::err, "Invalid metadata value, name argument was given multiple times");
    named = true;
    library.name = word.substr(5);
  }
  if (!named) return Error(Errc::err, "Library name was not given");
  if (!library_name_ok(library.name))
    return Error(
        Errc::err,
        "Library names can only contain letters, numbers, or underscores(_) and must be at "
        "least one character long");
  std::string engine(line->engine.substr(2));
  std::transform(engine.begin(), engine.end(), engine.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (engine != "lua")
    return Error(Errc::err, "Engine '" + std::string(line->engine.substr(2)) + "' not found");
  library.code = code;
  library.code_at = line->end;
  return library;
}

Result<void> Libraries::add(std::shared_ptr<const Library> library, bool replace) {
  const auto old = by_name.find(library->name);
  if (old != by_name.end() && !replace)
    return Error(Errc::err, "Library '" + library->name + "' already exists");
  for (const Function& f : library->functions) {
    const auto other = by_function.find(to_lower(f.name));
    if (other != by_function.end() && other->second->name != library->name)
      return Error(Errc::err, "Function " + f.name + " already exists");
  }
  remove(library->name);
  for (const Function& f : library->functions) by_function[to_lower(f.name)] = library;
  by_name[library->name] = std::move(library);
  return {};
}

bool Libraries::remove(std::string_view name) {
  const auto at = by_name.find(name);
  if (at == by_name.end()) return false;
  for (const Function& f : at->second->functions) by_function.erase(to_lower(f.name));
  by_name.erase(at);
  return true;
}

std::string dump_libraries(const Libraries& libraries) {
  std::string out;
  for (const auto& [name, library] : libraries.by_name) {
    out += function_tag;
    rdb::write_string(out, library->code);
  }
  const auto put_le = [&](std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  };
  put_le(rdb::version, 2);
  put_le(rdb::crc64(0, out), 8);
  return out;
}

Result<std::vector<std::string>> read_dump(std::string_view payload) {
  if (!rdb::payload_intact(payload))
    return Error(Errc::err, "DUMP payload version or checksum are wrong");
  std::vector<std::string> codes;
  std::size_t room = dump_room;
  Reader in(payload.substr(0, payload.size() - 10));
  while (in.left() > 0) {
    if (in.u8() != static_cast<std::uint8_t>(function_tag))
      return Error(Errc::err, "given type is not a function");
    const auto value = rdb::read_value(in, 0, room);
    if (!value || value->parts.size() != 1 || value->parts[0].size() > room)
      return Error(Errc::err, "failed loading functions payload");
    room -= value->parts[0].size();
    codes.emplace_back(value->parts[0]);
  }
  return codes;
}

std::string encode_library(const Library& library) {
  std::string out;
  put_bytes(out, library.code);
  put_varint(out, library.functions.size());
  for (const Function& f : library.functions) {
    put_bytes(out, f.name);
    put_varint(out, f.has_description);
    put_bytes(out, f.description);
    put_varint(out, f.flag_names.size());
    for (const std::string& name : f.flag_names) put_bytes(out, name);
  }
  return out;
}

Result<Library> decode_library(Reader& in) {
  auto library = read_library(in.bytes());
  if (!library) return library;
  for (std::uint64_t functions = in.varint(); functions > 0 && in.ok(); --functions) {
    Function f;
    f.name = in.bytes();
    f.has_description = in.varint() != 0;
    f.description = in.bytes();
    for (std::uint64_t flags = in.varint(); flags > 0 && in.ok(); --flags) {
      f.flag_names.emplace_back(in.bytes());
      f.flags.set(f.flag_names.back());
    }
    library->functions.push_back(std::move(f));
  }
  if (!in.ok()) return Error(Errc::corrupt, "the library is cut off");
  return library;
}

}  // namespace gyre
