/* Kills the process at one of its changes to the files below a directory. Loaded by LD_PRELOAD; see kills.rs.
 *
 * KILL_UNDER  the directory
 * KILL_AT     the change before which the process dies, counted from 1; 0 counts only
 * KILL_TORN   if it is set and the change is a write, half of it is done first
 * KILL_COUNT  a file that is told, at a regular end, how many changes there were
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static long changes;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_below(const char *path) {
    const char *under = getenv("KILL_UNDER");
    size_t length = under ? strlen(under) : 0;
    return length && !strncmp(path, under, length) && (path[length] == '/' || !path[length]);
}

static int fd_path(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

/* Whether the next change is the last. */
static int is_last(void) {
    const char *at = getenv("KILL_AT");
    return __sync_add_and_fetch(&changes, 1) == (at ? atol(at) : 0);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void before(const char *path) {
    if (is_below(path) && is_last()) die();
}

static void before_at(int fd, const char *name) {
    char path[2 * PATH_MAX];
    if (name[0] == '/' || fd == AT_FDCWD) return before(name);
    if (!fd_path(fd, path)) return;
    strcat(strcat(path, "/"), name);
    before(path);
}

static void before_fd(int fd) {
    char path[PATH_MAX];
    if (fd_path(fd, path)) before(path);
}

/* Whether this write is the last change, and its first half is to be made. */
static int tears(int fd) {
    char path[PATH_MAX];
    if (!fd_path(fd, path) || !is_below(path) || !is_last()) return 0;
    if (!getenv("KILL_TORN")) die();
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (tears(fd)) {
        REAL(write)(fd, bytes, count / 2);
        die();
    }
    return REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (tears(fd)) {
        REAL(write)(fd, parts[0].iov_base, parts[0].iov_len / 2);
        die();
    }
    return REAL(writev)(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (tears(fd)) {
        REAL(pwrite64)(fd, bytes, count / 2, at);
        die();
    }
    return REAL(pwrite64)(fd, bytes, count, at);
}

#define ON_FD(name, parameters, arguments)                                                                             \
    int name parameters {                                                                                              \
        before_fd(fd);                                                                                                 \
        return REAL(name) arguments;                                                                                   \
    }
ON_FD(fsync, (int fd), (fd))
ON_FD(fdatasync, (int fd), (fd))
ON_FD(ftruncate64, (int fd, off64_t length), (fd, length))

#define ON_PATH(name, parameters, arguments)                                                                           \
    int name parameters {                                                                                              \
        before(path);                                                                                                  \
        return REAL(name) arguments;                                                                                   \
    }
ON_PATH(rename, (const char *path, const char *to), (path, to))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(rmdir, (const char *path), (path))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))

int unlinkat(int fd, const char *name, int flags) {
    before_at(fd, name);
    return REAL(unlinkat)(fd, name, flags);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_CREAT) before(path);
    return REAL(open64)(path, flags, mode);
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("KILL_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld", changes);
        fclose(file);
    }
}
