// The shim of the system tests: faults of clock and disk inside an unchanged server.
//
//   LD_PRELOAD=build/shim/shim.so SHIM_CONTROL=file gyre-server ...
//
// Everything is switched while the server runs, through the control file: an array of 64-bit
// numbers that both sides map (`enum field`, and tests/system/shim.py). Own code instead of
// libfaketime because that one aborts under jemalloc: an allocator reads the clock while it starts,
// and looking up the real function then allocates again. Here nothing is looked up before the
// constructor has run; until then the system call is made directly.
//
// What was synced is logged (SHIM_SYNCED): inode, time of birth and length at each good fsync.
// After a kill the test cuts files back to these lengths, which is what a power cut leaves of them.
//
// Limits: programs linked statically, writes by stdio (logs) and mapped files are not seen.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum field {
  clock_offset_us,  // added to the wall clock; a change is a jump
  clock_drift_ppm,  // and so much per second of the monotonic clock since
  clock_drift_from_us,
  sync_delay_us,  // each fsync and fdatasync takes so much longer
  sync_error,     // and then fails with this errno
  write_error,    // writes to files of the directory fail with this errno
  space_left,     // so many more bytes fit into the directory; below 0: no bound
  syncs_done,     // counters, written by the shim
  syncs_failed,
  writes_failed,
  fields
};

static int64_t* control;  // null: no faults
static char directory[4096];
static size_t directory_length;
static int synced_fd = -1;
static const char* boot_id;

static int (*real_clock_gettime)(clockid_t, struct timespec*);
static FILE* (*real_fopen)(const char*, const char*);

