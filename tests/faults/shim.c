/* Preloaded before libc: counts what a process does to files below one folder, and makes it fail there.

   Only calls that change something count: open for writing, write, fsync, rename, mkdir, unlink, rmdir, ftruncate. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[PATH_MAX];
static long count, cut = -1, failing = -1, room = -1;
static int failure, journal = -1;

void shim_start(const char *folder, long cut_at, long fail_at, int code, long bytes, int record_to) {
  snprintf(root, sizeof root, "%s", folder);
  count = 0, cut = cut_at, failing = fail_at, failure = code, room = bytes, journal = record_to;
}

long shim_count(void) { return count; }

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static int inside(const char *path) {
  if (!root[0] || !path) return 0;
  char whole[PATH_MAX + 1];
  if (path[0] != '/') {
    if (!getcwd(whole, sizeof whole)) return 0;
    strncat(whole, "/", sizeof whole - strlen(whole) - 1);
    strncat(whole, path, sizeof whole - strlen(whole) - 1);
    path = whole;
  }
  return strncmp(path, root, strlen(root)) == 0;
}

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, PATH_MAX - 1);
  path[size > 0 ? size : 0] = 0;
  return size > 0 && inside(path);
}

/* One more call: 0 to go on, -1 to fail with errno set. */
static int step(const char *name, const char *path, const char *other) {
  count++;
  if (count == cut) _exit(77);
  if (journal >= 0) {
    char line[2 * PATH_MAX + 64];
    int size = snprintf(line, sizeof line, "%s\t%s\t%s\n", name, path, other ? other : "");
    if (REAL(write)(journal, line, size) != size) _exit(78);
  }
  if (count == failing) {
    errno = failure;
    return -1;
  }
  return 0;
}

static int changes(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0; }

#define OPEN(name)                                                     \
  int name(const char *path, int flags, ...) {                         \
    mode_t mode = 0;                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                               \
      va_list rest;                                                    \
      va_start(rest, flags);                                           \
      mode = va_arg(rest, mode_t);                                     \
      va_end(rest);                                                    \
    }                                                                  \
    if (changes(flags) && inside(path) && step("open", path, 0)) return -1; \
    return REAL(name)(path, flags, mode);                              \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size) {
  char path[PATH_MAX];
  if (fd > 2 && fd != journal && path_of(fd, path)) {
    if (step("write", path, 0)) return -1;
    if (room >= 0) {
      if (room == 0 && size) return errno = ENOSPC, -1;
      if ((long)size > room) size = room;
      room -= size;
    }
  }
  return REAL(write)(fd, data, size);
}

int fsync(int fd) {
  char path[PATH_MAX];
  if (path_of(fd, path) && step("fsync", path, 0)) return -1;
  return REAL(fsync)(fd);
}

int rename(const char *from, const char *to) {
  if ((inside(from) || inside(to)) && step("rename", from, to)) return -1;
  return REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
  if (inside(path) && step("mkdir", path, 0)) return -1;
  return REAL(mkdir)(path, mode);
}

int unlink(const char *path) {
  if (inside(path) && step("unlink", path, 0)) return -1;
  return REAL(unlink)(path);
}

int rmdir(const char *path) {
  if (inside(path) && step("rmdir", path, 0)) return -1;
  return REAL(rmdir)(path);
}

int unlinkat(int fd, const char *name, int flags) {
  char path[PATH_MAX];
  if (fd != AT_FDCWD && path_of(fd, path)) {
    strncat(path, "/", sizeof path - strlen(path) - 1);
    strncat(path, name, sizeof path - strlen(path) - 1);
    if (step(flags & AT_REMOVEDIR ? "rmdir" : "unlink", path, 0)) return -1;
  }
  return REAL(unlinkat)(fd, name, flags);
}

#define TRUNCATE(name, type)                                 \
  int name(int fd, type size) {                              \
    char path[PATH_MAX];                                     \
    if (path_of(fd, path) && step("truncate", path, 0)) return -1; \
    return REAL(name)(fd, size);                             \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)
