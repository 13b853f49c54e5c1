// System V: shared memory, message queues, semaphores.
#include "calls.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static int id;
static struct {
  long type;
  char text[9000];
} note;
// What a case made goes with it: the tests' Linux has the host's objects.
static void remove_segment(void) { shmctl(id, IPC_RMID, NULL); }
static void remove_queue(void) { msgctl(id, IPC_RMID, NULL); }
static void remove_set(void) { semctl(id, 0, IPC_RMID); }
static void segment(size_t size) { id = OK(shmget(IPC_PRIVATE, size, 0600)); }
static void queue(void) { id = OK(msgget(IPC_PRIVATE, 0600)); }
static void set(int count) { id = OK(semget(IPC_PRIVATE, count, 0600)); }
static key_t some_key(void) { return 0x41000000 | getpid(); }
static int operate(int number, int change, int flags) {
  return semop(id, &(struct sembuf){(unsigned short)number, (short)change, (short)flags}, 1);
}
static int value(int number) { return (int)OK(semctl(id, number, GETVAL)); }
static int give(int number, int to) { return semctl(id, number, SETVAL, to); }
static int post(long type, const char *text, int flags) {
  note.type = type;
  strcpy(note.text, text);
  return msgsnd(id, &note, strlen(text), flags);
}

// Shared memory.
CASE("shmget", "a segment is zeros, and shared over fork") {
  segment(8192);
  char *at = shmat(id, NULL, 0);
  HOLDS(at != (void *)-1);
  remove_segment();
  IS(0, at[5000]);
  CHILD(child) at[5000] = 7;
  IS(0, ended(child));
  IS(7, at[5000]);
}
CASE("shmget", "by key, twice the same") {
  id = OK(shmget(some_key(), 100, IPC_CREAT | 0600));
  int again = shmget(some_key(), 50, 0600);
  remove_segment();
  IS(id, again);
}
CASE("shmget", "IPC_EXCL of a key in use is EEXIST") {
  id = OK(shmget(some_key(), 100, IPC_CREAT | 0600));
  int got = shmget(some_key(), 100, IPC_CREAT | IPC_EXCL | 0600), why = errno;
  remove_segment();
  IS(-1, got);
  IS(EEXIST, why);
}
CASE("shmget", "a larger size than it has is EINVAL") {
  id = OK(shmget(some_key(), 100, IPC_CREAT | 0600));
  int got = shmget(some_key(), 101, 0), why = errno;
  remove_segment();
  IS(-1, got);
  IS(EINVAL, why);
}
FAILS_CASE("shmget", "of a key nobody has is ENOENT", ENOENT, shmget(some_key(), 100, 0))
FAILS_CASE("shmget", "of no bytes is EINVAL", EINVAL, shmget(IPC_PRIVATE, 0, 0600))
CASE("shmget", "of another user's is EACCES") {
  key_t key = some_key();
  id = OK(shmget(key, 100, IPC_CREAT | 0600));
  CHILD(child) {
    become_user();
    FAILS(EACCES, shmget(key, 100, 0600));
  }
  int status = ended(child);
  remove_segment();
  IS(0, status);
}
CASE("shmat", "IPC_RMID: the segment stays until it is detached, and its key is gone") {
  struct shmid_ds about;
  id = OK(shmget(some_key(), 100, IPC_CREAT | 0600));
  char *at = shmat(id, NULL, 0);
  OK(shmctl(id, IPC_RMID, NULL));
  FAILS(ENOENT, shmget(some_key(), 100, 0));
  OK(shmctl(id, IPC_STAT, &about));
  IS(1, about.shm_nattch);
  HOLDS(about.shm_perm.mode & SHM_DEST);
  at[0] = 1;
  OK(shmdt(at));
  FAILS(EINVAL, shmctl(id, IPC_STAT, &about));
}
CASE("shmat", "SHM_RDONLY cannot be written") {
  segment(4096);
  char *at = shmat(id, NULL, SHM_RDONLY);
  remove_segment();
  CHILD(child) at[0] = 1;
  IS(128 + SIGSEGV, ended(child));
}
CASE("shmat", "at an address, and SHM_RND rounds it down") {
  segment(4096);
  char *place = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  OK(munmap(place, 8192));
  char *at = shmat(id, place, 0), *round = shmat(id, place + 4096 + 5, SHM_RND);
  remove_segment();
  HOLDS(at == place && round == place + 4096);
}
CASE("shmat", "an odd address is EINVAL") {
  segment(4096);
  void *at = shmat(id, (void *)0x10000005, 0);
  int why = errno;
  remove_segment();
  HOLDS(at == (void *)-1);
  IS(EINVAL, why);
}
CASE("shmat", "over what is mapped is EINVAL") {
  segment(4096);
  char *place = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void *at = shmat(id, place, 0);
  int why = errno;
  void *over = shmat(id, place, SHM_REMAP);
  remove_segment();
  HOLDS(at == (void *)-1 && over == place);
  IS(EINVAL, why);
}
CASE("shmat", "of no segment is EINVAL") {
  HOLDS(shmat(-1, NULL, 0) == (void *)-1);
  IS(EINVAL, errno);
}
CASE("shmat", "of another user's is EACCES") {
  segment(4096);
  CHILD(child) {
    become_user();
    HOLDS(shmat(id, NULL, 0) == (void *)-1);
    IS(EACCES, errno);
  }
  int status = ended(child);
  remove_segment();
  IS(0, status);
}
FAILS_CASE("shmdt", "of what is not attached is EINVAL", EINVAL, shmdt((void *)0x10000000))
CASE("shmdt", "twice is EINVAL") {
  segment(4096);
  void *at = shmat(id, NULL, 0);
  remove_segment();
  OK(shmdt(at));
  FAILS(EINVAL, shmdt(at));
}
CASE("shmctl", "IPC_STAT tells about it") {
  struct shmid_ds about;
  segment(5000);
  void *one = shmat(id, NULL, 0), *two = shmat(id, NULL, 0);
  int got = shmctl(id, IPC_STAT, &about);
  remove_segment();
  IS(0, got);
  IS(5000, about.shm_segsz);
  IS(2, about.shm_nattch);
  IS(getpid(), about.shm_cpid);
  IS(getpid(), about.shm_lpid);
  IS(0600, about.shm_perm.mode);
  HOLDS(one != two);
}
CASE("shmctl", "IPC_SET changes owner and mode") {
  struct shmid_ds about;
  segment(100);
  OK(shmctl(id, IPC_STAT, &about));
  about.shm_perm.uid = 7, about.shm_perm.mode = 0644;
  int set = shmctl(id, IPC_SET, &about), got = shmctl(id, IPC_STAT, &about);
  remove_segment();
  IS(0, set + got);
  IS(7, about.shm_perm.uid);
  IS(0644, about.shm_perm.mode);
}
CASE("shmctl", "IPC_RMID of another user's is EPERM") {
  segment(100);
  CHILD(child) {
    become_user();
    FAILS(EPERM, shmctl(id, IPC_RMID, NULL));
  }
  int status = ended(child);
  remove_segment();
  IS(0, status);
}
FAILS_CASE("shmctl", "of no segment is EINVAL", EINVAL, shmctl(-1, IPC_STAT, (void *)&note))
CASE("shmctl", "an unknown command is EINVAL") {
  segment(100);
  int got = shmctl(id, 99, NULL), why = errno;
  remove_segment();
  IS(-1, got);
  IS(EINVAL, why);
}
CASE("shmctl", "into no memory is EFAULT") {
  segment(100);
  int got = shmctl(id, IPC_STAT, NOWHERE), why = errno;
  remove_segment();
  IS(-1, got);
  IS(EFAULT, why);
}

