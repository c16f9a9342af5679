/* Counts the calls of a process that change a data root, and kills the process or fails the call at a chosen one.
   Loaded before the C library (LD_PRELOAD) by `make trial`; nothing happens until `trial_arm` is called. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, BEFORE, AFTER, HALF, ONCE, FROM_NOW_ON };

static char root[4096], within[4096], kinds[256];
static size_t root_length;
static int armed, how, number, trace = -1, reached;
static long at, seen;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* `folder`: the data root. `part`: only paths below the root that begin so are counted. `which`: the kinds counted,
   each between blanks; all if empty. At the `nth` of them `what` happens; with an error, it is `error`. */
void trial_arm(const char *folder, const char *part, const char *which, long nth, int what, int error, int listing) {
    snprintf(root, sizeof root, "%s/", folder);
    root_length = strlen(root);
    snprintf(within, sizeof within, "%s", part);
    snprintf(kinds, sizeof kinds, "%s", which);
    at = nth, how = what, number = error, trace = listing, seen = 0, reached = 0, armed = 1;
}

int trial_reached(void) { return reached; }

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, path, size - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

static void whole_path(int folder, const char *name, char *path, size_t size) {
    char base[3000] = "";
    if (name && name[0] != '/') {
        if (folder == AT_FDCWD) { if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0; }
        else path_of(folder, base, sizeof base);
    }
    snprintf(path, size, "%s%s%s", base, base[0] ? "/" : "", name ? name : "");
}

/* What is to happen at a call of a kind on a path: COUNT if it is to go on as if nothing were. */
static int judge(const char *kind, const char *path) {
    if (strncmp(path, root, root_length)) return COUNT;
    const char *rest = path + root_length;
    char padded[32];
    snprintf(padded, sizeof padded, " %s ", kind);
    int mine = !strncmp(rest, within, strlen(within)) && (!kinds[0] || strstr(kinds, padded));
    int answer = COUNT;
    pthread_mutex_lock(&one_at_a_time);
    if (how == FROM_NOW_ON && reached) answer = ONCE;
    if (mine) {
        seen++;
        if (trace >= 0) {
            char line[4200];
            int length = snprintf(line, sizeof line, "%s %s\n", kind, rest);
            syscall(SYS_write, trace, line, length);
        }
        if (how != COUNT && seen == at) {
            reached = 1;
            answer = how == FROM_NOW_ON ? ONCE : how;
        }
    }
    pthread_mutex_unlock(&one_at_a_time);
    return answer;
}

static int of_fd(const char *kind, int fd) {
    char path[4096];
    if (!armed || fd < 0 || fd == trace || !path_of(fd, path, sizeof path)) return COUNT;
    return judge(kind, path);
}

