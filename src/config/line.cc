#include "config/line.h"

namespace gyre {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '\0';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char escaped(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Reads what stands between double quotes; at points behind the opening one. False: not closed.
bool read_double(std::string_view line, std::size_t& at, std::string& word) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == '"') {
      ++at;
      return at == line.size() || is_blank(line[at]);
    }
    if (c == '\\' && at + 3 < line.size() && line[at + 1] == 'x' && hex_value(line[at + 2]) >= 0 &&
        hex_value(line[at + 3]) >= 0) {
      word.push_back(static_cast<char>(hex_value(line[at + 2]) * 16 + hex_value(line[at + 3])));
      at += 4;
    } else if (c == '\\' && at + 1 < line.size()) {
      word.push_back(escaped(line[at + 1]));
      at += 2;
    } else {
      word.push_back(c);
      ++at;
    }
  }
  return false;
}

bool read_single(std::string_view line, std::size_t& at, std::string& word) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == '\'') {
      ++at;
      return at == line.size() || is_blank(line[at]);
    }
    if (c == '\\' && at + 1 < line.size() && line[at + 1] == '\'') ++at;
    word.push_back(line[at]);
    ++at;
  }
  return false;
}

bool read_word(std::string_view line, std::size_t& at, std::string& word) {
  while (at < line.size() && !is_blank(line[at])) {
    const char c = line[at++];
    // As in Redis a quote may open inside a word, too: a"b c" is the word "ab c".
    if (c == '"') return read_double(line, at, word);
    if (c == '\'') return read_single(line, at, word);
    word.push_back(c);
  }
  return true;
}

}  // namespace

std::optional<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while (true) {
    while (at < line.size() && is_blank(line[at])) ++at;
    if (at == line.size()) return words;
    std::string word;
    if (!read_word(line, at, word)) return std::nullopt;
    words.push_back(std::move(word));
  }
}

std::string quote_word(std::string_view word) {
  bool plain = !word.empty() && word.front() != '#';
  for (const char c : word) {
    if (c <= ' ' || c == '"' || c == '\'' || c == '\\' || c == 0x7f) plain = false;
  }
  if (plain) return std::string(word);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text.push_back('\\');
      text.push_back(c);
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\r') {
      text += "\\r";
    } else if (c == '\t') {
      text += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      text += "\\x";
      text.push_back(digits[byte >> 4]);
      text.push_back(digits[byte & 15]);
    } else {
      text.push_back(c);
    }
  }
  text.push_back('"');
  return text;
}

std::string joined_words(std::span<const std::string> words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text.push_back(' ');
    text += quote_word(word);
  }
  return text;
}

}  // namespace gyre