// Message queues.
CASE("msgget", "by key, twice the same") {
  id = OK(msgget(some_key(), IPC_CREAT | 0600));
  int again = msgget(some_key(), 0);
  remove_queue();
  IS(id, again);
}
FAILS_CASE("msgget", "of a key nobody has is ENOENT", ENOENT, msgget(some_key(), 0))
CASE("msgget", "IPC_EXCL of a key in use is EEXIST") {
  id = OK(msgget(some_key(), IPC_CREAT | 0600));
  int got = msgget(some_key(), IPC_CREAT | IPC_EXCL), why = errno;
  remove_queue();
  IS(-1, got);
  IS(EEXIST, why);
}
CASE("msgsnd", "and msgrcv: in order") {
  queue();
  post(1, "one", 0), post(2, "two!", 0);
  int first = (int)msgrcv(id, &note, 100, 0, 0), second = (int)msgrcv(id, &note, 100, 0, 0);
  remove_queue();
  IS(3, first);
  IS(4, second);
  IS(2, note.type);
  SAME("two!", note.text, 4);
}
CASE("msgrcv", "by type") {
  queue();
  post(3, "c", 0), post(1, "a", 0), post(2, "b", 0);
  char got[4] = {0};
  OK(msgrcv(id, &note, 9, 2, 0)), got[0] = note.text[0];
  OK(msgrcv(id, &note, 9, -3, 0)), got[1] = note.text[0];
  OK(msgrcv(id, &note, 9, 0, 0)), got[2] = note.text[0];
  remove_queue();
  SAME("bac", got, 3);
}
CASE("msgrcv", "MSG_EXCEPT takes any other type") {
  queue();
  post(1, "a", 0), post(2, "b", 0);
  OK(msgrcv(id, &note, 9, 1, MSG_EXCEPT));
  remove_queue();
  IS(2, note.type);
}
CASE("msgrcv", "of a longer message is E2BIG, or cut with MSG_NOERROR") {
  queue();
  post(1, "abcdef", 0);
  int got = (int)msgrcv(id, &note, 3, 0, 0), why = errno, cut = (int)msgrcv(id, &note, 3, 0, MSG_NOERROR);
  remove_queue();
  IS(-1, got);
  IS(E2BIG, why);
  IS(3, cut);
}
CASE("msgrcv", "IPC_NOWAIT of nothing is ENOMSG") {
  queue();
  int got = (int)msgrcv(id, &note, 3, 0, IPC_NOWAIT), why = errno;
  remove_queue();
  IS(-1, got);
  IS(ENOMSG, why);
}
CASE("msgrcv", "waits for a message") {
  queue();
  CHILD(child) {
    sleep_ms(20);
    OK(post(5, "hi", 0));
  }
  int got = (int)msgrcv(id, &note, 9, 5, 0), status = ended(child);
  remove_queue();
  IS(2, got);
  IS(0, status);
}
CASE("msgrcv", "is EINTR when a signal comes, even if it may restart") {
  queue();
  restart_and(NULL);
  int got = (int)msgrcv(id, &note, 9, 0, 0), why = errno;
  remove_queue();
  IS(-1, got);
  IS(EINTR, why);
}
CASE("msgrcv", "of a queue that is removed is EIDRM") {
  queue();
  CHILD(child) FAILS(EIDRM, msgrcv(id, &note, 9, 0, 0));
  sleep_ms(50);
  remove_queue();
  IS(0, ended(child));
}
CASE("msgsnd", "to a full queue: EAGAIN, or waiting") {
  queue();
  int size = 0, why;
  while (msgsnd(id, (note.type = 1, &note), 8000, IPC_NOWAIT) == 0) size++;
  why = errno;
  CHILD(child) {
    sleep_ms(20);
    OK(msgrcv(id, &note, 9000, 0, 0));
  }
  int got = msgsnd(id, &note, 8000, 0), status = ended(child);
  remove_queue();
  IS(EAGAIN, why);
  IS(2, size);
  IS(0, got + status);
}
CASE("msgsnd", "to a full queue is EINTR when a signal comes") {
  queue();
  note.type = 1;
  while (msgsnd(id, &note, 8000, IPC_NOWAIT) == 0);
  interrupt_soon();
  int got = msgsnd(id, &note, 8000, 0), why = errno;
  remove_queue();
  IS(-1, got);
  IS(EINTR, why);
}
CASE("msgsnd", "of type 0 is EINVAL") {
  queue();
  int got = post(0, "x", 0), why = errno;
  remove_queue();
  IS(-1, got);
  IS(EINVAL, why);
}
CASE("msgsnd", "of more than a message holds is EINVAL") {
  queue();
  note.type = 1;
  int got = msgsnd(id, &note, 8193, 0), why = errno;
  remove_queue();
  IS(-1, got);
  IS(EINVAL, why);
}
CASE("msgsnd", "from no memory is EFAULT") {
  queue();
  int got = msgsnd(id, NOWHERE, 1, 0), why = errno;
  remove_queue();
  IS(-1, got);
  IS(EFAULT, why);
}
CASE("msgsnd", "to another user's is EACCES") {
  queue();
  CHILD(child) {
    become_user();
    FAILS(EACCES, post(1, "x", 0));
  }
  int status = ended(child);
  remove_queue();
  IS(0, status);
}
FAILS_CASE("msgrcv", "of no queue is EINVAL", EINVAL, msgrcv(-1, &note, 1, 0, 0))
CASE("msgctl", "IPC_STAT tells about it") {
  struct msqid_ds about;
  queue();
  post(1, "abc", 0);
  int got = msgctl(id, IPC_STAT, &about);
  remove_queue();
  IS(0, got);
  IS(1, about.msg_qnum);
  IS(3, about.__msg_cbytes);
  IS(16384, about.msg_qbytes);
  IS(getpid(), about.msg_lspid);
}
CASE("msgctl", "IPC_SET changes how much it holds") {
  struct msqid_ds about;
  queue();
  OK(msgctl(id, IPC_STAT, &about));
  about.msg_qbytes = 4;
  OK(msgctl(id, IPC_SET, &about));
  int fits = post(1, "abcd", IPC_NOWAIT), more = post(1, "e", IPC_NOWAIT), why = errno;
  remove_queue();
  IS(0, fits);
  IS(-1, more);
  IS(EAGAIN, why);
}
FAILS_CASE("msgctl", "of no queue is EINVAL", EINVAL, msgctl(-1, IPC_RMID, NULL))

