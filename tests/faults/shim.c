// Stands between a process and the C library: counts the calls that change files under one folder, and at a chosen
// one kills the process (before the call, or after half of it) or lets the call fail. Armed from within the process.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { OFF = 0, COUNT = 1, KILL = 2, TORN = 3, FAIL = 4, FAIL_ON = 5 };
static int mode = OFF, code = 0, log_to = -1;
static long at = 0, seen = 0;
static char root[PATH_MAX];
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

void shim_arm(int new_mode, long number, int error, const char *folder, int log_fd) {
    mode = new_mode; at = number; code = error; seen = 0; log_to = log_fd;
    strncpy(root, folder, sizeof root - 1);
}
long shim_seen(void) { return seen; }

static int ours(const char *path) { return path && strncmp(path, root, strlen(root)) == 0; }
static int ours_fd(int fd, char *path) {
    char link[64]; snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return ours(path);
}
static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

// 0: go on; 1: fail with `code`; 2: do half of it, then die.
static int step(const char *call, const char *path) {
    if (mode == OFF) return 0;
    pthread_mutex_lock(&one);
    long mine = ++seen;
    if (log_to >= 0) {
        char line[PATH_MAX + 64];
        int n = snprintf(line, sizeof line, "%ld %s %s\n", mine, call, path + strlen(root));
        static ssize_t (*plain)(int, const void *, size_t);
        if (!plain) plain = dlsym(RTLD_NEXT, "write");
        plain(log_to, line, n);
    }
    pthread_mutex_unlock(&one);
    if (mode == KILL && mine == at) die();
    if (mode == TORN && mine == at) return 2;
    if ((mode == FAIL && mine == at) || (mode == FAIL_ON && mine >= at)) return 1;
    return 0;
}
#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define FD_STEP(call) char path[PATH_MAX]; int what = mode != OFF && ours_fd(fd, path) ? step(call, path) : 0; \
    if (what == 1) { errno = code; return -1; }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write); FD_STEP("write");
    if (what == 2) { real(fd, data, size / 2); die(); }
    return real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t place) {
    REAL(pwrite); FD_STEP("pwrite");
    if (what == 2) { real(fd, data, size / 2, place); die(); }
    return real(fd, data, size, place);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t place) {
    REAL(pwrite64); FD_STEP("pwrite");
    if (what == 2) { real(fd, data, size / 2, place); die(); }
    return real(fd, data, size, place);
}
int fsync(int fd) { REAL(fsync); FD_STEP("fsync"); if (what == 2) die(); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FD_STEP("fdatasync"); if (what == 2) die(); return real(fd); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); FD_STEP("truncate"); if (what == 2) die(); return real(fd, size); }
int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64); FD_STEP("truncate"); if (what == 2) die(); return real(fd, size);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    int what = mode != OFF && ours(to) ? step("rename", to) : 0;
    if (what == 1) { errno = code; return -1; }
    if (what == 2) { real(from, to); die(); }
    return real(from, to);
}
int unlink(const char *path) {
    REAL(unlink);
    int what = mode != OFF && ours(path) ? step("unlink", path) : 0;
    if (what == 1) { errno = code; return -1; }
    if (what == 2) { real(path); die(); }
    return real(path);
}
