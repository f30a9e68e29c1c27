#include "config/sample.h"

#include <memory>

#include "config/config.h"

namespace gyre {
namespace {

constexpr std::size_t width = 96;

constexpr std::string_view opening =
    "Gyre's options, with their defaults. A line is a name and its value; the lines below are\n"
    "commented out because they say what holds anyway. Values with blanks stand in double quotes\n"
    "(\\n \\t \\\" \\xHH are known there) or single quotes. Bytes may be written with kb, mb, gb\n"
    "(powers of 1024) or k, m, g (powers of 1000). `include PATH` reads another file at this "
    "place;\n"
    "PATH may be a pattern, and starts from this file's folder.\n"
    "\n"
    "The same options can be given as environment variables (GYRE_MAX_CLOCK_SKEW=500) and on the\n"
    "command line (gyre-server gyre.conf --max-clock-skew 500). The command line overrides the\n"
    "environment, which overrides this file. CONFIG SET changes what is marked \"runtime\".\n"
    "\n"
    "This file is written by bin/gyre-conf from src/config/options.def.\n";

// Text as comment lines that end before the width.
void comment(std::string& out, std::string_view text) {
  std::string line = "#";
  for (const std::string& word : split_blanks(text)) {
    if (line.size() + 1 + word.size() > width) {
      out += line + "\n";
      line = "#";
    }
    line += " " + word;
  }
  out += line + "\n";
}

std::string rule(std::string_view title) {
  std::string line = "# ---- " + std::string(title) + " ";
  if (line.size() < width) line.append(width - line.size(), '-');
  return line + "\n";
}

std::string facts(const OptionSpec& spec) {
  std::string text;
  if (const std::string allowed = allowed_values(spec); !allowed.empty())
    text = "Allowed: " + allowed + ". ";
  for (const OptionAlias& alias : option_aliases()) {
    if (alias.option == spec.option) text += "Also called " + std::string(alias.name) + ". ";
  }
  if (spec.has(option_flag::ring)) return text + "Changes: runtime, on all nodes of the ring.";
  return text + (spec.has(option_flag::runtime) ? "Changes: runtime." : "Changes: at start.");
}

void option_paragraph(std::string& out, const Config& presets, const OptionSpec& spec) {
  out += "\n";
  if (spec.has(option_flag::compat)) {
    comment(out, "Accepted, without effect, because " + std::string(spec.help) + ".");
  } else {
    comment(out, spec.help);
  }
  comment(out, facts(spec));
  const auto lines = config_lines(presets, spec);
  for (const std::string& line : lines) out += "# " + line + "\n";
  if (lines.empty()) out += "# " + std::string(spec.name) + " ...\n";
}

}  // namespace

std::string sample_config() {
  const auto presets = std::make_unique<Config>();
  std::string out;
  std::string_view rest = opening;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    out += end == 0 ? "#" : "# " + std::string(rest.substr(0, end));
    out += "\n";
    rest.remove_prefix(end + 1);
  }
  for (const OptionSpec& spec : option_table()) {
    for (const OptionChapter& chapter : option_chapters()) {
      if (chapter.first != spec.option) continue;
      out += "\n" + rule(chapter.title);
      comment(out, chapter.text);
    }
    option_paragraph(out, *presets, spec);
  }
  return out;
}

}  // namespace gyre
