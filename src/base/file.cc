#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <sys/stat.h>

#include "base/numbers.h"

namespace gyre {
namespace {

Error failed() {
  return {Errc::io, std::strerror(errno)};
}

Result<void> write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(file, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(file) != 0) return failed();
  return {};
}

}  // namespace

Result<void> replace_file(const std::string& path, std::string_view text) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(path, error);
  if (error) return Error(Errc::io, error.message());
  const std::string beside = real.string() + ".rewrite-" + format_int(::getpid());
  struct stat old {};
  const mode_t mode = ::stat(real.c_str(), &old) == 0 ? old.st_mode & 0777 : 0600;
  const int file =
      ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
  if (file < 0) return failed();
  auto written = write_all(file, text);
  if (written && ::fchmod(file, mode) != 0) written = failed();
  if (::close(file) != 0 && written) written = failed();
  if (written && ::rename(beside.c_str(), real.c_str()) != 0) written = failed();
  if (!written) {
    ::unlink(beside.c_str());
    return written;
  }
  // The rename itself must reach the disk; the file is in place whether this works or not.
  const int folder = ::open(real.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

}  // namespace gyre
