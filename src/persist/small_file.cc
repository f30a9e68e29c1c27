#include "persist/small_file.h"

#include <cstdio>
#include <cstring>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "persist/file_io.h"

namespace gyre {
namespace {

constexpr std::size_t kind_bytes = 8;
constexpr std::size_t summed_header = 20;
constexpr std::size_t header_bytes = 28;
static_assert(header_bytes == summed_header + sizeof(std::uint64_t));
constexpr std::size_t content_max = 64u << 20;  // far above any ring; a limit for what read trusts

Error io_error(const std::string& path, const char* what, int error) {
  return {Errc::io, path + ": cannot " + what + ": " + std::strerror(error)};
}

std::uint64_t checksum(std::string_view header, std::string_view content) {
  return hash64(content, hash64(header));
}

Result<void> write_whole(const std::string& path, std::string_view bytes) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return io_error(path, "create", errno);
  while (!bytes.empty()) {
    const ssize_t n = ::write(file.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path, "write", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(file.get()) != 0) return io_error(path, "sync", errno);
  return {};
}

// Keeps the present content as path.old. The name itself stays in place, where links are supported.
Result<void> keep_previous(const std::string& path) {
  const std::string old = path + ".old";
  if (::unlink(old.c_str()) != 0 && errno != ENOENT) return io_error(old, "remove", errno);
  if (::link(path.c_str(), old.c_str()) == 0 || errno == ENOENT) return {};
  if (::rename(path.c_str(), old.c_str()) != 0) return io_error(path, "rename", errno);
  return {};
}

enum class Found : std::uint8_t { whole, damaged, absent };

// Reads one file. The error is what no other copy can mend: other kind, newer format.
Result<Found> read_one(const std::string& path, std::string_view kind, std::uint32_t max_format,
                       SmallFile& out) {
  const MappedFile file(path);
  if (!file.ok()) {
    if (file.error() == ENOENT) return Found::absent;
    return io_error(path, "read", file.error());
  }
  Reader reader(file.bytes());
  std::string_view found_kind = reader.raw(kind_bytes);
  const std::uint32_t format = reader.be32();
  const std::uint64_t length = reader.be64();
  const std::uint64_t sum = reader.be64();
  if (!reader.ok() || length > content_max || reader.left() != length) return Found::damaged;
  const std::string_view content = reader.rest();
  if (checksum(file.bytes().substr(0, summed_header), content) != sum) return Found::damaged;
  found_kind = found_kind.substr(0, found_kind.find('\0'));
  if (found_kind != kind) {
    return Error(Errc::corrupt, path + " holds '" + std::string(found_kind) + "' where '" +
                                    std::string(kind) + "' belongs: put the right file back");
  }
  if (format > max_format) {
    return Error(Errc::config, path + " has format " + std::to_string(format) +
                                   ", this program knows formats up to " +
                                   std::to_string(max_format) + ": run the newer version");
  }
  out.content = content;
  out.format = format;
  return Found::whole;
}

}  // namespace

Result<void> write_small_file(const std::string& path, std::string_view kind, std::uint32_t format,
                              std::string_view content) {
  GYRE_ASSERT(!kind.empty() && kind.size() <= kind_bytes);
  GYRE_ASSERT(content.size() <= content_max);
  std::string bytes(kind);
  bytes.resize(kind_bytes, '\0');
  put_be32(bytes, format);
  put_be64(bytes, content.size());
  put_be64(bytes, checksum(bytes, content));
  bytes.append(content);

  const std::string beside = path + ".new";
  if (auto wrote = write_whole(beside, bytes); !wrote) return wrote;
  if (auto kept = keep_previous(path); !kept) return kept;
  if (::rename(beside.c_str(), path.c_str()) != 0) return io_error(beside, "rename", errno);
  if (const int error = sync_folder(folder_of(path)); error != 0)
    return io_error(folder_of(path), "sync", error);
  return {};
}

Result<std::optional<SmallFile>> read_small_file(const std::string& path, std::string_view kind,
                                                 std::uint32_t max_format) {
  SmallFile file;
  const auto newest = read_one(path, kind, max_format, file);
  if (!newest) return newest.error();
  if (*newest == Found::whole) return std::optional(std::move(file));
  const auto previous = read_one(path + ".old", kind, max_format, file);
  if (!previous) return previous.error();
  if (*previous == Found::whole) {
    file.previous = true;
    return std::optional(std::move(file));
  }
  if (*newest == Found::absent && *previous == Found::absent) return std::optional<SmallFile>();
  return Error(
      Errc::corrupt,
      path + " is damaged and there is no whole " + path +
          ".old: restore it from a backup, or remove both files to start this node as a new one");
}

}  // namespace gyre
