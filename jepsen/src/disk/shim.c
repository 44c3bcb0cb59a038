/* The shim of a Synod node under test: turned clocks, and disk calls that fail or dawdle.
 *
 * Loaded in front of the C library (LD_PRELOAD). It reads its dials from a page that it shares with the harness
 * (SYNOD_SHIM names the file), so that a running process can be harmed and healed at any moment, and counts there what
 * it did. The layout of the page is `struct page`, the same as in shim.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct page {
  /* dials, written by the harness */
  int64_t wall_offset_ns;    /* added to the wall clock */
  int64_t wall_strobe_ns;    /* added and taken away in turn */
  int64_t strobe_period_ns;  /* how long each turn is */
  int64_t wall_drift_ppm;    /* the wall clock runs so much too fast since drift_from_ns */
  int64_t drift_from_ns;     /* of the true monotonic clock */
  int64_t mono_drift_ppm;    /* the monotonic clock runs so much too fast since drift_from_ns */
  int64_t mono_gained_ns;    /* what it has gained in earlier drifts: it never runs backwards */
  int64_t sync_errors;       /* so many next syncs fail; below 0: all of them */
  int64_t sync_delay_us;     /* every sync takes so much longer */
  int64_t write_errors;      /* so many next writes at an offset fail; below 0: all of them */
  int64_t write_errno;       /* with this number */
  int64_t read_errors;       /* so many next reads at an offset fail; below 0: all of them */
  int64_t dials[4];
  /* tallies, written by the shim */
  int64_t clock_reads;       /* of a turned clock */
  int64_t syncs_failed;
  int64_t syncs_delayed;
  int64_t writes_failed;
  int64_t reads_failed;
  int64_t syncs_begun;
  int64_t syncs;             /* that have ended */
  int64_t sync_ns;           /* time that they took, all together */
};

static struct page nothing;
static struct page *page = &nothing;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static ssize_t (*real_pread64)(int, void *, size_t, off64_t);

__attribute__((constructor)) static void begin(void) {
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
  real_pread64 = dlsym(RTLD_NEXT, "pread64");
  const char *name = getenv("SYNOD_SHIM");
  if (!name) return;
  int file = open(name, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (at != MAP_FAILED) page = at;
}

#define DIAL(name) __atomic_load_n(&page->name, __ATOMIC_RELAXED)
#define TALLY(name) __atomic_fetch_add(&page->name, 1, __ATOMIC_RELAXED)

static int64_t true_ns(clockid_t clock) {
  struct timespec t;
  syscall(SYS_clock_gettime, clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t drifted(int64_t ppm) {
  if (!ppm) return 0;
  return (int64_t)((__int128)(true_ns(CLOCK_MONOTONIC) - DIAL(drift_from_ns)) * ppm / 1000000);
}

static int64_t wall_wrong(void) {
  int64_t wrong = DIAL(wall_offset_ns) + drifted(DIAL(wall_drift_ppm));
  int64_t strobe = DIAL(wall_strobe_ns), period = DIAL(strobe_period_ns);
  if (strobe && period > 0) wrong += (true_ns(CLOCK_MONOTONIC) / period) & 1 ? strobe : -strobe;
  return wrong;
}

static void shift(struct timespec *t, int64_t by) {
  int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + by;
  if (ns < 0) ns = 0;
  t->tv_sec = ns / 1000000000;
  t->tv_nsec = ns % 1000000000;
}

/* The fast path of the C library stays for clocks that are right. */
int clock_gettime(clockid_t clock, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, t);
  if (result) return result;
  int64_t by = 0;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) by = wall_wrong();
  else if (clock == CLOCK_MONOTONIC) by = DIAL(mono_gained_ns) + drifted(DIAL(mono_drift_ppm));
  if (by) {
    shift(t, by);
    TALLY(clock_reads);
  }
  return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

/* Takes one of the failures that are ordered; one below 0 is there for ever. */
static int fails(int64_t *dial) {
  int64_t left = __atomic_load_n(dial, __ATOMIC_RELAXED);
  while (left) {
    if (left < 0) return 1;
    if (__atomic_compare_exchange_n(dial, &left, left - 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return 1;
  }
  return 0;
}

/* Sockets and pipes are nobody's disk. */
static int is_file(int file) {
  struct stat about;
  return !fstat(file, &about) && (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode));
}

/* Whether this sync fails. As disks do, a later one of the same file then succeeds, though the bytes are lost. */
static int sync_fails(int file) {
  int64_t delay = DIAL(sync_delay_us);
  if (delay > 0) {
    TALLY(syncs_delayed);
    struct timespec t = {delay / 1000000, delay % 1000000 * 1000};
    nanosleep(&t, 0);
  }
  if (!DIAL(sync_errors) || !is_file(file) || !fails(&page->sync_errors)) return 0;
  TALLY(syncs_failed);
  errno = EIO;
  return 1;
}

static int sync_by(int (*real)(int), int file) {
  int64_t begun = true_ns(CLOCK_MONOTONIC);
  TALLY(syncs_begun);
  int result = sync_fails(file) ? -1 : real(file);
  int error = errno;
  __atomic_fetch_add(&page->sync_ns, true_ns(CLOCK_MONOTONIC) - begun, __ATOMIC_RELAXED);
  TALLY(syncs);
  errno = error;
  return result;
}

int fsync(int file) { return sync_by(real_fsync, file); }

int fdatasync(int file) { return sync_by(real_fdatasync, file); }

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at) {
  if (DIAL(write_errors) && is_file(file) && fails(&page->write_errors)) {
    TALLY(writes_failed);
    errno = (int)DIAL(write_errno);
    return -1;
  }
  return real_pwrite64(file, from, size, at);
}

ssize_t pwrite(int file, const void *from, size_t size, off_t at) { return pwrite64(file, from, size, at); }

ssize_t pread64(int file, void *to, size_t size, off64_t at) {
  if (DIAL(read_errors) && is_file(file) && fails(&page->read_errors)) {
    TALLY(reads_failed);
    errno = EIO;
    return -1;
  }
  return real_pread64(file, to, size, at);
}

ssize_t pread(int file, void *to, size_t size, off_t at) { return pread64(file, to, size, at); }
