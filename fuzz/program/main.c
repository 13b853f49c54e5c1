// Makes system calls at random, from descriptions of what their arguments are: fuzzer SEED ROUNDS, or fuzzer list.
//
// Every round is a process of its own with a seed of its own, printed before it starts; see round.c. The parent only forks,
// waits and kills. After each round there have to be as many frames, as much kernel heap, as many open files and tasks as
// before the first one.
#include "fuzzer.h"

#include <sys/utsname.h>

#include "../../tests/programs/stress/counts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void wait_a_moment(void) { nanosleep(&(struct timespec){0, 500000}, 0); }

// All that is left of a round is a child of the fuzzer by now, or becomes one when its parent ends.
static int kill_children_of(pid_t fuzzer) {
  char path[300];
  DIR *proc = opendir("/proc");
  int seen = 0;
  for (struct dirent *entry; (entry = readdir(proc));) {
    pid_t pid = atoi(entry->d_name);
    if (pid <= 0 || pid == getpid()) continue;
    snprintf(path, sizeof path, "/proc/%s/status", entry->d_name);
    if (read_number(path, "PPid:\t", 0) != fuzzer) continue;
    kill(pid, SIGKILL), seen++;
  }
  closedir(proc);
  return seen;
}

static void remove_tree(int directory, const char *name) {
  if (unlinkat(directory, name, 0) == 0) return;
  int inside = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (inside < 0) return;
  DIR *entries = fdopendir(inside);
  for (struct dirent *entry; (entry = readdir(entries));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) remove_tree(inside, entry->d_name);
  closedir(entries);
  unlinkat(directory, name, AT_REMOVEDIR);
}

static void empty(const char *directory) {
  DIR *entries = opendir(directory);
  if (!entries) return;
  for (struct dirent *entry; (entry = readdir(entries));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) remove_tree(dirfd(entries), entry->d_name);
  closedir(entries);
}

static void remove_ipc(void) {
  struct shmid_ds segment;
  struct msqid_ds queue;
  struct semid_ds set;
  struct seminfo most;
  for (int i = shmctl(0, SHM_INFO, &segment); i >= 0; i--) shmctl(shmctl(i, SHM_STAT, &segment), IPC_RMID, 0);
  for (int i = msgctl(0, MSG_INFO, &queue); i >= 0; i--) msgctl(msgctl(i, MSG_STAT, &queue), IPC_RMID, 0);
  for (int i = semctl(0, 0, SEM_INFO, &most); i >= 0; i--) semctl(semctl(i, 0, SEM_STAT, &set), 0, IPC_RMID);
  for (size_t i = 0; i < QUEUE_NAMES; i++) syscall(SYS_mq_unlink, queue_names[i]);
}

// In a process of its own, so that this one's memory stays as it is: it is part of what is counted.
static void clean(void) {
  pid_t fuzzer = getpid(), broom = fork();
  if (broom == 0) {
    if (kill_children_of(fuzzer) == 0) empty("/tmp"), empty("/dev/shm"), remove_ipc();
    // As on Linux, sockets that only messages keep are looked for when one is closed.
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    _exit(0);
  }
  waitpid(broom, 0, 0);
  while (waitpid(-1, 0, __WALL | WNOHANG) > 0) {}
}

// How often is looked for what a round has not given back.
#define PATIENCE 2000

// What a round left behind goes; 0 once all is as it was.
static int sweep(const struct counts *before, int patience) {
  struct counts now;
  for (int tries = 0; tries < patience; tries++) {
    clean();
    now = count();
    if (same_counts(&now, before)) return 0;
    wait_a_moment();
  }
  if (patience == PATIENCE) print_counts(2, &now, before);
  return 3;
}

static void prepare(void) {
  // What a round does to others, as with F_SETOWN, shall not end us.
  for (int i = 1; i < 65; i++)
    if (i != SIGCHLD) signal(i, SIG_IGN);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int score = open("/proc/self/oom_score_adj", O_WRONLY);
  if (score < 0 || write(score, "-1000", 5) != 5) perror("oom_score_adj");
  close(score);
}

static void list(void) {
  for (size_t i = 0; i < call_count; i++) printf("%d\n", calls[i].number);
}

int main(int argc, char **argv) {
  read_descriptions();
  if (argc > 1 && strcmp(argv[1], "list") == 0) return list(), 0;
  // It calls at random as root, and empties /tmp: nothing for a system somebody lives in.
  struct utsname system;
  if (uname(&system) || !strstr(system.release, "aurora")) return fputs("only inside Aurora\n", stderr), 2;
  uint64_t seed = argc > 1 ? strtoull(argv[1], 0, 10) : 1, rounds = argc > 2 ? strtoull(argv[2], 0, 10) : 1;
  prepare();
  struct counts before = count();
  // Once for nothing: what this program itself grows by is then there.
  printf("\n"), fflush(stdout);
  sweep(&before, 3);
  before = count();
  for (uint64_t round = 0; round < rounds; round++) {
    printf("%llu\n", (unsigned long long)(seed + round)), fflush(stdout);
    pid_t child = fork();
    if (child < 0) return 2;
    if (child == 0) {
      setpgid(0, 0);
      seed_thread(seed + round);
      play();
      _exit(0);
    }
    // Most rounds end by themselves; one that waits for ever is ended.
    for (int i = 0; i < 100; i++) {
      siginfo_t info = {0};
      if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid) break;
      wait_a_moment();
    }
    int left = sweep(&before, PATIENCE);
    if (left) return left;
  }
  return 0;
}
