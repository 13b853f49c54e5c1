// Memory: mmap and its kin, locked memory, memfd_create and seals.
#include "calls.h"
#include <setjmp.h>
#include <sys/sysmacros.h>

#define PAGE 4096ul
static char *map(size_t len, int prot, int flags, int fd, off_t at) { return mmap(NULL, len, prot, flags, fd, at); }
static char *anon(size_t len) {
  char *m = map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  HOLDS(m != MAP_FAILED);
  return m;
}
static char *shared(int fd, size_t len) {
  char *m = map(len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  HOLDS(m != MAP_FAILED);
  return m;
}
#define MMAP(...) ((long)mmap(__VA_ARGS__))
static sigjmp_buf back;
static volatile int code;
static void *volatile at;
static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  code = info->si_code, at = info->si_addr;
  siglongjmp(back, signal);
}
// The signal touching an address raises; 0 for none.
static int touch(volatile char *m, bool write) {
  struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &a, NULL), sigaction(SIGBUS, &a, NULL);
  int signal = sigsetjmp(back, 1);
  if (signal) return signal;
  if (write) *m = 1;
  else (void)*m;
  return 0;
}

CASE("mmap", "gives zeros") {
  char *m = anon(PAGE);
  HOLDS(m[0] == 0 && m[PAGE - 1] == 0);
}
CASE("mmap", "of length 0 is EINVAL") { FAILS(EINVAL, MMAP(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)); }
CASE("mmap", "neither shared nor private is EINVAL") {
  FAILS(EINVAL, MMAP(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
}
CASE("mmap", "at an odd offset is EINVAL") {
  FAILS(EINVAL, syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, file_with("x"), 100));
}
CASE("mmap", "of more than all addresses is ENOMEM") {
  FAILS(ENOMEM, MMAP(NULL, 1ul << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
CASE("mmap", "of a bad descriptor is EBADF") { FAILS(EBADF, MMAP(NULL, PAGE, PROT_READ, MAP_PRIVATE, NO_FD, 0)); }
CASE("mmap", "of a file not open for reading is EACCES") {
  FAILS(EACCES, MMAP(NULL, PAGE, PROT_READ, MAP_PRIVATE, OK(open("x", O_CREAT | O_WRONLY, 0600)), 0));
}
CASE("mmap", "shared and writable of a file open for reading is EACCES") {
  write_file("x", "");
  FAILS(EACCES, MMAP(NULL, PAGE, PROT_WRITE, MAP_SHARED, OK(open("x", O_RDONLY)), 0));
}
CASE("mmap", "of a pipe is ENODEV") {
  int p[2];
  OK(pipe(p));
  FAILS(ENODEV, MMAP(NULL, PAGE, PROT_READ, MAP_PRIVATE, p[0], 0));
}
CASE("mmap", "of a directory is ENODEV") {
  FAILS(ENODEV, MMAP(NULL, PAGE, PROT_READ, MAP_PRIVATE, OK(open(".", O_RDONLY)), 0));
}
CASE("mmap", "MAP_FIXED at an odd place is EINVAL") {
  FAILS(EINVAL, MMAP((void *)0x100001, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}
CASE("mmap", "MAP_FIXED replaces") {
  char *m = anon(3 * PAGE);
  m[PAGE] = 1;
  IS(m + PAGE, MMAP(m + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  IS(0, m[PAGE]);
}
CASE("mmap", "MAP_FIXED_NOREPLACE of what is there is EEXIST") {
  char *m = anon(PAGE);
  FAILS(EEXIST, MMAP(m, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
}
CASE("mmap", "takes a hint where there is room") {
  char *m = anon(PAGE);
  OK(munmap(m, PAGE));
  IS(m, MMAP(m, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
CASE("mmap", "MAP_SHARED_VALIDATE with an unknown flag is EOPNOTSUPP") {
  FAILS(EOPNOTSUPP, MMAP(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | (1 << 21), file_with("x"), 0));
}
CASE("mmap", "MAP_GROWSDOWN of a file is EINVAL") {
  FAILS(EINVAL, MMAP(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, file_with("x"), 0));
}
CASE("mmap", "beyond the limit of address space is ENOMEM") {
  struct rlimit r = {64 << 20, 64 << 20};
  OK(setrlimit(RLIMIT_AS, &r));
  FAILS(ENOMEM, MMAP(NULL, 65 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
CASE("mmap", "beyond the limit of data is ENOMEM") {
  struct rlimit r = {8 << 20, 8 << 20};
  OK(setrlimit(RLIMIT_DATA, &r));
  FAILS(ENOMEM, MMAP(NULL, 9 << 20, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  OK(MMAP(NULL, 9 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
CASE("mmap", "shared shows what is written to the file") {
  int fd = file_with("abc");
  char *m = shared(fd, PAGE);
  IS(1, pwrite(fd, "X", 1, 1));
  IS('X', m[1]);
  m[2] = 'Y';
  char b[3];
  IS(3, pread(fd, b, 3, 0));
  SAME("aXY", b, 3);
}
CASE("mmap", "private keeps what it wrote to itself") {
  int fd = file_with("abc");
  char *m = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  m[0] = 'X';
  char b[3];
  IS(3, pread(fd, b, 3, 0));
  SAME("abc", b, 3);
}
CASE("mmap", "private shows writes to the file until it writes itself") {
  int fd = file_with("abc");
  char *m = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  IS('a', m[0]);
  IS(1, pwrite(fd, "X", 1, 0));
  IS('X', m[0]);
  m[1] = 'Y';
  IS(1, pwrite(fd, "Z", 1, 0));
  IS('X', m[0]);
}
CASE("mmap", "of a hole shows what is written there later") {
  int fd = file_with("");
  OK(ftruncate(fd, 2 * PAGE));
  char *m = map(2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
  IS(0, m[PAGE]);
  IS(1, pwrite(fd, "X", 1, PAGE));
  IS('X', m[PAGE]);
}
CASE("mmap", "shared memory is shared with a child") {
  char *m = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHILD(pid) m[0] = 7;
  IS(0, ended(pid));
  IS(7, m[0]);
}
CASE("mmap", "private memory is not") {
  char *m = anon(PAGE);
  CHILD(pid) m[0] = 7;
  IS(0, ended(pid));
  IS(0, m[0]);
}
CASE("mmap", "past the end of the file is SIGBUS") {
  int fd = file_with("abc");
  char *m = shared(fd, 2 * PAGE);
  IS(0, touch(m + PAGE - 1, false));
  IS(SIGBUS, touch(m + PAGE, false));
  IS(BUS_ADRERR, code);
  IS(m + PAGE, at);
}
CASE("ftruncate", "takes pages away from mappings: SIGBUS") {
  int fd = file_with("");
  OK(ftruncate(fd, 2 * PAGE));
  char *m = shared(fd, 2 * PAGE);
  m[PAGE] = 1;
  OK(ftruncate(fd, PAGE));
  IS(SIGBUS, touch(m + PAGE, false));
  OK(ftruncate(fd, 2 * PAGE));
  IS(0, m[PAGE]);
}
CASE("mmap", "of nothing is SIGSEGV without a mapping") {
  char *m = anon(PAGE);
  OK(munmap(m, PAGE));
  IS(SIGSEGV, touch(m, false));
  IS(SEGV_MAPERR, code);
}
CASE("mmap", "of what is forbidden is SIGSEGV with one") {
  char *m = map(PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  IS(SIGSEGV, touch(m, true));
  IS(SEGV_ACCERR, code);
  IS(0, touch(m, false));
}
CASE("mmap", "with PROT_NONE forbids all") {
  char *m = map(PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  IS(SIGSEGV, touch(m, false));
}
CASE("mmap", "outlives the descriptor") {
  int fd = file_with("abc");
  char *m = shared(fd, PAGE);
  OK(close(fd));
  IS('a', m[0]);
}
CASE("mmap", "of /dev/zero is memory") {
  int fd = OK(open("/dev/zero", O_RDWR));
  char *m = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  m[0] = 1;
  IS(0, m[1]);
}
CASE("munmap", "of nothing works, of an odd place is EINVAL") {
  char *m = anon(PAGE);
  OK(munmap(m, PAGE));
  OK(munmap(m, PAGE));
  FAILS(EINVAL, munmap(m + 1, PAGE));
  FAILS(EINVAL, munmap(m, 0));
}
CASE("munmap", "of the middle leaves both ends") {
  char *m = anon(3 * PAGE);
  m[0] = 1, m[2 * PAGE] = 2;
  OK(munmap(m + PAGE, PAGE));
  IS(1, m[0]);
  IS(2, m[2 * PAGE]);
  IS(SIGSEGV, touch(m + PAGE, false));
}
CASE("mprotect", "takes and gives rights") {
  char *m = anon(PAGE);
  m[0] = 5;
  OK(mprotect(m, PAGE, PROT_READ));
  IS(SIGSEGV, touch(m, true));
  IS(5, m[0]);
  OK(mprotect(m, PAGE, PROT_READ | PROT_WRITE));
  IS(0, touch(m, true));
}
CASE("mprotect", "of an odd place is EINVAL") {
  char *m = anon(PAGE);
  FAILS(EINVAL, mprotect(m + 1, PAGE, PROT_READ));
}
CASE("mprotect", "of what is not mapped is ENOMEM") {
  char *m = anon(PAGE);
  OK(munmap(m, PAGE));
  FAILS(ENOMEM, mprotect(m, PAGE, PROT_READ));
}
CASE("mprotect", "of an unknown right is EINVAL") {
  char *m = anon(PAGE);
  FAILS(EINVAL, mprotect(m, PAGE, 0x40));
}
CASE("mprotect", "cannot make a read-only file's shared mapping writable") {
  write_file("x", "abc");
  char *m = map(PAGE, PROT_READ, MAP_SHARED, OK(open("x", O_RDONLY)), 0);
  FAILS(EACCES, mprotect(m, PAGE, PROT_WRITE));
}
CASE("mremap", "makes longer in place or elsewhere, contents kept") {
  char *m = anon(PAGE);
  m[0] = 7;
  m = mremap(m, PAGE, 100 * PAGE, MREMAP_MAYMOVE);
  HOLDS(m != MAP_FAILED);
  IS(7, m[0]);
  IS(0, m[99 * PAGE]);
}
CASE("mremap", "makes shorter") {
  char *m = anon(3 * PAGE);
  IS(m, (long)mremap(m, 3 * PAGE, PAGE, 0));
  IS(SIGSEGV, touch(m + PAGE, false));
}
CASE("mremap", "without room and not moving is ENOMEM") {
  char *m = anon(2 * PAGE);
  FAILS(ENOMEM, (long)mremap(m, PAGE, 2 * PAGE, 0));
}
CASE("mremap", "MREMAP_FIXED moves there") {
  char *m = anon(PAGE), *to = anon(PAGE);
  m[0] = 7;
  IS(to, (long)mremap(m, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
  IS(7, to[0]);
  IS(SIGSEGV, touch(m, false));
}
CASE("mremap", "MREMAP_FIXED over itself is EINVAL") {
  char *m = anon(2 * PAGE);
  FAILS(EINVAL, (long)mremap(m, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m + PAGE));
}
CASE("mremap", "MREMAP_FIXED without MREMAP_MAYMOVE is EINVAL") {
  char *m = anon(PAGE);
  FAILS(EINVAL, (long)mremap(m, PAGE, PAGE, MREMAP_FIXED, m));
}
CASE("mremap", "to nothing is EINVAL, of nothing EFAULT") {
  char *m = anon(PAGE);
  FAILS(EINVAL, (long)mremap(m, PAGE, 0, 0));
  OK(munmap(m, PAGE));
  FAILS(EFAULT, (long)mremap(m, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
}
CASE("mremap", "with an unknown flag is EINVAL") {
  char *m = anon(PAGE);
  FAILS(EINVAL, (long)mremap(m, PAGE, PAGE, 64));
}
CASE("mremap", "of 0 bytes maps shared memory another time") {
  char *m = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char *n = mremap(m, 0, PAGE, MREMAP_MAYMOVE);
  HOLDS(n != MAP_FAILED && n != m);
  m[0] = 3;
  IS(3, n[0]);
}
CASE("mremap", "MREMAP_DONTUNMAP leaves zeros behind") {
  char *m = anon(PAGE);
  m[0] = 7;
  char *n = (char *)syscall(SYS_mremap, m, PAGE, PAGE, MREMAP_MAYMOVE | 4, NULL);
  HOLDS(n != MAP_FAILED && n != m);
  IS(7, n[0]);
  IS(0, m[0]);
}
CASE("brk", "grows and shrinks") {
  char *end = sbrk(0);
  HOLDS(sbrk(100000) == end);
  end[99999] = 1;
  OK(brk(end));
  HOLDS(sbrk(0) == end);
}
CASE("brk", "beyond the limit of data stays") {
  struct rlimit r = {0, 0};
  OK(setrlimit(RLIMIT_DATA, &r));
  long now = syscall(SYS_brk, 0);
  IS(now, syscall(SYS_brk, now + (16 << 20)));
}
CASE("msync", "of a mapping works") {
  int fd = file_with("abc");
  char *m = shared(fd, PAGE);
  OK(msync(m, PAGE, MS_SYNC));
  OK(msync(m, PAGE, MS_ASYNC));
  OK(msync(m, PAGE, MS_INVALIDATE));
}
CASE("msync", "both ways at once is EINVAL") {
  char *m = anon(PAGE);
  FAILS(EINVAL, msync(m, PAGE, MS_SYNC | MS_ASYNC));
  FAILS(EINVAL, msync(m, PAGE, 64));
  FAILS(EINVAL, msync(m + 1, PAGE, MS_SYNC));
}
CASE("msync", "of what is not mapped is ENOMEM") {
  char *m = anon(PAGE);
  OK(munmap(m, PAGE));
  FAILS(ENOMEM, msync(m, PAGE, MS_SYNC));
}
CASE("msync", "MS_INVALIDATE of locked memory is EBUSY") {
  char *m = anon(PAGE);
  OK(mlock(m, PAGE));
  FAILS(EBUSY, msync(m, PAGE, MS_INVALIDATE));
}
CASE("mincore", "tells what is there") {
  char *m = anon(2 * PAGE);
  unsigned char v[2] = {9, 9};
  m[PAGE] = 1;
  OK(mincore(m, 2 * PAGE, v));
  IS(0, v[0] & 1);
  IS(1, v[1] & 1);
}
CASE("mincore", "of what is not mapped is ENOMEM") {
  char *m = anon(PAGE);
  unsigned char v[2];
  OK(munmap(m, PAGE));
  FAILS(ENOMEM, mincore(m, PAGE, v));
}
CASE("mincore", "of an odd place is EINVAL") {
  char *m = anon(PAGE);
  unsigned char v[2];
  FAILS(EINVAL, mincore(m + 1, PAGE, v));
}
CASE("mincore", "into no memory is EFAULT") {
  char *m = anon(PAGE);
  FAILS(EFAULT, mincore(m, PAGE, NOWHERE));
}
CASE("madvise", "MADV_DONTNEED gives zeros again") {
  char *m = anon(PAGE);
  m[0] = 1;
  OK(madvise(m, PAGE, MADV_DONTNEED));
  IS(0, m[0]);
}
CASE("madvise", "MADV_DONTNEED of a private file shows the file again") {
  int fd = file_with("abc");
  char *m = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  m[0] = 'X';
  OK(madvise(m, PAGE, MADV_DONTNEED));
  IS('a', m[0]);
}
CASE("madvise", "MADV_DONTNEED of locked memory is EINVAL") {
  char *m = anon(PAGE);
  OK(mlock(m, PAGE));
  FAILS(EINVAL, madvise(m, PAGE, MADV_DONTNEED));
}
CASE("madvise", "MADV_FREE of a file is EINVAL") {
  char *m = shared(file_with("abc"), PAGE);
  FAILS(EINVAL, madvise(m, PAGE, MADV_FREE));
  OK(madvise(anon(PAGE), PAGE, MADV_FREE));
}
CASE("madvise", "of unknown advice is EINVAL") {
  char *m = anon(PAGE);
  FAILS(EINVAL, madvise(m, PAGE, 99));
  FAILS(EINVAL, madvise(m + 1, PAGE, MADV_NORMAL));
}
CASE("madvise", "of what is not mapped is ENOMEM") {
  char *m = anon(PAGE);
  OK(munmap(m, PAGE));
  FAILS(ENOMEM, madvise(m, PAGE, MADV_NORMAL));
}
CASE("madvise", "of nothing works") { OK(madvise(anon(PAGE), 0, MADV_NORMAL)); }
CASE("madvise", "hints work") {
  char *m = anon(PAGE);
  OK(madvise(m, PAGE, MADV_SEQUENTIAL));
  OK(madvise(m, PAGE, MADV_RANDOM));
  OK(madvise(m, PAGE, MADV_WILLNEED));
  OK(madvise(m, PAGE, MADV_COLD));
  OK(madvise(m, PAGE, MADV_PAGEOUT));
  OK(madvise(m, PAGE, MADV_DONTDUMP));
  OK(madvise(m, PAGE, MADV_DODUMP));
}
CASE("madvise", "MADV_DONTFORK: a child has no mapping") {
  char *m = anon(PAGE);
  OK(madvise(m, PAGE, MADV_DONTFORK));
  CHILD(pid) IS(SIGSEGV, touch(m, false));
  IS(0, ended(pid));
}
CASE("madvise", "MADV_WIPEONFORK: a child has zeros") {
  char *m = anon(PAGE);
  m[0] = 7;
  OK(madvise(m, PAGE, MADV_WIPEONFORK));
  CHILD(pid) IS(0, m[0]);
  IS(0, ended(pid));
  IS(7, m[0]);
  FAILS(EINVAL, madvise(shared(file_with("abc"), PAGE), PAGE, MADV_WIPEONFORK));
}
CASE("madvise", "MADV_REMOVE punches a hole into shared memory") {
  int fd = file_with("abc");
  char *m = shared(fd, PAGE);
  OK(madvise(m, PAGE, MADV_REMOVE));
  IS(0, m[0]);
  struct stat s;
  OK(fstat(fd, &s));
  IS(3, s.st_size);
}
CASE("madvise", "MADV_POPULATE_WRITE brings pages in") {
  char *m = anon(4 * PAGE);
  unsigned char v[4];
  OK(madvise(m, 4 * PAGE, 23));
  OK(mincore(m, 4 * PAGE, v));
  HOLDS(v[0] & v[3] & 1);
  FAILS(EINVAL, madvise(map(PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE, 23));
}

CASE("mlock", "brings pages in") {
  char *m = anon(2 * PAGE);
  unsigned char v[2];
  OK(mlock(m, 2 * PAGE));
  OK(mincore(m, 2 * PAGE, v));
  HOLDS(v[0] & v[1] & 1);
  OK(munlock(m, 2 * PAGE));
}
CASE("mlock", "of what is not mapped is ENOMEM") {
  char *m = anon(PAGE);
  OK(munmap(m, PAGE));
  FAILS(ENOMEM, mlock(m, PAGE));
  FAILS(ENOMEM, munlock(m, PAGE));
}
static void may_lock(rlim_t bytes) {
  struct rlimit r = {bytes, bytes};
  OK(setrlimit(RLIMIT_MEMLOCK, &r));
  become_user();
}
CASE("mlock", "beyond the limit is ENOMEM for a user") {
  char *m = anon(4 * PAGE);
  may_lock(2 * PAGE);
  OK(mlock(m, 2 * PAGE));
  FAILS(ENOMEM, mlock(m + 2 * PAGE, PAGE));
  OK(munlock(m, PAGE));
  OK(mlock(m + 2 * PAGE, PAGE));
}
CASE("mlock", "without any limit left is EPERM for a user") {
  char *m = anon(PAGE);
  may_lock(0);
  FAILS(EPERM, mlock(m, PAGE));
  FAILS(EPERM, mlockall(MCL_CURRENT));
}
CASE("mlock2", "MLOCK_ONFAULT brings nothing in") {
  char *m = anon(PAGE);
  unsigned char v;
  OK(mlock2(m, PAGE, MLOCK_ONFAULT));
  OK(mincore(m, PAGE, &v));
  IS(0, v & 1);
  FAILS(EINVAL, mlock2(m, PAGE, 8));
}
CASE("mlockall", "without a flag or with an unknown one is EINVAL") {
  FAILS(EINVAL, mlockall(0));
  FAILS(EINVAL, mlockall(64));
  FAILS(EINVAL, mlockall(MCL_ONFAULT));
}
CASE("mlockall", "MCL_FUTURE: what is mapped later is there at once") {
  OK(mlockall(MCL_FUTURE));
  char *m = anon(PAGE);
  unsigned char v;
  OK(mincore(m, PAGE, &v));
  IS(1, v & 1);
  OK(munlockall());
}
CASE("mmap", "MAP_LOCKED beyond the limit is EAGAIN for a user") {
  may_lock(PAGE);
  FAILS(EAGAIN, MMAP(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
}
CASE("mmap", "MAP_POPULATE brings pages in") {
  char *m = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  unsigned char v[2];
  OK(mincore(m, 2 * PAGE, v));
  HOLDS(v[0] & v[1] & 1);
}

static int memfd(unsigned flags) { return (int)OK(memfd_create("test", flags)); }
static int sealed(int seals) {
  int fd = memfd(MFD_ALLOW_SEALING);
  OK(ftruncate(fd, PAGE));
  OK(fcntl(fd, F_ADD_SEALS, seals));
  return fd;
}
CASE("memfd_create", "makes a file without a name") {
  int fd = memfd(0);
  IS(3, write(fd, "abc", 3));
  struct stat s;
  OK(fstat(fd, &s));
  IS(3, s.st_size);
  IS(0, s.st_nlink);
  IS(0777, s.st_mode & 07777);
  char b[64];
  IS(21, readlink("/proc/self/fd/3", b, 64));
  SAME("/memfd:test (deleted)", b, 21);
}
CASE("memfd_create", "MFD_CLOEXEC marks it") { IS(FD_CLOEXEC, fcntl(memfd(MFD_CLOEXEC), F_GETFD)); }
CASE("memfd_create", "with an unknown flag is EINVAL") {
  FAILS(EINVAL, memfd_create("x", 0x200));
  FAILS(EINVAL, memfd_create("x", 0x18));
}
CASE("memfd_create", "of a long name is EINVAL") {
  char n[252];
  memset(n, 'x', 251);
  n[250] = 0;
  FAILS(EINVAL, memfd_create(n, 0));
  n[249] = 0;
  OK(memfd_create(n, 0));
}
FAILS_CASE("memfd_create", "of no memory is EFAULT", EFAULT, memfd_create(NOWHERE, 0))
CASE("memfd_create", "MFD_NOEXEC_SEAL is 0666 and stays so") {
  int fd = memfd(8);
  struct stat s;
  OK(fstat(fd, &s));
  IS(0666, s.st_mode & 07777);
  FAILS(EPERM, fchmod(fd, 0777));
  OK(fchmod(fd, 0600));
}
CASE("fcntl", "F_GET_SEALS of a memfd without sealing is F_SEAL_SEAL") {
  int fd = memfd(0);
  IS(F_SEAL_SEAL, fcntl(fd, F_GET_SEALS));
  FAILS(EPERM, fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
}
CASE("fcntl", "F_SEAL_WRITE: writing is EPERM") {
  int fd = sealed(F_SEAL_WRITE);
  FAILS(EPERM, write(fd, "x", 1));
  FAILS(EPERM, MMAP(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  OK(MMAP(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  FAILS(EPERM, fallocate(fd, 3, 0, PAGE));
}
CASE("fcntl", "F_SEAL_WRITE while mapped to write is EBUSY") {
  int fd = memfd(MFD_ALLOW_SEALING);
  OK(ftruncate(fd, PAGE));
  char *m = shared(fd, PAGE);
  FAILS(EBUSY, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  OK(munmap(m, PAGE));
  OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
}
CASE("fcntl", "F_SEAL_FUTURE_WRITE: mappings there go on writing") {
  int fd = memfd(MFD_ALLOW_SEALING);
  OK(ftruncate(fd, PAGE));
  char *m = shared(fd, PAGE);
  OK(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
  m[0] = 'x';
  FAILS(EPERM, write(fd, "y", 1));
  FAILS(EPERM, MMAP(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0));
}
CASE("fcntl", "F_SEAL_SHRINK: making shorter is EPERM") {
  int fd = sealed(F_SEAL_SHRINK);
  FAILS(EPERM, ftruncate(fd, 1));
  OK(ftruncate(fd, 2 * PAGE));
}
CASE("fcntl", "F_SEAL_GROW: making longer is EPERM") {
  int fd = sealed(F_SEAL_GROW);
  FAILS(EPERM, ftruncate(fd, 2 * PAGE));
  FAILS(EPERM, pwrite(fd, "x", 1, PAGE));
  FAILS(EPERM, fallocate(fd, 0, 0, 2 * PAGE));
  OK(ftruncate(fd, 1));
}
CASE("fcntl", "F_SEAL_SEAL: no more seals is EPERM") {
  int fd = sealed(F_SEAL_SEAL);
  FAILS(EPERM, fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
}
CASE("fcntl", "F_ADD_SEALS of an unknown seal is EINVAL") {
  int fd = sealed(0);
  FAILS(EINVAL, fcntl(fd, F_ADD_SEALS, 1 << 20));
  IS(0, fcntl(fd, F_GET_SEALS));
}
CASE("fcntl", "F_ADD_SEALS of a descriptor for reading is EPERM") {
  sealed(0);
  FAILS(EPERM, fcntl(OK(open("/proc/self/fd/3", O_RDONLY)), F_ADD_SEALS, F_SEAL_GROW));
}
CASE("fcntl", "F_GET_SEALS of a pipe is EINVAL") {
  int p[2];
  OK(pipe(p));
  FAILS(EINVAL, fcntl(p[0], F_GET_SEALS));
}
CASE("mmap", "MAP_32BIT is below 2 GiB") {
  long m = MMAP(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  OK(m);
  HOLDS(m < 1l << 31);
}