static int of_name(const char *kind, int folder, const char *name) {
    char path[4096];
    if (!armed) return COUNT;
    whole_path(folder, name, path, sizeof path);
    return judge(kind, path);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define CALL(type, asked, call) \
    int what = asked; \
    if (what == BEFORE || what == HALF) die(); \
    if (what == ONCE) { errno = number; return -1; } \
    type done = call; \
    if (what == AFTER) die(); \
    return done

#define WRITER(name, last, ...) \
    ssize_t name(int fd, const void *data, size_t size last) { \
        REAL(name); \
        int what = of_fd("write", fd); \
        if (what == BEFORE) die(); \
        if (what == ONCE) { errno = number; return -1; } \
        ssize_t done = real(fd, data, what == HALF ? size / 2 : size __VA_ARGS__); \
        if (what == HALF || what == AFTER) die(); \
        return done; \
    }
#define COMMA ,
WRITER(write, )
WRITER(pwrite, COMMA off_t where, , where)
WRITER(pwrite64, COMMA off64_t where, , where)

ssize_t writev(int fd, const struct iovec *data, int n) { REAL(writev); CALL(ssize_t, of_fd("write", fd), real(fd, data, n)); }
ssize_t pwritev(int fd, const struct iovec *data, int n, off_t where) { REAL(pwritev); CALL(ssize_t, of_fd("write", fd), real(fd, data, n, where)); }
ssize_t pwritev64(int fd, const struct iovec *data, int n, off64_t where) { REAL(pwritev64); CALL(ssize_t, of_fd("write", fd), real(fd, data, n, where)); }
ssize_t sendfile(int out, int in, off_t *where, size_t n) { REAL(sendfile); CALL(ssize_t, of_fd("write", out), real(out, in, where, n)); }
ssize_t sendfile64(int out, int in, off64_t *where, size_t n) { REAL(sendfile64); CALL(ssize_t, of_fd("write", out), real(out, in, where, n)); }
ssize_t copy_file_range(int in, off64_t *a, int out, off64_t *b, size_t n, unsigned flags) { REAL(copy_file_range); CALL(ssize_t, of_fd("write", out), real(in, a, out, b, n, flags)); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); CALL(int, of_fd("write", fd), real(fd, size)); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); CALL(int, of_fd("write", fd), real(fd, size)); }
int fsync(int fd) { REAL(fsync); CALL(int, of_fd("fsync", fd), real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); CALL(int, of_fd("fsync", fd), real(fd)); }
int rename(const char *a, const char *b) { REAL(rename); CALL(int, of_name("rename", AT_FDCWD, b), real(a, b)); }
int renameat(int x, const char *a, int y, const char *b) { REAL(renameat); CALL(int, of_name("rename", y, b), real(x, a, y, b)); }
int renameat2(int x, const char *a, int y, const char *b, unsigned f) { REAL(renameat2); CALL(int, of_name("rename", y, b), real(x, a, y, b, f)); }
int link(const char *a, const char *b) { REAL(link); CALL(int, of_name("rename", AT_FDCWD, b), real(a, b)); }
int linkat(int x, const char *a, int y, const char *b, int f) { REAL(linkat); CALL(int, of_name("rename", y, b), real(x, a, y, b, f)); }
int mkdir(const char *a, mode_t mode) { REAL(mkdir); CALL(int, of_name("mkdir", AT_FDCWD, a), real(a, mode)); }
int mkdirat(int x, const char *a, mode_t mode) { REAL(mkdirat); CALL(int, of_name("mkdir", x, a), real(x, a, mode)); }

/* A full disk lets things be removed; only a kill is made here. */
#define REMOVER(asked, call) \
    int what = armed && how != ONCE && how != FROM_NOW_ON ? asked : COUNT; \
    if (what == BEFORE || what == HALF) die(); \
    int done = call; \
    if (what == AFTER) die(); \
    return done
int unlink(const char *a) { REAL(unlink); REMOVER(of_name("remove", AT_FDCWD, a), real(a)); }
int unlinkat(int x, const char *a, int f) { REAL(unlinkat); REMOVER(of_name("remove", x, a), real(x, a, f)); }
int rmdir(const char *a) { REAL(rmdir); REMOVER(of_name("remove", AT_FDCWD, a), real(a)); }

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define WRITES (flags & (O_WRONLY | O_RDWR | O_CREAT))
int open(const char *a, int flags, ...) { REAL(open); MODE CALL(int, WRITES ? of_name("open", AT_FDCWD, a) : COUNT, real(a, flags, mode)); }
int open64(const char *a, int flags, ...) { REAL(open64); MODE CALL(int, WRITES ? of_name("open", AT_FDCWD, a) : COUNT, real(a, flags, mode)); }
int openat(int x, const char *a, int flags, ...) { REAL(openat); MODE CALL(int, WRITES ? of_name("open", x, a) : COUNT, real(x, a, flags, mode)); }
int openat64(int x, const char *a, int flags, ...) { REAL(openat64); MODE CALL(int, WRITES ? of_name("open", x, a) : COUNT, real(x, a, flags, mode)); }
