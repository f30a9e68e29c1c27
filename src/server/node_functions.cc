// The libraries of functions in the file DIR/functions: as FUNCTION DUMP gives them, and beside
// each code the names of its functions, so that no code has to run at the start.

#include "base/assert.h"
#include "base/bytes.h"
#include "server/server.h"

namespace gyre {
namespace {

constexpr std::uint32_t functions_format = 1;

}  // namespace

Result<void> Server::save_functions() {
  if (!identity_files_) return {};
  const std::lock_guard lock(mutex_);
  std::string content;
  const auto libraries = scripts.libraries();
  put_varint(content, libraries->by_name.size());
  for (const auto& [name, library] : libraries->by_name) content += encode_library(*library);
  return identity_files_->write("functions", "library", functions_format, content);
}

Result<void> Server::change_functions(const std::function<Result<void>(Libraries&)>& change) {
  const auto lock = ring_settings.changing();
  const auto before = scripts.libraries();
  Libraries now = *before;
  if (Result<void> done = change(now); !done) return done;
  for (const auto& [name, library] : before->by_name) {
    if (!now.by_name.contains(name))
      ring_settings.changed(SettingKind::library, name, std::nullopt);
  }
  for (const auto& [name, library] : now.by_name) {
    const auto old = before->by_name.find(name);
    if (old == before->by_name.end() || old->second != library)
      ring_settings.changed(SettingKind::library, name, encode_library(*library));
  }
  replace_libraries(std::move(now));
  return save_functions();
}

void Server::replace_libraries(Libraries all) {
  const bool replaced = scripts.replace(scripts.libraries(), std::move(all));
  GYRE_ASSERT(replaced);  // the lock
}

Result<void> Server::load_functions() {
  if (!identity_files_) return {};
  auto file = identity_files_->read("functions", "library", functions_format);
  if (!file) return file.error();
  if (!*file) return {};
  const Error damaged(Errc::corrupt, identity_files_->path("functions") + " cannot be read");
  Reader in((*file)->content);
  Libraries all;
  for (std::uint64_t left = in.varint(); left > 0 && in.ok(); --left) {
    auto library = decode_library(in);
    if (!library) return damaged;
    if (!all.add(std::make_shared<const Library>(std::move(*library)), false)) return damaged;
  }
  if (!in.finished()) return damaged;
  scripts.replace(scripts.libraries(), std::move(all));
  return {};
}

}  // namespace gyre
