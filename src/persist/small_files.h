// SmallFiles: the folder of a node's small files, as an interface, so that a simulated node has one
// of its own that survives its restarts.
//
// Threading: one user at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "persist/small_file.h"

namespace gyre {

class SmallFiles {
 public:
  virtual ~SmallFiles() = default;
  // As read_small_file() and write_small_file(), with the file's name in the folder.
  virtual Result<std::optional<SmallFile>> read(const std::string& name, std::string_view kind,
                                                std::uint32_t max_format) = 0;
  virtual Result<void> write(const std::string& name, std::string_view kind, std::uint32_t format,
                             std::string_view content) = 0;
  // Where a file lies, for messages to the user.
  virtual std::string path(const std::string& name) const = 0;
};

class FolderFiles final : public SmallFiles {
 public:
  explicit FolderFiles(std::string folder) : folder_(std::move(folder)) {}
  Result<std::optional<SmallFile>> read(const std::string& name, std::string_view kind,
                                        std::uint32_t max_format) override {
    return read_small_file(path(name), kind, max_format);
  }
  Result<void> write(const std::string& name, std::string_view kind, std::uint32_t format,
                     std::string_view content) override {
    return write_small_file(path(name), kind, format, content);
  }
  std::string path(const std::string& name) const override { return folder_ + "/" + name; }

 private:
  std::string folder_;
};

// Files of a simulated disk: they are there, whole, from one write to the next.
class MemoryFiles final : public SmallFiles {
 public:
  Result<std::optional<SmallFile>> read(const std::string& name, std::string_view,
                                        std::uint32_t max_format) override {
    const auto at = files_.find(name);
    if (at == files_.end()) return std::optional<SmallFile>();
    if (at->second.format > max_format) return Error(Errc::config, name + " has a newer format");
    return std::optional(at->second);
  }
  Result<void> write(const std::string& name, std::string_view, std::uint32_t format,
                     std::string_view content) override {
    if (failing) return Error(Errc::io, name + ": the disk is full");
    files_[name] = {.content = std::string(content), .format = format};
    return {};
  }
  std::string path(const std::string& name) const override { return name; }
  void wipe() { files_.clear(); }

  bool failing = false;  // a disk that takes no more

 private:
  std::map<std::string, SmallFile> files_;
};

}  // namespace gyre