// Semaphores.
CASE("semget", "by key, twice the same") {
  id = OK(semget(some_key(), 2, IPC_CREAT | 0600));
  int again = semget(some_key(), 0, 0);
  remove_set();
  IS(id, again);
}
CASE("semget", "more counters than it has is EINVAL") {
  id = OK(semget(some_key(), 2, IPC_CREAT | 0600));
  int got = semget(some_key(), 3, 0), why = errno;
  remove_set();
  IS(-1, got);
  IS(EINVAL, why);
}
CASE("semget", "IPC_EXCL of a key in use is EEXIST") {
  id = OK(semget(some_key(), 2, IPC_CREAT | 0600));
  int got = semget(some_key(), 2, IPC_CREAT | IPC_EXCL), why = errno;
  remove_set();
  IS(-1, got);
  IS(EEXIST, why);
}
FAILS_CASE("semget", "of a key nobody has is ENOENT", ENOENT, semget(some_key(), 1, 0))
FAILS_CASE("semget", "a new one without counters is EINVAL", EINVAL, semget(IPC_PRIVATE, 0, 0600))
FAILS_CASE("semget", "of fewer than no counters is EINVAL", EINVAL, semget(IPC_PRIVATE, -1, 0600))
CASE("semop", "up and down") {
  set(2);
  int up = operate(1, 3, 0), down = operate(1, -2, 0), left = value(1), other = value(0);
  remove_set();
  IS(0, up + down);
  IS(1, left);
  IS(0, other);
}
CASE("semop", "IPC_NOWAIT below zero is EAGAIN") {
  set(1);
  int got = operate(0, -1, IPC_NOWAIT), why = errno;
  remove_set();
  IS(-1, got);
  IS(EAGAIN, why);
}
CASE("semop", "all or nothing") {
  set(2);
  struct sembuf two[2] = {{0, 1, IPC_NOWAIT}, {1, -1, IPC_NOWAIT}};
  int got = semop(id, two, 2), left = value(0);
  remove_set();
  IS(-1, got);
  IS(0, left);
}
CASE("semop", "waits for more") {
  set(1);
  CHILD(child) {
    sleep_ms(20);
    OK(operate(0, 1, 0));
  }
  int got = operate(0, -1, 0), status = ended(child);
  remove_set();
  IS(0, got + status);
}
CASE("semop", "waits for zero") {
  set(1);
  give(0, 1);
  CHILD(child) {
    sleep_ms(20);
    OK(operate(0, -1, 0));
  }
  int got = operate(0, 0, 0), status = ended(child);
  remove_set();
  IS(0, got + status);
}
CASE("semop", "is EINTR when a signal comes, even if it may restart") {
  set(1);
  restart_and(NULL);
  int got = operate(0, -1, 0), why = errno;
  remove_set();
  IS(-1, got);
  IS(EINTR, why);
}
CASE("semop", "of a set that is removed is EIDRM") {
  set(1);
  CHILD(child) FAILS(EIDRM, operate(0, -1, 0));
  sleep_ms(50);
  remove_set();
  IS(0, ended(child));
}
CASE("semop", "of no such counter is EFBIG") {
  set(1);
  int got = operate(1, 1, 0), why = errno;
  remove_set();
  IS(-1, got);
  IS(EFBIG, why);
}
CASE("semop", "of no operations is EINVAL") {
  set(1);
  int got = semop(id, NULL, 0), why = errno;
  remove_set();
  IS(-1, got);
  IS(EINVAL, why);
}
CASE("semop", "of too many operations is E2BIG") {
  set(1);
  int got = semop(id, (struct sembuf *)&note, 501), why = errno;
  remove_set();
  IS(-1, got);
  IS(E2BIG, why);
}
CASE("semop", "beyond what a counter holds is ERANGE") {
  set(1);
  give(0, 32767);
  int got = operate(0, 1, 0), why = errno;
  remove_set();
  IS(-1, got);
  IS(ERANGE, why);
}
CASE("semop", "from no memory is EFAULT") {
  set(1);
  int got = semop(id, NOWHERE, 1), why = errno;
  remove_set();
  IS(-1, got);
  IS(EFAULT, why);
}
CASE("semop", "of another user's is EACCES") {
  set(1);
  CHILD(child) {
    become_user();
    FAILS(EACCES, operate(0, 1, 0));
  }
  int status = ended(child);
  remove_set();
  IS(0, status);
}
CASE("semop", "SEM_UNDO is undone when the process ends") {
  set(1);
  give(0, 5);
  CHILD(child) {
    OK(operate(0, -3, SEM_UNDO));
    OK(operate(0, 1, 0));
  }
  int status = ended(child), left = value(0);
  remove_set();
  IS(0, status);
  IS(6, left);
}
CASE("semtimedop", "until time is up is EAGAIN") {
  set(1);
  int got = semtimedop(id, &(struct sembuf){0, -1, 0}, 1, &(struct timespec){0, 10000000}), why = errno;
  remove_set();
  IS(-1, got);
  IS(EAGAIN, why);
}
CASE("semtimedop", "for what is no time is EINVAL") {
  set(1);
  int got = semtimedop(id, &(struct sembuf){0, -1, 0}, 1, &(struct timespec){0, -1}), why = errno;
  remove_set();
  IS(-1, got);
  IS(EINVAL, why);
}
FAILS_CASE("semop", "of no set is EINVAL", EINVAL, (id = -1, operate(0, 1, 0)))
CASE("semctl", "GETALL and SETALL") {
  unsigned short all[3] = {1, 2, 3}, got[3];
  set(3);
  int first = semctl(id, 0, SETALL, all), second = semctl(id, 0, GETALL, got);
  remove_set();
  IS(0, first + second);
  SAME(all, got, sizeof all);
}
CASE("semctl", "GETPID tells who changed it") {
  set(1);
  operate(0, 1, 0);
  int got = semctl(id, 0, GETPID);
  remove_set();
  IS(getpid(), got);
}
CASE("semctl", "GETNCNT and GETZCNT count who waits") {
  set(2);
  give(1, 1);
  CHILD(more) { operate(0, -1, 0); }
  CHILD(zero) { operate(1, 0, 0); }
  sleep_ms(100);
  int n = semctl(id, 0, GETNCNT), z = semctl(id, 1, GETZCNT);
  remove_set();
  ended(more), ended(zero);
  IS(1, n);
  IS(1, z);
}
CASE("semctl", "SETVAL of too much is ERANGE") {
  set(1);
  int got = give(0, 32768), why = errno;
  remove_set();
  IS(-1, got);
  IS(ERANGE, why);
}
CASE("semctl", "of no such counter is EINVAL") {
  set(1);
  int got = semctl(id, 5, GETVAL), why = errno;
  remove_set();
  IS(-1, got);
  IS(EINVAL, why);
}
CASE("semctl", "an unknown command is EINVAL") {
  set(1);
  int got = semctl(id, 0, 99), why = errno;
  remove_set();
  IS(-1, got);
  IS(EINVAL, why);
}
CASE("semctl", "IPC_STAT tells about it") {
  struct semid_ds about;
  set(3);
  int got = semctl(id, 0, IPC_STAT, &about);
  remove_set();
  IS(0, got);
  IS(3, about.sem_nsems);
  IS(0600, about.sem_perm.mode);
}
CASE("semctl", "IPC_RMID of another user's is EPERM") {
  set(1);
  CHILD(child) {
    become_user();
    FAILS(EPERM, semctl(id, 0, IPC_RMID));
  }
  int status = ended(child);
  remove_set();
  IS(0, status);
}
CASE("semctl", "SETVAL wakes who waits") {
  set(1);
  CHILD(child) OK(operate(0, -1, 0));
  sleep_ms(20);
  give(0, 1);
  int status = ended(child);
  remove_set();
  IS(0, status);
}
