#include "script/program.h"

#include <array>

#include <openssl/evp.h>

#include "base/assert.h"

namespace gyre {

std::string sha1_hex(std::string_view text) {
  std::array<unsigned char, 20> digest{};
  unsigned size = 0;
  const int ok = EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  GYRE_ASSERT(ok == 1);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  hex.reserve(40);
  for (const unsigned char byte : digest) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

bool ScriptFlags::set(std::string_view name) {
  if (name == "no-writes") return no_writes = true;
  if (name == "allow-oom") return allow_oom = true;
  if (name == "allow-stale") return allow_stale = true;
  if (name == "no-cluster") return no_cluster = true;
  if (name == "allow-cross-slot-keys") return cross_slot = true;
  return false;
}

std::string_view take_word(std::string_view& words) {
  const std::size_t from = std::min(words.find_first_not_of(" \t\r"), words.size());
  words.remove_prefix(from);
  const std::size_t end = std::min(words.find_first_of(" \t\r"), words.size());
  const std::string_view word = words.substr(0, end);
  words.remove_prefix(end);
  return word;
}

Result<FirstLine> read_first_line(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return Error(Errc::err, "Invalid script shebang");
  FirstLine line;
  line.end = end;
  line.words = text.substr(0, end);
  line.engine = take_word(line.words);
  return line;
}

Result<Program> read_program(std::string_view text) {
  Program p;
  p.text = text;
  if (!text.starts_with("#!")) {
    p.flags.compatible = true;
    return p;
  }
  auto line = read_first_line(text);
  if (!line) return line.error();
  if (line->engine != "#!lua")
    return Error(Errc::err, "Unexpected engine in script shebang: " + std::string(line->engine));
  while (!line->words.empty()) {
    const std::string_view word = take_word(line->words);
    if (word.empty()) break;
    if (!word.starts_with("flags="))
      return Error(Errc::err, "Unknown lua shebang option: " + std::string(word));
    std::string_view names = word.substr(6);
    while (!names.empty()) {
      const std::size_t comma = std::min(names.find(','), names.size());
      const std::string_view name = names.substr(0, comma);
      names.remove_prefix(std::min(comma + 1, names.size()));
      if (!name.empty() && !p.flags.set(name))
        return Error(Errc::err, "Unexpected flag in script shebang: " + std::string(name));
    }
  }
  p.code_at = line->end;
  return p;
}

}  // namespace gyre
