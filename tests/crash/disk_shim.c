/* A disk that fails at the n-th durable call: preloaded into a Python process, armed by ctypes, compiled by the tests.

   Counted are write, pwrite, fsync, fdatasync, ftruncate, rename, unlink, link and mkdir on files below one directory.
   At call number `at` (with `forever`, at it and at every later one):

     kill    SIGKILL before the call
     tear    half of a write, or the whole of another call, then SIGKILL
     eio, enospc, edquot    the call does nothing and returns the error
     half    half of a write, and its true count: what POSIX allows

   With a trace, every call is recorded after it was done: a line of text with its number, then the bytes of a write. So is
   every opening that makes a file, or empties one; it has no number of its own. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char below[PATH_MAX];
static char action[16];
static long at, count;
static int forever, trace = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void disk_shim_arm(const char *directory, long at_call, const char *does, int always, const char *trace_file) {
    snprintf(below, sizeof below, "%s", directory);
    snprintf(action, sizeof action, "%s", does);
    at = at_call;
    count = 0;
    forever = always;
    trace = *trace_file ? open(trace_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
}

long disk_shim_count(void) { return count; }

static void record(const char *kind, const char *path, const char *to, long offset, const void *data, size_t size) {
    if (trace < 0) return;
    char line[3 * PATH_MAX];
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\t%ld\t%zu\t%ld\n", kind, path, to, offset, size, count);
    REAL(write)(trace, line, (size_t)length);
    if (data) REAL(write)(trace, data, size);
}

/* The caller's own remark in the trace, such as "acknowledged". */
void disk_shim_mark(long number) { record("mark", "", "", number, NULL, 0); }

static int watched(const char *path) {
    size_t length = strlen(below);
    return length && !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

static int watched_descriptor(int descriptor, char *path) {
    if (!*below) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return watched(path);
}

enum { GO_ON, FAIL, HALF, TEAR };

static int due(void) {
    count++;
    if (!at || (forever ? count < at : count != at)) return GO_ON;
    if (!strcmp(action, "kill")) raise(SIGKILL);
    if (!strcmp(action, "tear")) return TEAR;
    if (!strcmp(action, "half")) return HALF;
    errno = !strcmp(action, "enospc") ? ENOSPC : !strcmp(action, "edquot") ? EDQUOT : EIO;
    return FAIL;
}

static ssize_t written(int descriptor, const void *data, size_t size, off64_t offset) {
    return offset < 0 ? REAL(write)(descriptor, data, size) : REAL(pwrite64)(descriptor, data, size, offset);
}

static ssize_t writing(int descriptor, const void *data, size_t size, off64_t offset) {
    char path[PATH_MAX];
    int error = errno;
    if (!watched_descriptor(descriptor, path)) {
        errno = error;
        return written(descriptor, data, size, offset);
    }
    int what = due();
    if (what == FAIL) return -1;
    long where = offset < 0 ? lseek(descriptor, 0, SEEK_CUR) : offset;
    ssize_t done = written(descriptor, data, what == GO_ON ? size : size / 2, offset);
    if (what == TEAR) raise(SIGKILL);
    if (done > 0) record("write", path, "", where, data, (size_t)done);
    return done;
}

ssize_t write(int descriptor, const void *data, size_t size) { return writing(descriptor, data, size, -1); }
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) { return writing(descriptor, data, size, offset); }
ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) { return writing(descriptor, data, size, offset); }

#define ON_DESCRIPTOR(call, kind, size)                              \
    char path[PATH_MAX];                                             \
    if (!watched_descriptor(descriptor, path)) return call;          \
    int what = due();                                                \
    if (what == FAIL) return -1;                                     \
    int result = call;                                               \
    if (what == TEAR) raise(SIGKILL);                                \
    if (!result) record(kind, path, "", size, NULL, 0);              \
    return result;

int fsync(int descriptor) { ON_DESCRIPTOR(REAL(fsync)(descriptor), "sync", 0) }
int fdatasync(int descriptor) { ON_DESCRIPTOR(REAL(fdatasync)(descriptor), "sync", 0) }
int ftruncate(int descriptor, off_t size) { ON_DESCRIPTOR(REAL(ftruncate)(descriptor, size), "truncate", size) }
int ftruncate64(int descriptor, off64_t size) { ON_DESCRIPTOR(REAL(ftruncate64)(descriptor, size), "truncate", size) }

#define ON_PATH(call, kind, path, to)                                \
    if (!watched(path)) return call;                                 \
    int what = due();                                                \
    if (what == FAIL) return -1;                                     \
    int result = call;                                               \
    if (what == TEAR) raise(SIGKILL);                                \
    if (!result) record(kind, path, to, 0, NULL, 0);                 \
    return result;

int rename(const char *path, const char *to) { ON_PATH(REAL(rename)(path, to), "rename", path, to) }
int link(const char *path, const char *to) { ON_PATH(REAL(link)(path, to), "link", path, to) }
int unlink(const char *path) { ON_PATH(REAL(unlink)(path), "unlink", path, "") }
int mkdir(const char *path, mode_t mode) { ON_PATH(REAL(mkdir)(path, mode), "mkdir", path, "") }

#define OPENING(name)                                                                              \
    int name(const char *path, int flags, ...) {                                                   \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        int tells = trace >= 0 && watched(path);                                                   \
        int new = tells && flags & O_CREAT && access(path, F_OK);                                  \
        int descriptor = REAL(name)(path, flags, mode);                                            \
        if (tells && descriptor >= 0 && new) record("create", path, "", 0, NULL, 0);               \
        if (tells && descriptor >= 0 && !new && flags & O_TRUNC) record("truncate", path, "", 0, NULL, 0); \
        return descriptor;                                                                         \
    }

OPENING(open)
OPENING(open64)
