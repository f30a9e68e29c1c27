#include "acl/catalog.h"

#include <algorithm>

#include "base/numbers.h"
#include "commands/command_command.h"
#include "commands/key_use.h"
#include "commands/table.h"

namespace gyre {
namespace {

constexpr std::string_view listeners = "SUBSCRIBE SSUBSCRIBE", publishers = "PUBLISH SPUBLISH";

CatalogRow describe(const CommandSpec& spec) {
  CatalogRow row;
  row.spec = &spec;
  row.listed = !(spec.flags & flag::internal);
  row.subcommand = spec.name.find('|') != std::string_view::npos;
  const std::vector<std::string_view> own = command_categories(spec);
  const auto all = command_category_names();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (std::find(own.begin(), own.end(), all[i]) != own.end()) row.categories |= 1u << i;
  }
  const KeyUse use = key_use(spec);
  row.keys = (spec.find_keys || spec.keys.first != 0) && use.first != "NOT_KEY";
  row.key_use_varies = has_word(use.first, "variable_flags");
  row.first = access_of(use.of(0));
  row.rest = access_of(use.of(1));
  row.one_channel = has_word(publishers, spec.name);
  if (row.one_channel || has_word(listeners, spec.name)) row.channels = Channels::names;
  if (spec.name == "PSUBSCRIBE") row.channels = Channels::patterns;
  return row;
}

}  // namespace

std::uint8_t access_of(std::string_view key_use) {
  std::uint8_t bits = has_word(key_use, "access") ? access::read : std::uint8_t{0};
  for (const std::string_view word : {"insert", "delete", "update"}) {
    if (has_word(key_use, word)) bits |= access::write;
  }
  return bits;
}

Catalog::Catalog() {
  for (const CommandSpec* spec : all_commands()) rows_.push_back(describe(*spec));
  for (const CatalogRow& row : rows_) {
    if (!row.listed) continue;
    const std::string_view name = row.spec->name;
    if (!row.subcommand) {
      top_level_.push_back(row.spec->index);
    } else if (const CommandSpec* parent = find_command(name.substr(0, name.find('|')))) {
      rows_[parent->index].subcommands.push_back(row.spec->index);
    }
  }
}

const Catalog& Catalog::get() {
  static const Catalog catalog;
  return catalog;
}

const CatalogRow* Catalog::find(std::string_view name) const {
  const CommandSpec* spec = find_command(name);
  return spec && row(*spec).listed ? &row(*spec) : nullptr;
}

std::optional<std::uint32_t> Catalog::category(std::string_view name) {
  const auto all = command_category_names();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (equals_ignore_case(all[i].substr(1), name)) return 1u << i;
  }
  return std::nullopt;
}

}  // namespace gyre
