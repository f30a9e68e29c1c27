// Library: functions that were loaded together, by name (FUNCTION LOAD).
//
// Values: the node has one Libraries at a time, which a change replaces as a whole; each thread
// compiles what it calls. Dumps are those of Redis 7.0, and read as well as written.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "script/program.h"

namespace gyre {

struct Function {
  std::string name;
  std::string description;
  bool has_description = false;
  ScriptFlags flags;
  std::vector<std::string> flag_names;
};

struct Library {
  std::string name;
  std::string code;  // with its first line
  std::size_t code_at = 0;
  std::vector<Function> functions;  // sorted by name
};

struct Libraries {
  std::uint64_t generation = 0;
  std::map<std::string, std::shared_ptr<const Library>, std::less<>> by_name;
  // function -> its library
  std::map<std::string, std::shared_ptr<const Library>, std::less<>> by_function;

  // Errors: the library is there and `replace` is false; a function belongs to another one.
  Result<void> add(std::shared_ptr<const Library> library, bool replace);
  bool remove(std::string_view name);
};

// "#!lua name=x": the library without its functions.
Result<Library> read_library(std::string_view code);
// Letters, digits and underscores, at least one.
bool library_name_ok(std::string_view name);

// FUNCTION DUMP, and the codes of the libraries in such a dump.
std::string dump_libraries(const Libraries& libraries);
Result<std::vector<std::string>> read_dump(std::string_view payload);

// A library with its functions, so that nobody has to run its code to know them; and back, from
// what may be anything. Without its functions' flags and names being checked against the code.
std::string encode_library(const Library& library);
Result<Library> decode_library(Reader& in);

}  // namespace gyre
