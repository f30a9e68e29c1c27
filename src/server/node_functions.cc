// The libraries of functions in the file DIR/functions: as FUNCTION DUMP gives them, and beside
// each code the names of its functions, so that no code has to run at the start.

#include "base/bytes.h"
#include "server/server.h"

namespace gyre {
namespace {

constexpr std::uint32_t functions_format = 1;

void put_flags(std::string& to, const Function& f) {
  put_varint(to, f.flag_names.size());
  for (const std::string& name : f.flag_names) put_bytes(to, name);
}

}  // namespace

Result<void> Server::save_functions() {
  if (!identity_files_) return {};
  const std::lock_guard lock(mutex_);
  std::string content;
  const auto libraries = scripts.libraries();
  put_varint(content, libraries->by_name.size());
  for (const auto& [name, library] : libraries->by_name) {
    put_bytes(content, library->code);
    put_varint(content, library->functions.size());
    for (const Function& f : library->functions) {
      put_bytes(content, f.name);
      put_varint(content, f.has_description);
      put_bytes(content, f.description);
      put_flags(content, f);
    }
  }
  return identity_files_->write("functions", "library", functions_format, content);
}

Result<void> Server::change_functions(const std::function<Result<void>(Libraries&)>& change) {
  for (;;) {
    const auto before = scripts.libraries();
    Libraries now = *before;
    if (Result<void> done = change(now); !done) return done;
    if (scripts.replace(before, std::move(now))) return save_functions();
    // Another thread was faster.
  }
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
    auto library = read_library(in.bytes());
    if (!library) return damaged;
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
    if (!all.add(std::make_shared<const Library>(std::move(*library)), false)) return damaged;
  }
  if (!in.finished()) return damaged;
  scripts.replace(scripts.libraries(), std::move(all));
  return {};
}

}  // namespace gyre
