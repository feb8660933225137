/* Loaded before libc (LD_PRELOAD): the Nth call that changes a folder fails, or ends the process, or does half of it and
 * ends the process. Also what libraries write that are not Python's (Parquet, safetensors) comes through here.
 *
 * fault_arm(folder, n, mode): from now on, of this process. 0 counts alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, ONCE, FROM_THEN_ON, KILL, HALF };

static char folder[4096];
static size_t length;
static long target;
static int mode, number;
static atomic_long calls;
static char fired[256];

void fault_arm(const char *path, long n, int how, int error) {
    strncpy(folder, path, sizeof folder - 1);
    target = n, mode = how, number = error;
    fired[0] = 0;
    atomic_store(&calls, 0);
    length = strlen(folder);
}
void fault_disarm(void) { length = 0; }
long fault_calls(void) { return atomic_load(&calls); }
const char *fault_fired(void) { return fired; }

static int inside(const char *path) {
    return length && path && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}
static int of(int fd, char *path, size_t size) {
    char link[64];
    if (!length || fd < 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return inside(path);
}
/* 0: go on; 1: fail with `number`; 2: do half, then die. */
static int due(const char *what, const char *path) {
    long n = atomic_fetch_add(&calls, 1) + 1;
    if (mode == COUNT || n < target || (n > target && mode != FROM_THEN_ON)) return 0;
    if (n == target) snprintf(fired, sizeof fired, "%s %s", what, path + length);
    if (mode == KILL || (mode == HALF && strcmp(what, "write"))) syscall(SYS_kill, getpid(), SIGKILL);
    if (mode == HALF) return 2;
    errno = number;
    return 1;
}
#define REAL(name, ret, ...) \
    static ret (*real)(__VA_ARGS__); \
    if (!real) real = (ret (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
#define WRITES (O_WRONLY | O_RDWR | O_CREAT)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); int m = va_arg(rest, int); va_end(rest); \
        if ((flags & WRITES) && inside(path) && due("open", path)) return -1; \
        return real(path, flags, m); \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(name, int, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); int m = va_arg(rest, int); va_end(rest); \
        if ((flags & WRITES) && inside(path) && due("open", path)) return -1; \
        return real(at, path, flags, m); \
    }
OPENAT(openat)
OPENAT(openat64)
#define FOPEN(name) \
    FILE *name(const char *path, const char *m) { \
        REAL(name, FILE *, const char *, const char *); \
        if (strpbrk(m, "wa+") && inside(path) && due("open", path)) return NULL; \
        return real(path, m); \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(write, ssize_t, int, const void *, size_t);
    char path[4096];
    if (of(fd, path, sizeof path)) switch (due("write", path)) {
        case 1: return -1;
        case 2: real(fd, data, n / 2); syscall(SYS_kill, getpid(), SIGKILL);
    }
    return real(fd, data, n);
}
#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t n, off_t at) { \
        REAL(name, ssize_t, int, const void *, size_t, off_t); \
        char path[4096]; \
        if (of(fd, path, sizeof path)) switch (due("write", path)) { \
            case 1: return -1; \
            case 2: real(fd, data, n / 2, at); syscall(SYS_kill, getpid(), SIGKILL); \
        } \
        return real(fd, data, n, at); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev, ssize_t, int, const struct iovec *, int);
    char path[4096];
    if (of(fd, path, sizeof path)) switch (due("write", path)) {
        case 1: return -1;
        case 2: real(fd, parts, n / 2); syscall(SYS_kill, getpid(), SIGKILL);
    }
    return real(fd, parts, n);
}
#define ON_FILE(name, what, params, args) \
    int name params { \
        REAL(name, int, int, ...); \
        char path[4096]; \
        if (of(fd, path, sizeof path) && due(what, path)) return -1; \
        return ((int (*) params)real) args; \
    }
ON_FILE(fsync, "fsync", (int fd), (fd))
ON_FILE(fdatasync, "fsync", (int fd), (fd))
ON_FILE(ftruncate, "truncate", (int fd, off_t n), (fd, n))
ON_FILE(ftruncate64, "truncate", (int fd, off_t n), (fd, n))
ON_FILE(fchmod, "chmod", (int fd, mode_t m), (fd, m))
#define ON_PATH(name, what, params, args) \
    int name params { \
        REAL(name, int, const char *, ...); \
        if (inside(path) && due(what, path)) return -1; \
        return ((int (*) params)real) args; \
    }
ON_PATH(unlink, "unlink", (const char *path), (path))
ON_PATH(mkdir, "mkdir", (const char *path, mode_t m), (path, m))
ON_PATH(chmod, "chmod", (const char *path, mode_t m), (path, m))
ON_PATH(rename, "rename", (const char *path, const char *to), (path, to))
int unlinkat(int at, const char *path, int flags) {
    REAL(unlinkat, int, int, const char *, int);
    if (inside(path) && due("unlink", path)) return -1;
    return real(at, path, flags);
}
int renameat(int at, const char *path, int there, const char *to) {
    REAL(renameat, int, int, const char *, int, const char *);
    if (inside(path) && due("rename", path)) return -1;
    return real(at, path, there, to);
}