static int64_t get(enum field f) {
  return control ? __atomic_load_n(&control[f], __ATOMIC_RELAXED) : 0;
}
static void count(enum field f) {
  if (control) __atomic_add_fetch(&control[f], 1, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void start(void) {
  real_clock_gettime = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  real_fopen = (FILE * (*)(const char*, const char*)) dlsym(RTLD_NEXT, "fopen");
  boot_id = getenv("SHIM_BOOT_ID");
  const char* path = getenv("SHIM_SYNCED");
  if (path) synced_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  path = getenv("SHIM_DIRECTORY");
  if (path && strlen(path) + 2 < sizeof directory) {
    directory_length = (size_t)snprintf(directory, sizeof directory, "%s/", path);
  }
  path = getenv("SHIM_CONTROL");
  const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void* at = mmap(NULL, fields * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED) control = at;
}

// ---- clocks

static int kernel_clock(clockid_t id, struct timespec* t) {
  return real_clock_gettime ? real_clock_gettime(id, t)
                            : (int)syscall(SYS_clock_gettime, id, t);
}

static int64_t shift_us(void) {
  const int64_t drift = get(clock_drift_ppm), offset = get(clock_offset_us);
  if (drift == 0) return offset;
  struct timespec t;
  kernel_clock(CLOCK_MONOTONIC, &t);
  const int64_t now_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
  return offset + (now_us - get(clock_drift_from_us)) / 1000 * drift / 1000;
}

int clock_gettime(clockid_t id, struct timespec* t) {
  const int result = kernel_clock(id, t);
  if (result != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return result;
  const int64_t shift = shift_us();
  if (shift == 0) return result;
  const int64_t ns = t->tv_nsec + shift % 1000000 * 1000;
  t->tv_sec += shift / 1000000 + (ns >= 1000000000 ? 1 : 0) - (ns < 0 ? 1 : 0);
  t->tv_nsec = (ns + 1000000000) % 1000000000;
  return result;
}

int gettimeofday(struct timeval* restrict t, void* restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec* t, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, t) == 0 ? base : 0;
}

// ---- syncing

static void log_synced(const struct statx* before) {
  const uint64_t birth =
      (uint64_t)before->stx_btime.tv_sec * 1000000000u + before->stx_btime.tv_nsec;
  const uint64_t line[3] = {before->stx_ino, birth, before->stx_size};
  // One append of 24 bytes is not torn by other threads. Nothing sensible is left to do on failure.
  if (syscall(SYS_write, synced_fd, line, sizeof line) != (long)sizeof line) synced_fd = -1;
}

static int sync_file(int fd, long call) {
  const int64_t delay = get(sync_delay_us);
  if (delay > 0) usleep((useconds_t)delay);
  const int64_t error = get(sync_error);
  if (error != 0) {
    count(syncs_failed);
    errno = (int)error;
    return -1;
  }
  // The length before the call: what another thread appends meanwhile may or may not be synced.
  struct statx info;
  const int known = synced_fd >= 0 &&
                    statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &info) == 0 &&
                    S_ISREG(info.stx_mode);
  const int result = (int)syscall(call, fd);
  if (result == 0) count(syncs_done);
  if (result == 0 && known) log_synced(&info);
  return result;
}

int fsync(int fd) {
  return sync_file(fd, SYS_fsync);
}
int fdatasync(int fd) {
  return sync_file(fd, SYS_fdatasync);
}

// ---- writing

static int in_directory(int fd) {
  struct stat info;
  if (directory_length == 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  char link[64], path[sizeof directory];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path);
  return n >= (ssize_t)directory_length && memcmp(path, directory, directory_length) == 0;
}

static ssize_t fail(int64_t error) {
  count(writes_failed);
  errno = (int)error;
  return -1;
}

// How many of these bytes may be written; -1 with errno when none.
static ssize_t allowed(int fd, size_t bytes) {
  const int64_t error = get(write_error);
  int64_t left = control ? get(space_left) : -1;
  if ((error == 0 && left < 0) || bytes == 0 || !in_directory(fd)) return (ssize_t)bytes;
  if (error != 0) return fail(error);
  for (;;) {
    if (left < 0) return (ssize_t)bytes;
    if (left == 0) return fail(ENOSPC);
    const int64_t taken = left < (int64_t)bytes ? left : (int64_t)bytes;
    if (__atomic_compare_exchange_n(&control[space_left], &left, left - taken, 0,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      return (ssize_t)taken;
    }
  }
}

ssize_t write(int fd, const void* from, size_t bytes) {
  const ssize_t n = allowed(fd, bytes);
  return n < 0 ? n : syscall(SYS_write, fd, from, (size_t)n);
}

ssize_t pwrite64(int fd, const void* from, size_t bytes, off64_t at) {
  const ssize_t n = allowed(fd, bytes);
  return n < 0 ? n : syscall(SYS_pwrite64, fd, from, (size_t)n, at);
}
ssize_t pwrite(int fd, const void* from, size_t bytes, off_t at) {
  return pwrite64(fd, from, bytes, at);
}

// Whole or not at all: sockets use it all the time, files hardly ever.
ssize_t writev(int fd, const struct iovec* parts, int n) {
  size_t bytes = 0;
  for (int i = 0; i < n; ++i) bytes += parts[i].iov_len;
  const ssize_t fits = allowed(fd, bytes);
  if (fits < 0) return fits;
  if ((size_t)fits < bytes) return fail(ENOSPC);
  return syscall(SYS_writev, fd, parts, n);
}

// ---- another boot of the machine

static const char* redirected(const char* path) {
  return boot_id && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? boot_id : path;
}

FILE* fopen(const char* restrict path, const char* restrict mode) {
  if (!real_fopen) real_fopen = (FILE * (*)(const char*, const char*)) dlsym(RTLD_NEXT, "fopen");
  return real_fopen(redirected(path), mode);
}
FILE* fopen64(const char* restrict path, const char* restrict mode) {
  return fopen(path, mode);
}

int open64(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (__OPEN_NEEDS_MODE(flags)) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  return (int)syscall(SYS_openat, AT_FDCWD, redirected(path), flags, mode);
}
int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (__OPEN_NEEDS_MODE(flags)) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  return open64(path, flags, mode);
}
